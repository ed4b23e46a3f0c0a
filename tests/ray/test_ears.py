"""Recordings heard by several processes, for an archive."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from fake_pool import FakePool

from zsaudio.archive.archive import Archive
from zsaudio.errors import ModelError
from zsaudio.ray.ears import heard_by
from zsaudio.results import Embeddings

pytest.importorskip("pyarrow")
pytest.importorskip("filelock")
AUDIO = Path(__file__).parents[2] / "examples" / "audio"


class Deaf:
    """Hears nothing, but answers."""

    def hear(self, paths: list[str]) -> list[Embeddings]:
        return [Embeddings(path, 1.0, 16_000) for path in paths]


def pool(deadly: Sequence[str], started: list[int] | None = None) -> FakePool:
    """Return two processes that die of some recordings, and answer in any order."""

    def make() -> Deaf:
        if started is not None:
            started.append(1)
        return Deaf()

    return FakePool(2, make, lambda method, arguments: any(path in deadly for path in arguments[0]))


def test_recordings_leave_in_order_and_a_deadly_one_has_an_error() -> None:
    started: list[int] = []
    paths = [str(number) for number in range(100)]
    heard = list(heard_by(pool(["30"], started), paths))
    assert [each.clip for each in heard] == paths
    assert [each.clip for each in heard if each.error] == ["30"]
    assert "it was set aside" in str(heard[30].error)
    assert len(started) == 2 + 3  # once with its neighbours, twice alone


def test_where_all_die_the_run_ends() -> None:
    paths = [str(number) for number in range(100)]
    with pytest.raises(ModelError, match="before they have heard anything"):
        list(heard_by(pool(paths), paths))


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
