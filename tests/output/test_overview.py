import io

import numpy as np
import pytest
import soundfile
from conftest import tone

from zsaudio.output.overview import ScoreCurves, mel_spectrogram
from zsaudio.results import FrameScores


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


def _wav(samples: np.ndarray, rate: int) -> io.BytesIO:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV")
    buffer.seek(0)
    return buffer
