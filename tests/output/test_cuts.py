"""Events cut out as files."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Run, tone

from zsaudio.audio.span import read_span
from zsaudio.errors import AudioError
from zsaudio.output.cuts import cut_events
from zsaudio.results import ClipEvents, Event


def test_a_cut_is_the_recording_there(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (30_000, 2)).astype(np.float32)
    source = tmp_path / "x.wav"
    soundfile.write(source, samples, 10_000, subtype="PCM_24")
    clip = ClipEvents(
        str(source), 3.0, 10_000, (Event(0.2, 1.0, "a dog: far/away", 0.9), Event(2.8, 3.0, "b", 0.5))
    )
    first, second = cut_events(clip, source, tmp_path / "cuts/x", margin_s=0.5)
    assert first.name == "x_0.20-1.00_a-dog-far-away.flac"
    cut, rate = soundfile.read(first)
    assert rate == 10_000 and soundfile.info(first).subtype == "PCM_24"
    np.testing.assert_allclose(cut, samples[:15_000], atol=1e-6)  # from the recording's start
    np.testing.assert_allclose(soundfile.read(second)[0], samples[23_000:], atol=1e-6)
    with pytest.raises(AudioError, match="has nothing at 5 s"):
        read_span(source, 5.0, 6.0)


def test_of_what_cannot_be_searched_the_mean_is_cut(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "x.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(440, 3.0)[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    samples, rate, fine = read_span(path, 1.0, 2.0)
    assert (samples.shape, rate, fine) == ((16_000, 1), 16_000, False)
    assert 0.3 < np.sqrt(np.square(samples).mean()) < 0.4


def test_detect_cuts(zs: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.concatenate([np.zeros(32_000), tone(440, 2.0)]), 16_000)
    ran = zs("detect", "x.wav", "-l", "440", "--smooth", 0, "--clips", "cuts", "--margin", 0)
    assert ran.code == 0
    (path,) = Path("cuts").iterdir()
    assert path.name == "x_2.00-4.00_440.flac"
    assert len(soundfile.read(path)[0]) == 32_000
