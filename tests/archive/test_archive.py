"""Archives: the scores are those of detect, nothing is stored twice, wrong use is one line."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from conftest import tone
from tone_encoder import ToneEncoder

from zsaudio.archive.archive import Archive
from zsaudio.archive.matches import Where
from zsaudio.archive.shards import live_recordings
from zsaudio.archive.store import Store
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.stretches import Stretches
from zsaudio.errors import ArchiveError, OptionError
from zsaudio.models.base import Encoder
from zsaudio.models.clap.clap import Clap
from zsaudio.models.nano.nano import Nano
from zsaudio.models.pooled import Pooled
from zsaudio.recognizer import Recognizer
from zsaudio.results import Event

pytest.importorskip("pyarrow")
HALF = 2e-3  # what float16 vectors may change a score by


class NearTone(ToneEncoder):
    """The same with a bounded context, so that its windows are long."""

    context_s = 0.5
    window_s = 10.0


def recording(*parts: tuple[float, float], seconds: float = 12.0) -> np.ndarray:
    """Noise with tones of some seconds at some frequencies."""
    samples = 0.01 * np.random.default_rng(0).normal(size=round(seconds * 16_000)).astype(np.float32)
    for start, frequency in parts:
        burst = tone(frequency, 1.5)
        samples[round(start * 16_000) :][: len(burst)] += burst
    return samples


Write = Callable[..., Path]


@pytest.fixture
def files(write_wav: Write) -> list[Path]:
    return [
        write_wav("in/a_20260131_220000.wav", recording((1, 400), (6, 1600))),
        write_wav("in/b_20260201_033000.wav", recording((3, 400), seconds=9.3)),
        write_wav("in/c.wav", recording((2, 200), seconds=4.0)),
    ]


def make(tmp_path: Path, files: Sequence[Path], model: Encoder | None = None, **how: float) -> Archive:
    archive = Archive.create(tmp_path / "A", model=model or ToneEncoder(), root=tmp_path / "in", **how)  # type: ignore[arg-type]
    assert [each.status for each in archive.add(files)] == ["added"] * len(files)
    return archive


def events(archive: Archive, labels: list[str], score: float) -> list[tuple[str, Event]]:
    found = archive.search(labels, min_score=score)
    return sorted((m.clip, Event(m.onset, m.offset, m.label, m.score)) for m in found)


def detected(
    model: Encoder, labels: list[str], score: float, files: Sequence[Path], hop_s: float | None = None
) -> list[tuple[str, Event]]:
    options = DetectionOptions(threshold=score, hop_s=hop_s)
    clips = Recognizer(labels, model).detect_batch(files, options=options)
    return sorted((clip.clip, event) for clip in clips for event in clip.events)


def assert_same(one: list[tuple[str, Event]], other: list[tuple[str, Event]]) -> None:
    assert len(one) == len(other) > 0
    for (path, a), (other_path, b) in zip(one, other, strict=True):
        assert (path, a.label, a.onset, a.offset) == (other_path, b.label, b.onset, b.offset)
        assert a.score == pytest.approx(b.score, abs=HALF)


@pytest.mark.parametrize("model", [ToneEncoder(), NearTone()])
def test_the_events_are_those_of_detect(model: Encoder, tmp_path: Path, files: list[Path]) -> None:
    archive = make(tmp_path, files, model)
    assert archive.hop_s == 0.25
    labels = ["400 Hz", "1600 Hz", "200 Hz"]
    for score in (0.2, 0.5, 0.9):
        assert_same(events(archive, labels, score), detected(model, labels, score, files))


@pytest.mark.parametrize("hop_s", [0.5, 1.0])
def test_a_longer_hop_is_detect_with_longer_frames(hop_s: float, tmp_path: Path, files: list[Path]) -> None:
    model = NearTone()
    archive = make(tmp_path, files, model, hop_s=hop_s)
    assert archive.hop_s == hop_s
    labels = ["400 Hz", "1600 Hz"]
    pooled = Pooled(model, round(hop_s / 0.25))
    assert_same(events(archive, labels, 0.4), detected(pooled, labels, 0.4, files))


def test_nano_scores_as_detect_does(tmp_path: Path, files: list[Path]) -> None:
    model = Nano()
    archive = make(tmp_path, files, model)
    labels = ["a beep", "wind", "silence"]
    assert_same(events(archive, labels, 0.03), detected(model, labels, 0.03, files))


@pytest.mark.parametrize(("hop_s", "n_frames"), [(None, 1), (1.0, 6)])
def test_nano_scores_real_recordings_as_detect_does(
    hop_s: float | None, n_frames: int, tmp_path: Path
) -> None:
    model = Nano()
    files = sorted((Path(__file__).parents[2] / "examples" / "audio").glob("s*"))
    archive = Archive.create(tmp_path / "A", model=model, root=files[0].parent, hop_s=hop_s)
    assert all(added.error is None for added in archive.add(files))
    assert archive.hop_s == pytest.approx(0.16 * n_frames)
    listener = Pooled(model, n_frames) if n_frames > 1 else model
    score = 0.4  # no frame is within HALF of it, or of where an event ends: either could move an edge
    for labels in (["smoke alarm", "speech"], ["fire alarm", "somebody talks", "silence"]):
        assert_same(events(archive, labels, score), detected(listener, labels, score, files))


def test_clap_scores_as_detect_does_at_that_hop(tmp_path: Path, files: list[Path], clap_slaney: Path) -> None:
    model = Clap(str(clap_slaney))
    archive = make(tmp_path, files, model, hop_s=2.0)
    labels = ["a beep", "rain"]
    assert_same(events(archive, labels, 0.2), detected(model, labels, 0.2, files, hop_s=2.0))


def test_the_best_are_ranked_and_apart(tmp_path: Path, files: list[Path]) -> None:
    archive = make(tmp_path, files)
    found = archive.search(["400 Hz", "1600 Hz"], k=2)
    assert [match.label for match in found] == ["400 Hz", "400 Hz", "1600 Hz", "1600 Hz"]
    assert {Path(match.clip).name[0] for match in found[:2]} == {"a", "b"}
    assert found[0].score >= found[1].score > 0.9
    best = found[2]
    assert Path(best.clip).name[0] == "a" and best.onset <= 6.0 and best.offset >= 7.5
    assert best.time == datetime(
        2026, 1, 31, 22, 0, round(best.onset - best.onset % 1), round(best.onset % 1 * 1e6)
    )
    assert -12 < best.loudness < -6  # a sine of 0.5 has -9 dB
    # the best scores are those of the events that detect finds at a threshold
    (first,) = archive.search(["1600 Hz"], k=1)
    assert first.score == pytest.approx(max(e.score for _, e in events(archive, ["1600 Hz"], 0.5)))


def test_sounds_instead_of_words(tmp_path: Path, files: list[Path]) -> None:
    archive = make(tmp_path, files)
    like = archive.embed(tone(1600, 1.0), 16_000)
    (best,) = archive.search(like=[like], k=1)
    assert (Path(best.clip).name[0], best.onset <= 6.5 <= best.offset) == ("a", True)
    assert best.label == "like the example" and best.score > 0.9
    # words and sounds add up; what a sound is unlike goes down
    (both,) = archive.search(["400 Hz"], like=[like], k=1)
    without = archive.search(["1600 Hz", "400 Hz"], unlike=[like], k=1)
    assert both.label == "400 Hz"
    assert without[0].score < 0.5 < without[1].score


def test_where(tmp_path: Path, files: list[Path]) -> None:
    archive = make(tmp_path, files)

    def names(**how: object) -> str:
        found = archive.search(["400 Hz"], min_score=0.5, where=Where(**how))  # type: ignore[arg-type]
        return "".join(sorted(Path(match.clip).name[0] for match in found))

    assert names() == "ab"
    assert names(path="a*") == "a"
    assert names(hours=(22, 4)) == "ab"
    assert names(hours=(3, 4)) == "b"
    assert names(since=datetime(2026, 2, 1)) == "b"
    assert names(until=datetime(2026, 1, 31, 22, 0, 1)) == ""
    assert names(until=datetime(2026, 1, 31, 22, 0, 3)) == "a"
    with pytest.raises(OptionError, match="end must be after the start"):
        Where(since=datetime(2026, 2, 1), until=datetime(2026, 1, 1))


def test_counts(tmp_path: Path, files: list[Path]) -> None:
    archive = make(tmp_path, files)
    counts = archive.count(["400 Hz", "1600 Hz", "200 Hz"], by="hour")
    assert [(c.label, c.group, c.n_events) for c in counts] == [
        ("400 Hz", "03", 1),
        ("400 Hz", "22", 1),
        ("1600 Hz", "22", 1),
        ("200 Hz", "unknown", 1),
    ]
    assert {c.group for c in archive.count(["400 Hz"], by="day")} == {"2026-01-31", "2026-02-01"}
    pytest.importorskip("pandas")
    assert counts.to_frame().loc["400 Hz", "22"] == 1
    assert list(archive.search(["400 Hz"], k=1).to_frame()["label"]) == ["400 Hz"]


def test_only_what_is_new_or_changed_is_listened_to(
    tmp_path: Path, files: list[Path], write_wav: Write
) -> None:
    model = ToneEncoder()
    archive = make(tmp_path, files, model)
    n_encoded = model.n_encoded
    assert {each.status for each in archive.add(files)} == {"unchanged"}
    assert model.n_encoded == n_encoded
    write_wav("in/c.wav", recording((2, 400), seconds=5.0))
    new = write_wav("in/d.wav", recording((2, 400), seconds=5.0))
    files[0].unlink()
    assert [each.status for each in archive.add([*files[1:], new], prune=True)] == [
        "unchanged", "updated", "added", "removed",
    ]  # fmt: skip
    found = archive.search(["400 Hz"], min_score=0.5)
    assert sorted(Path(match.clip).name[0] for match in found) == ["b", "c", "d"]
    assert archive.search(["200 Hz"], min_score=0.5)[:] == ()
    assert len(archive) == 3


def test_a_recording_that_cannot_be_read_costs_only_itself(tmp_path: Path, files: list[Path]) -> None:
    bad = tmp_path / "in/bad.wav"
    bad.write_bytes(b"RIFF")
    archive = Archive.create(tmp_path / "A", model=ToneEncoder(), root=tmp_path / "in")
    added = list(archive.add([files[0], bad, files[1]]))
    assert [each.status for each in added] == ["added", "failed", "added"]
    assert "bad.wav" in str(added[1].error)


def test_compacting_keeps_all(tmp_path: Path, files: list[Path]) -> None:
    archive = Archive.create(tmp_path / "A", model=ToneEncoder(), root=tmp_path / "in")
    for path in [*files, files[0]]:
        os.utime(path)
        list(archive.add([path]))
    before = archive.search(["400 Hz", "200 Hz"], k=5)
    store = Store(tmp_path / "A")
    assert len(store.shards()[0]) == 4
    assert store.compact(10**6) == 4
    (shard,) = store.shards()[0]
    assert len(shard.recordings) == 3 and len(list((tmp_path / "A/shards").iterdir())) == 1
    assert archive.search(["400 Hz", "200 Hz"], k=5) == before


def test_compacting_killed_before_the_old_shards_are_gone(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive.create(tmp_path / "A", model=ToneEncoder(), root=tmp_path / "in")
    for path in files:
        list(archive.add([path]))
    before = archive.search(["400 Hz", "200 Hz"], k=5)
    monkeypatch.setattr(Store, "_delete", lambda *_: None)
    Store(tmp_path / "A").compact(10**6)
    assert len(list((tmp_path / "A/shards").iterdir())) == 4
    assert archive.search(["400 Hz", "200 Hz"], k=5) == before


def test_another_model_is_refused(tmp_path: Path, files: list[Path]) -> None:
    make(tmp_path, files)
    with pytest.raises(
        ArchiveError, match="vectors of 'tone-encoder', which cannot be compared with those of 'nano'"
    ):
        Archive.open(tmp_path / "A", model="nano").search(["rain"])

    class Newer(ToneEncoder):
        def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [frames[:, ::-1] for frames in super().encode_audio(windows)]

    with pytest.raises(ArchiveError, match="those of this version of it"):
        Archive.open(tmp_path / "A", model=Newer()).search(["rain"])


def test_a_damaged_shard_costs_only_its_recordings(tmp_path: Path, files: list[Path]) -> None:
    archive = Archive.create(tmp_path / "A", model=ToneEncoder(), root=tmp_path / "in")
    for path in files:
        list(archive.add([path]))
    shard = tmp_path / "A/shards/00000001.arrow"
    shard.write_bytes(shard.read_bytes()[:-100])
    found = archive.search(["400 Hz"], min_score=0.5)
    assert [Path(match.clip).name[0] for match in found] == ["b"]
    assert len(found.problems) == 1 and "00000001.arrow: damaged" in found.problems[0]
    assert [each.status for each in archive.add(files)] == ["unchanged", "unchanged", "added"]
    assert len(archive.set_aside) == 1
    assert len(archive.search(["400 Hz"], min_score=0.5)) == 2
    header = tmp_path / "A/archive.json"
    header.write_text(header.read_text()[:20])
    with pytest.raises(ArchiveError, match=r"archive\.json: damaged"):
        Archive.open(tmp_path / "A")


def test_one_writer_at_a_time(tmp_path: Path, files: list[Path]) -> None:
    archive = make(tmp_path, files)
    adding = archive.add(files)
    next(adding)
    with pytest.raises(ArchiveError, match="another run is writing it"):
        list(Archive.open(tmp_path / "A", model=ToneEncoder()).add(files))
    assert len(archive.search(["400 Hz"], k=1)) == 1  # reading is free
    adding.close()
    assert {each.status for each in archive.add(files)} == {"unchanged"}


def test_a_full_disk_loses_nothing(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make(tmp_path, files[:1])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ArchiveError, match="the disk is full"):
            list(archive.add(files))
    assert [path.name for path in (tmp_path / "A/shards").iterdir()] == ["00000001.arrow"]
    assert [each.status for each in archive.add(files)] == ["unchanged", "added", "added"]


def test_a_recording_named_in_two_ways_is_stored_once(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = make(tmp_path, [])
    assert [each.clip for each in archive.add(["in/c.wav", *files])] == ["in/c.wav", *map(str, files[:2])]
    assert len(archive) == 3


def test_moved_recordings(tmp_path: Path, files: list[Path]) -> None:
    archive = make(tmp_path, files)
    shutil.move(tmp_path / "in", tmp_path / "moved")
    there = Archive.open(tmp_path / "A", model=ToneEncoder(), root=tmp_path / "moved")
    assert all(Path(match.clip).exists() for match in there.search(["400 Hz"], k=5))
    archive.move(tmp_path / "moved")
    again = Archive.open(tmp_path / "A", model=ToneEncoder())
    moved = sorted((tmp_path / "moved").iterdir())
    assert {each.status for each in again.add(moved)} == {"unchanged"}


def test_wrong_use(tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArchiveError, match="no archive; make one with 'zsaudio index"):
        Archive.open(tmp_path / "none")
    with pytest.raises(ArchiveError, match="not empty and no archive"):
        Archive.create(tmp_path / "in", model=ToneEncoder())
    archive = make(tmp_path, files)
    with pytest.raises(ArchiveError, match="already"):
        Archive.create(tmp_path / "A", model=ToneEncoder())
    with pytest.raises(OptionError, match="nothing is asked"):
        archive.search()
    with pytest.raises(OptionError, match="k must be"):
        archive.search(["1"], k=0)
    with pytest.raises(OptionError, match="hop must be above"):
        Archive.create(tmp_path / "B", model=ToneEncoder(), hop_s=-1)
    header = json.loads((tmp_path / "A/archive.json").read_text())
    (tmp_path / "A/archive.json").write_text(json.dumps({**header, "format": 9}))
    with pytest.raises(ArchiveError, match="has format 9"):
        Archive.open(tmp_path / "A")


def test_others_read_it(tmp_path: Path, files: list[Path]) -> None:
    import pyarrow as pa

    make(tmp_path, files)
    with pa.memory_map(str(tmp_path / "A/shards/00000001.arrow")) as source:
        frame = pa.ipc.open_file(source).read_pandas()
    assert list(frame.columns) == ["path", "onset", "offset", "time", "loudness", "vector"]
    assert str(frame["time"][1]) == "2026-01-31 22:00:00.250000"
    assert frame["vector"][0].dtype == np.float16 and frame["vector"][0].shape == (13,)
    assert list(frame["path"].unique()) == [path.name for path in files]


def test_an_archive_elsewhere(tmp_path: Path, files: list[Path]) -> None:
    location = (tmp_path / "far").as_uri()
    archive = Archive.create(location, model=ToneEncoder(), root=tmp_path / "in")
    list(archive.add(files))
    assert len(Archive.open(location, model=ToneEncoder()).search(["400 Hz"], min_score=0.5)) == 2
    with pytest.raises(ArchiveError, match="cannot be opened"):
        Archive.open("nowhere://x/y")


def test_stretches_of_a_window_model_are_hops(clap_slaney: Path) -> None:
    model = Clap(str(clap_slaney))
    assert Stretches(model).hop_s == 5.0 and Stretches(model, 1.0).hop_s == 1.0
    with pytest.raises(OptionError, match="too long"):
        Stretches(NearTone(), 60.0)


def test_live_recordings(tmp_path: Path, files: list[Path]) -> None:
    make(tmp_path, files)
    shards, damaged = Store(tmp_path / "A").shards()
    assert live_recordings(shards) == {"00000001.arrow": [0, 1, 2]} and not damaged
