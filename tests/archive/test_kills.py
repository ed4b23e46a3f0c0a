"""A writer that is killed at any moment: nothing is stored twice, nothing is lost."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import tone
from tone_encoder import ToneEncoder

from zsaudio.archive import adding
from zsaudio.archive.archive import Archive
from zsaudio.archive.store import Store

pytest.importorskip("pyarrow")
N_KILLS = 100


class SlowTone(ToneEncoder):
    """Takes its time, so that kills fall into every part of the work."""

    def encode_audio(self, windows: object) -> list[np.ndarray]:
        time.sleep(0.002)
        return super().encode_audio(windows)  # type: ignore[arg-type]


def write(location: Path, files: list[Path], turns: int = 10_000) -> None:
    """What is killed: index what is missing, then start over by touching a file, then compact."""
    for turn in range(turns):
        archive = Archive.open(location, model=SlowTone())
        for _ in archive.add(files):
            pass
        os.utime(files[turn % len(files)])
        with Store(location).locked():
            Store(location).compact(10**6)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_hundred_kills(
    tmp_path: Path, write_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding, "_COMMIT_S", 0.0)  # a shard a recording: as many commits as there can be
    files = [write_wav(f"in/{number}.wav", tone(400 + 300 * number, 2.0)) for number in range(8)]
    location = tmp_path / "A"
    for name in "AC":
        Archive.create(tmp_path / name, model=ToneEncoder(), root=tmp_path / "in")
    fork = multiprocessing.get_context("fork")
    started = time.monotonic()
    child = fork.Process(target=write, args=(tmp_path / "C", files, 1))
    child.start()
    child.join()
    turn_s = time.monotonic() - started
    rng = np.random.default_rng(0)
    most = 0
    for _ in range(N_KILLS):
        child = fork.Process(target=write, args=(location, files))
        child.start()
        time.sleep(rng.uniform(0.0, 1.5 * turn_s))
        assert child.pid is not None and child.is_alive()
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        archive = Archive.open(location, model=ToneEncoder())
        paths = [each.path for each in archive.recordings()]
        assert len(paths) == len(set(paths)) >= most  # nothing twice, nothing lost
        most = len(paths)
        found = archive.search(["400 Hz", "700 Hz"], k=20)
        assert not found.problems and len({(m.label, m.clip) for m in found}) == len(found)
    assert most == len(files)
    list(archive.add(files))
    fresh = Archive.create(tmp_path / "B", model=ToneEncoder(), root=tmp_path / "in")
    list(fresh.add(files))
    assert not list((location / "shards").glob("*.partial"))
    killed, whole = (
        {(m.label, m.clip, m.onset, m.offset, m.score) for m in each.search(["400 Hz", "1600 Hz"], k=20)}
        for each in (archive, fresh)
    )
    assert killed == whole
