"""The index of millions, on thousands."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tone_encoder import ToneEncoder

from zsaudio.archive import archive as module
from zsaudio.archive import search, sketch
from zsaudio.archive.archive import Archive
from zsaudio.archive.shards import NewRecording, Stored
from zsaudio.archive.store import Store

pytest.importorskip("pyarrow")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """An archive of 60 recordings of 500 vectors that change slowly."""
    monkeypatch.setattr(module, "INDEXED_FROM", 1000)
    monkeypatch.setattr(search, "LIKELY", 1500)
    monkeypatch.setattr(sketch, "LEAST_PROBED", 3000)
    archive = Archive.create(tmp_path / "A", model=ToneEncoder(), root=tmp_path)
    rng = np.random.default_rng(0)
    for start in (0, 30):
        batch = []
        for number in range(start, start + 30):
            walk = np.abs(np.cumsum(rng.normal(size=(500, 13)), axis=0))
            vectors = (walk / np.linalg.norm(walk, axis=1, keepdims=True)).astype(np.float16)
            onsets = 0.25 * np.arange(500)
            stored = Stored(f"{number}.wav", 1, 1, 500, 125.0, 16_000)
            batch.append(NewRecording(stored, onsets, onsets + 0.25, np.zeros(500), vectors))
        Store(tmp_path / "A").append(batch)
    return archive


def test_it_finds_what_an_exact_search_finds(archive: Archive) -> None:
    labels = ["400 Hz", "3000 Hz"]
    exact = archive.search(labels, k=10)
    assert archive.optimize()
    found = archive.search(labels, k=10)
    same = {(m.label, m.clip, m.peak, m.score) for m in found} & {
        (m.label, m.clip, m.peak, m.score) for m in exact
    }
    assert len(same) >= 19
    # a threshold is exact in any case
    assert archive.search(labels, min_score=0.9) == archive.search(labels, min_score=0.9, k=10_000)


def test_what_is_added_later_is_found(
    archive: Archive, tmp_path: Path, write_wav: Callable[..., Path]
) -> None:
    from conftest import tone

    archive.optimize()
    list(archive.add([write_wav("new.wav", tone(400, 2.0))]))
    (best,) = archive.search(["400 Hz"], k=1)
    assert Path(best.clip).name == "new.wav"


def test_an_index_of_other_shards_is_left_out(archive: Archive, tmp_path: Path) -> None:
    archive.optimize()
    shards, _ = Store(tmp_path / "A").shards()
    assert sketch.Sketch.load(Store(tmp_path / "A"), shards) is not None
    assert sketch.Sketch.load(Store(tmp_path / "A"), shards[:-1]) is None
    (tmp_path / "A/index-codes.npy").write_bytes(b"damaged")
    assert sketch.Sketch.load(Store(tmp_path / "A"), shards) is None
    assert len(archive.search(["400 Hz"], k=3)) == 3


def test_small_archives_need_none(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INDEXED_FROM", 10**6)
    assert not archive.optimize()
