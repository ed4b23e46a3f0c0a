"""Keywords in archives: the events are those of detect."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Run, tone
from tone_encoder import ToneEncoder
from tone_speech import RATE, ToneSpeech, speak

from zsaudio.archive import archive as module
from zsaudio.archive.archive import Archive
from zsaudio.archive.matches import Match, Where
from zsaudio.archive.store import Store
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import ArchiveError, OptionError
from zsaudio.models.base import SpeechModel
from zsaudio.models.speech.codes import LEAST, from_codes, to_codes
from zsaudio.recognizer import Recognizer

pytest.importorskip("pyarrow")
COMMANDS = Path(__file__).parents[3] / "shared/data/commands"


def pause(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings; the second is longer than a window, and a keyword crosses two windows."""
    folder = tmp_path / "in"
    folder.mkdir()
    one = [pause(1), speak("abc"), pause(2), speak("abd"), pause(1), tone(1600, 1.0), pause(0.5)]
    two = [pause(29.8), speak("abc"), pause(3), speak("fed"), pause(1)]
    soundfile.write(folder / "one_20260131_220000.wav", np.concatenate(one), RATE)
    soundfile.write(folder / "two_20260131_230000.flac", np.concatenate(two), RATE)
    return folder


def make(folder: Path, speech: SpeechModel | None = None) -> Archive:
    archive = Archive.create(
        folder.parent / "A", model=ToneEncoder(), keyword_model=speech or ToneSpeech(), root=folder
    )
    assert all(each.error is None for each in archive.add(sorted(folder.iterdir())))
    return archive


def events(matches: Sequence[Match]) -> list[tuple[str, str, float, float]]:
    return sorted((match.clip, match.label, match.onset, match.offset) for match in matches)


def test_codes_are_precise_where_it_matters() -> None:
    log_probs = -np.linspace(0, -LEAST, 10_001)
    error = np.abs(from_codes(to_codes(log_probs)) - log_probs)
    assert error.max() < 0.07
    assert error[log_probs > -0.05].max() < 0.004
    assert from_codes(to_codes(np.array([-np.inf, 0.0, 1e-7]))).tolist() == [LEAST, 0.0, 0.0]


def test_events_are_those_of_detect(folder: Path) -> None:
    archive = make(folder)
    labels = ["keyword: abc", "keyword: fed", "1600 Hz"]
    recognizer = Recognizer(labels, model=ToneEncoder(), keyword_model=ToneSpeech())
    options = DetectionOptions(threshold=0.3)
    expected = sorted(
        (clip.clip, event.label, event.onset, event.offset, event.score)
        for clip in recognizer.detect_batch(sorted(folder.iterdir()), options=options)
        for event in clip.events
    )
    found = archive.search(labels, min_score=0.3)
    assert len([row for row in expected if row[1] != "1600 Hz"]) >= 3
    assert events(found) == [row[:4] for row in expected]
    scores = sorted((match.clip, match.label, match.onset, match.score) for match in found)
    for own, detected in zip(scores, expected, strict=True):
        assert own[3] == pytest.approx(detected[4], abs=0.01)
    # in the order of the labels, whatever their kind
    order = list(dict.fromkeys(match.label for match in archive.search(["1600 Hz", *labels[:2]], k=1)))
    assert order == ["1600 Hz", "keyword: abc", "keyword: fed"]


def test_the_best_are_apart(folder: Path) -> None:
    archive = make(folder)
    found = archive.search(["keyword: abc"], k=5)
    assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)
    assert {Path(match.clip).name[:3] for match in found[:2]} == {"one", "two"}
    for one in found:
        near = [o for o in found if o.clip == one.clip and o.onset < one.offset and one.onset < o.offset]
        assert near == [one]
    best = next(match for match in found if "one" in match.clip)
    assert best.onset == pytest.approx(1.0, abs=0.1) and best.offset == pytest.approx(1.36, abs=0.1)
    assert best.time is not None and best.time.hour == 22 and -12 < best.loudness < -6


