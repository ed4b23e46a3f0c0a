"""What is promised of the false alarms of sounds."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Run

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.labels import Label
from zsaudio.models.base import EmbeddingBank
from zsaudio.models.nano.nano import Nano
from zsaudio.models.nano.promise import SoundPromise
from zsaudio.recognizer import Recognizer

PROMISE = SoundPromise(np.array([1.0, -1.0]), threshold=-2.0, smoothing=-0.5)


def test_a_label_has_the_mean_of_its_sounds() -> None:
    assert PROMISE.constant(np.array([1.0, 0.0])) == 1.0
    assert PROMISE.constant(np.array([1.0, 1.0])) == 0.0
    assert PROMISE.constant(np.array([0.3, 0.9])) == pytest.approx(-0.5)


def test_the_threshold_gives_the_promised_rate() -> None:
    bank = EmbeddingBank(("a", "b"), np.array([[1.0, 0.0], [0.0, 1.0]]))
    for column, constant in enumerate((1.0, -1.0)):
        needed = PROMISE.needed(bank, column, per_hour=0.1, smooth_s=3.0)
        assert constant - 2.0 * needed - 0.5 * math.log(3.0) == pytest.approx(math.log(0.1))


def test_no_smoothing_counts_as_that_over_a_frame() -> None:
    embedding = np.array([1.0, 0.0])
    assert PROMISE.log_odds_for(embedding, 1.0, 0.0) == PROMISE.log_odds_for(embedding, 1.0, 0.16)


def test_it_can_be_written_and_read() -> None:
    again = SoundPromise.from_dict(PROMISE.to_dict())
    assert again.to_dict() == PROMISE.to_dict()


class TestRecognizer:
    def test_a_threshold_for_each_label(self) -> None:
        labels = [Label("siren", false_alarms=1.0), Label("rain", threshold=0.3), Label("dog")]
        recognizer = Recognizer(labels)
        siren, rain, dog = recognizer.labels
        nano = Nano()
        assert nano.promise is not None
        needed = nano.promise.log_odds_for(nano.encode_text(["siren"])[0], 1.0, 3.0)
        assert siren.threshold == pytest.approx(1 / (1 + math.exp(-needed)))
        assert (siren.false_alarms, rain.threshold, dog.threshold) == (None, 0.3, None)

    def test_fewer_false_alarms_need_a_higher_one(self) -> None:
        thresholds = [
            Recognizer([Label("siren", false_alarms=n)]).labels[0].threshold for n in (0.1, 1.0, 10.0)
        ]
        assert thresholds == sorted(thresholds, reverse=True)

    def test_live_sound_is_smoothed_less_and_needs_a_higher_one(self) -> None:
        recognizer = Recognizer([Label("siren", false_alarms=1.0), "keyword: hey computer"])
        files = recognizer.labels_for(DetectionOptions())[0].threshold
        live = recognizer.labels_for(DetectionOptions.live(recognizer.model))[0].threshold
        assert files is not None and live is not None
        assert files == recognizer.labels[0].threshold and files < live < 1


def test_a_promise_in_detect() -> None:
    siren = Path(__file__).parents[2] / "examples" / "audio" / "siren.mp3"
    labels = [Label("siren", false_alarms=1.0), Label("trumpet", false_alarms=1.0)]
    assert {event.label for event in Recognizer(labels).detect(siren)} == {"siren"}


def test_a_model_without_statistics_on_the_command_line(zs: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    ran = zs("detect", tmp_path / "a.wav", "--labels", "440", "--false-alarms", "1")
    assert (ran.code, len(ran.err)) == (2, 1)
    assert "for '440': tones has no statistics" in ran.err[0] and "zsaudio calibrate" in ran.err[0]
