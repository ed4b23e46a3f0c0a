"""Recordings heard by several processes, for an archive."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run

from zsaudio.archive.archive import Archive
from zsaudio.errors import ModelError
from zsaudio.ray.ears import heard_by
from zsaudio.ray.pools import Died
from zsaudio.results import Embeddings

pytest.importorskip("pyarrow")
pytest.importorskip("filelock")
AUDIO = Path(__file__).parents[2] / "examples" / "audio"


class MortalPool:
    """Two processes that die of recordings with bad names, and answer in the opposite order."""

    n = 2

    def __init__(self, bad: Sequence[str]) -> None:
        self.bad, self.n_started = bad, 0
        self._answers: deque[tuple[int, Any]] = deque()

    def start(self, number: int) -> None:
        self.n_started += 1

    def submit(self, number: int, method: str, paths: list[str]) -> None:
        died = any(path in self.bad for path in paths)
        answer = Died("exit code -9") if died else [Embeddings(path, 1.0, 16_000) for path in paths]
        self._answers.appendleft((number, answer))

    def wait(self, timeout: float | None = None) -> list[tuple[int, Any]]:
        return [self._answers.popleft()]

    def close(self) -> None:
        """Nothing to end."""


def test_recordings_leave_in_order_and_a_deadly_one_has_an_error() -> None:
    pool = MortalPool(["30"])
    paths = [str(number) for number in range(100)]
    heard = list(heard_by(pool, paths))
    assert [each.clip for each in heard] == paths
    assert [each.clip for each in heard if each.error] == ["30"]
    assert "it was set aside" in str(heard[30].error)
    assert pool.n_started == 2 + 3  # once with its neighbours, twice alone


def test_where_all_die_the_run_ends() -> None:
    paths = [str(number) for number in range(100)]
    with pytest.raises(ModelError, match="before they have heard anything"):
        list(heard_by(MortalPool(paths), paths))


def test_an_archive_is_the_same(zs: Run, tmp_path: Path) -> None:
    assert zs("index", str(AUDIO), "-a", "one", "-q").code == 0
    ran = zs("index", str(AUDIO), "-a", "two", "--jobs", "2")
    assert ran.code == 0
    assert ran.err[-1].startswith("zsaudio: 6 added")
    one, two = (Archive.open(tmp_path / name).search(["siren", "piano"], k=3) for name in ("one", "two"))
    assert [(each.label, Path(each.clip).name) for each in one] == [
        (each.label, Path(each.clip).name) for each in two
    ]
    np.testing.assert_allclose([each.score for each in one], [each.score for each in two], atol=2e-3)
    assert zs("index", str(AUDIO), "-a", "two", "--jobs", "2").err[-1].startswith("zsaudio: 6 unchanged")
    wrong = zs("index", str(AUDIO), "-a", "two", "--jobs", "2", "--ray", "local")
    assert wrong.code == 2
