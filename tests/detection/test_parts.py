"""Parts of a long recording, heard one by one, have the events of the whole."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from zsaudio.audio.reader import load_audio
from zsaudio.detection.parts import PartHeard, parts_of
from zsaudio.errors import OptionError
from zsaudio.recognizer import Recognizer
from zsaudio.results import ClipEvents

AUDIO = Path(__file__).parents[2] / "examples/audio"


def long_recording(path: Path, minutes: float, rate: int) -> Path:
    """The examples one after another, with pauses, some over the edges of minutes."""
    rng = np.random.default_rng(5)
    clips = [load_audio(each, rate)[0] for each in sorted(AUDIO.glob("*.*")) if each.suffix != ".md"]
    samples = rng.normal(0, 1e-3, round(60 * minutes * rate)).astype(np.float32)
    position = 0
    while position < len(samples):
        clip = clips[rng.integers(len(clips))][: len(samples) - position]
        samples[position : position + len(clip)] += clip
        position += len(clip) + int(rng.integers(1, 4 * rate))
    soundfile.write(path, samples, rate)
    return path


def in_parts(recognizer: Recognizer, path: Path, part_s: float) -> ClipEvents:
    heard = [recognizer.hear_part(str(path), part).to_bytes() for part in parts_of(str(path), part_s)]
    return recognizer.join_parts([PartHeard.from_bytes(content, str(path)) for content in heard])


@pytest.mark.parametrize(("rate", "suffix"), [(16_000, ".flac"), (44_100, ".wav")])
def test_parts_have_the_events_of_the_whole(tmp_path: Path, rate: int, suffix: str) -> None:
    path = long_recording(tmp_path / f"long{suffix}", 4.31, rate)
    recognizer = Recognizer(["speech", "smoke alarm", "siren", "piano", "keyword: hello"])
    assert [part.end_s for part in parts_of(str(path), 61.3)] == pytest.approx([61.3, 122.6, 183.9, None])
    whole, joined = recognizer.detect(path), in_parts(recognizer, path, 61.3)
    assert len(whole) > 10
    assert [(e.onset, e.offset, e.label) for e in joined.events] == [
        (e.onset, e.offset, e.label) for e in whole
    ]
    assert [e.score for e in joined.events] == pytest.approx([e.score for e in whole], abs=1e-4)
    assert (joined.clip, joined.sample_rate) == (str(path), rate)
    assert joined.duration_s == pytest.approx(4.31 * 60, abs=1e-3)


def test_what_cannot_be_searched_is_one_part(tmp_path: Path) -> None:
    for path in (AUDIO / "siren.mp3", tmp_path / "no.wav"):
        assert len(parts_of(str(path), 60)) == 1
    with pytest.raises(OptionError, match="at least 60 s"):
        parts_of("a.wav", 5)
