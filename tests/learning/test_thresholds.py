from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ToneModel, tone
from tone_encoder import ToneEncoder
from tone_speech import ToneSpeech, speak
from typer.testing import CliRunner

from zsaudio import cli
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import DataError, OptionError
from zsaudio.labels import Label, LabelSet
from zsaudio.learning.thresholds import Calibrated, calibrate
from zsaudio.recognizer import Recognizer

LABELS = LabelSet(["440", "3000", Label("900", background=True)])


@pytest.fixture
def background() -> np.ndarray:
    """Two minutes: hiss, with ten bursts near 440 Hz, the later the nearer."""
    rng = np.random.default_rng(0)
    sound = rng.normal(scale=0.02, size=120 * 16_000).astype(np.float32)
    for i in range(10):
        start = (10 + 11 * i) * 16_000
        sound[start : start + 32_000] += tone(440 * 2 ** ((9 - i) / 16), 2.0)
    return sound


def threshold(label: Label) -> float:
    assert label.threshold is not None
    return label.threshold


def false_alarms(labels: LabelSet, sound: np.ndarray, name: str) -> int:
    events = Recognizer(labels, ToneEncoder()).detect(sound, 16_000)
    return sum(event.label == name for event in events)


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_the_target_is_met_and_no_threshold_is_higher_than_need_be(
    background: np.ndarray, write_wav: Callable[..., Path], allowed: int
) -> None:
    path = write_wav("background.wav", background)
    found = calibrate(Recognizer(LABELS, ToneEncoder()), [path], per_hour=30 * allowed + 1)
    assert found.allowed == allowed and found.hours == pytest.approx(1 / 30)
    assert false_alarms(found.labels, background, "440") == found.events[0] <= allowed
    # a little lower, and there are more
    (first, *rest) = found.labels
    again = Recognizer(LABELS, ToneEncoder()).with_labels(found.labels).detect(path)
    assert len(again) == sum(found.events)
    lower = LabelSet([Label("440", threshold=threshold(first) * 0.97), *rest])
    assert false_alarms(lower, background, "440") > allowed


def test_labels_are_calibrated_each_for_itself(
    background: np.ndarray, write_wav: Callable[..., Path]
) -> None:
    path = write_wav("background.wav", background)
    found = calibrate(Recognizer(LABELS, ToneEncoder()), [path], per_hour=0)
    near, far, other = found.labels
    assert threshold(near) > threshold(far) + 0.1
    assert other.background and other.threshold is None


def test_files_of_labels_survive(tmp_path: Path) -> None:
    labels = LabelSet(
        [
            Label("dog", ("a dog barks",), 0.25, "animals"),
            Label("rain", threshold=0.5),
            Label("noise", background=True),
        ],
        templates=["the sound of {}"],
        description="mine",
    )
    path = tmp_path / "labels.yaml"
    Calibrated(labels, 1.0, 0, (0, 0)).save(path)
    read = LabelSet.from_file(path)
    assert list(read) == list(labels)
    assert read.templates == labels.templates and read.description == "mine"


def test_bad_input(write_wav: Callable[..., Path], tmp_path: Path) -> None:
    recognizer = Recognizer(["440"], ToneEncoder())
    with pytest.raises(OptionError, match="must be 0 or more"):
        calibrate(recognizer, [], per_hour=-1)
    with pytest.raises(DataError, match=r"none of the recordings can be used; the first: .*no such file"):
        calibrate(recognizer, [tmp_path / "none.wav"], per_hour=1)


def test_models_without_embeddings_can_be_calibrated(
    background: np.ndarray, write_wav: Callable[..., Path]
) -> None:
    path = write_wav("background.wav", background)
    found = calibrate(
        Recognizer(["440", "3000"], ToneModel()), [path], per_hour=0, options=DetectionOptions(smooth_s=0)
    )
    assert found.labels[0].threshold > 0.99 and found.labels[1].threshold == pytest.approx(0.1, abs=2e-3)


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_keywords_have_thresholds_of_their_own_kind(write_wav: Callable[..., Path], allowed: int) -> None:
    """What is said resembles the keyword five times, less and less."""
    quiet = np.zeros(16_000, np.float32)
    said = [
        np.concatenate([quiet, speak("abcd") + share * speak("abch")]) for share in (1.2, 1.6, 2.0, 2.5, 3.0)
    ]
    path = write_wav("background.wav", np.concatenate([*said, np.zeros(20 * 16_000, np.float32)]))
    labels = LabelSet([Label("keyword: abcd", threshold=0.9999), "keyword: ghgh"])
    recognizer = Recognizer(labels, keyword_model=ToneSpeech())
    found = calibrate(recognizer, [path], per_hour=(allowed + 0.5) * 3600 / 27.4)
    assert found.allowed == allowed == found.events[0]
    assert len(Recognizer(found.labels, keyword_model=ToneSpeech()).detect(path)) == allowed
    lower = LabelSet([Label("keyword: abcd", threshold=found.labels[0].threshold - 2e-4)])
    if allowed:
        assert len(Recognizer(lower, keyword_model=ToneSpeech()).detect(path)) >= allowed
    assert (found.labels[1].threshold, found.events[1]) == (0.1, 0)


def test_command(
    background: np.ndarray, write_wav: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zsaudio.recognizer.load_model", lambda *_, **__: ToneEncoder())
    path, broken, out = write_wav("a.wav", background), tmp_path / "b.wav", tmp_path / "labels.yaml"
    broken.write_text("no audio")
    how = ["calibrate", "nano", str(path), "--labels", "440, 3000", "--false-alarms", "1"]
    result = CliRunner().invoke(cli.app, [*how, "-o", str(out)])
    assert result.exit_code == 0
    assert "0.03 h of background: up to 0 alarms" in result.stderr
    assert "too short for 1 an hour, it would take 1 h" in result.stderr
    assert false_alarms(LabelSet.from_file(out), background, "440") == 0
    result = CliRunner().invoke(cli.app, [*how, str(broken)])
    assert result.exit_code == 1 and "b.wav: not a recording" in result.stderr
    assert "- name: '440'" in result.stdout
