from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ToneModel, tone

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.labels import Label
from zsaudio.output.overview import MOST_LANES, ScoreCurves
from zsaudio.output.plot import draw_clip
from zsaudio.recognizer import Recognizer
from zsaudio.results import ClipEvents, Event, FrameScores

PIL = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")


def frame(onset: float, *scores: float) -> FrameScores:
    values = np.array(scores, np.float32)
    return FrameScores(onset, onset + 0.1, values, values > 0.5)


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
