import io
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ToneModel, tone

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.labels import Label
from zsaudio.output.plot import MOST_LANES, ScoreCurves, draw_clip, mel_spectrogram
from zsaudio.recognizer import Recognizer
from zsaudio.results import ClipEvents, Event, FrameScores

PIL = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")


def frame(onset: float, *scores: float) -> FrameScores:
    values = np.array(scores, np.float32)
    return FrameScores(onset, onset + 0.1, values, values > 0.5)


def test_curves_keep_every_frame_of_a_short_recording() -> None:
    curves = ScoreCurves()
    for number in range(100):
        curves.add(frame(number / 10, number / 100, 0.0))
    edges, scores = curves.arrays()
    assert edges == pytest.approx(np.arange(101) / 10)
    assert scores[:, 0] == pytest.approx(np.arange(100) / 100)


def test_curves_keep_the_peaks_of_a_long_recording_in_little_memory() -> None:
    curves = ScoreCurves()
    for number in range(100_000):
        curves.add(frame(number / 10, 1.0 if number in (0, 54_321, 99_999) else 0.1))
    edges, scores = curves.arrays()
    assert len(edges) == len(scores) + 1 < 5_000
    assert (np.diff(edges) > 0).all()
    assert edges[-1] == pytest.approx(10_000.0)
    high = np.flatnonzero(scores[:, 0] == 1.0)
    assert len(high) == 3
    assert edges[high[1]] <= 5432.1 <= edges[high[1] + 1]


@pytest.mark.parametrize(("rate", "seconds"), [(16_000, 5.0), (48_000, 0.2), (4_000, 700.0), (96_000, 2.0)])
def test_the_spectrogram_shows_a_tone_where_it_is(rate: int, seconds: float) -> None:
    samples = np.concatenate([np.zeros(round(rate * seconds)), tone(1000, seconds, rate)])
    decibels, centres = mel_spectrogram(_wav(samples, rate), None, 2 * seconds)
    assert len(decibels) <= 1700
    loudest = centres[decibels[-len(decibels) // 4].argmax()]
    assert loudest == pytest.approx(1000, rel=0.1)
    assert decibels[: len(decibels) // 4].max() < decibels.max() - 20


@pytest.mark.parametrize("n_labels", [1, 3, 50])
def test_a_plot_is_drawn(tmp_path: Path, n_labels: int) -> None:
    samples = np.concatenate([np.zeros(16_000), tone(440, 2.0), np.zeros(16_000)]).astype(np.float32)
    path = tmp_path / "x.wav"
    soundfile.write(path, samples, 16_000)
    labels = [str(440 + 20 * number) for number in range(n_labels)]
    recognizer = Recognizer(labels, ToneModel())
    curves = ScoreCurves()
    (clip,) = recognizer.detect_batch([path], on_scores=curves.add)
    target = tmp_path / "plots" / "x.png"
    draw_clip(clip, path, curves, list(recognizer.labels), DetectionOptions(), target)
    width, height = PIL.open(target).size
    assert width == 14 * 110
    assert height > 110 * (3 + 0.4 * min(n_labels, MOST_LANES))


def test_a_plot_of_an_hour_by_the_clock(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, np.zeros(3600 * 4000, np.float32), 4000)
    curves = ScoreCurves()
    for number in range(36_000):
        curves.add(frame(number / 10, 0.2))
    events = (Event(0.0, 1.0, "dog", 0.9), Event(3599.0, 3600.0, "dog", 0.9))
    clip = ClipEvents(str(path), 3600.0, 4000, events, started=datetime(2026, 1, 31, 23, 30))
    draw_clip(clip, path, curves, [Label("dog")], DetectionOptions(), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 5_000


def _wav(samples: np.ndarray, rate: int) -> io.BytesIO:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV")
    buffer.seek(0)
    return buffer