def test_where_and_count(folder: Path) -> None:
    archive = make(folder)
    (late,) = archive.search(["keyword: abc"], k=1, where=Where(since=datetime(2026, 1, 31, 23)))
    assert Path(late.clip).name == "two_20260131_230000.flac" and late.onset == pytest.approx(29.8, abs=0.1)
    none = archive.search(["keyword: abc"], min_score=0.3, where=Where(hours=(1, 2)))
    assert not len(none)
    counts = archive.count(["keyword: abc"], by="hour", options=DetectionOptions(threshold=0.3))
    assert [(count.group, count.n_events) for count in counts] == [("22", 1), ("23", 1)]


def test_they_stay_when_shards_are_put_together(folder: Path) -> None:
    archive = Archive.create(
        folder.parent / "A", model=ToneEncoder(), keyword_model=ToneSpeech(), root=folder
    )
    for path in sorted(folder.iterdir()):
        list(archive.add([path]))
    before = archive.search(["keyword: abc", "keyword: fed"], min_score=0.3)
    assert Store(folder.parent / "A").compact(10**6) == 2
    assert archive.search(["keyword: abc", "keyword: fed"], min_score=0.3) == before
    (shard,) = Store(folder.parent / "A").shards()[0]
    assert shard.speech(1, 9).shape == (
        -(-len(soundfile.read(folder / "two_20260131_230000.flac")[0]) // 480),
        9,
    )


def test_wrong_use(folder: Path) -> None:
    plain = Archive.create(folder.parent / "B", model=ToneEncoder(), root=folder)
    list(plain.add(sorted(folder.iterdir())))
    with pytest.raises(
        ArchiveError, match="B: holds no speech, so 'keyword: abc' cannot be found; index the"
    ):
        plain.search(["1600 Hz", "keyword: abc"])
    make(folder)

    class Newer(ToneSpeech):
        def log_probs(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [frames[:, ::-1] for frames in super().log_probs(windows)]

    other = Archive.open(folder.parent / "A", model=ToneEncoder(), keyword_model=Newer())
    with pytest.raises(ArchiveError, match="its words are those of 'tone-speech', which cannot"):
        other.search(["keyword: abc"])
    with pytest.raises(OptionError, match="keywords do not learn"):
        other.candidates(["keyword: abc"])


def test_commands(folder: Path, zs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_model", lambda *_, **__: ToneEncoder())
    monkeypatch.setattr(module, "load_keyword_model", lambda *_, **__: ToneSpeech())
    assert zs("index", "in", "-a", "A", "--words").code == 0
    rows = zs("search", "A", "keyword: abc", "--min-score", 0.3, "-f", "csv").rows()
    assert sorted(row["file"][:6] for row in rows) == ["in/one", "in/two"]
    assert zs("index", "in", "-a", "B").code == 0
    refused = zs("search", "B", "keyword: abc")
    assert refused.code == 2 and len(refused.err) == 1 and "holds no speech" in refused.err[0]
    late = zs("index", "in", "-a", "B", "--words")
    assert late.code == 2 and "was made without --words" in late.err[0]


@pytest.mark.skipif(not COMMANDS.exists(), reason="needs recordings that the repository does not hold")
def test_nano_keyword_in_recorded_sentences(tmp_path: Path) -> None:
    from zsaudio.models.speech.nano_keyword import NanoKeyword

    speech = NanoKeyword()
    paths = sorted(COMMANDS.rglob("*.ogg"))[:12]
    archive = Archive.create(tmp_path / "A", model=ToneEncoder(), keyword_model=speech, root=COMMANDS)
    list(archive.add(paths))
    labels = ["keyword: coffee", "keyword: two shots"]
    recognizer = Recognizer(labels, keyword_model=speech)
    expected = {
        (clip.clip, event.label, event.onset, event.offset): event.score
        for clip in recognizer.detect_batch(paths, options=DetectionOptions(threshold=0.3))
        for event in clip.events
    }
    found = {
        (match.clip, match.label, match.onset, match.offset): match.score
        for match in archive.search(labels, min_score=0.3)
    }
    assert expected and found.keys() == expected.keys()
    assert max(abs(found[key] - score) for key, score in expected.items()) < 0.02
