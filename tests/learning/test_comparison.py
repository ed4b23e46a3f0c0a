from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import tone
from tone_encoder import ToneCommand, ToneEncoder

import zsaudio
from zsaudio.evaluation.datasets import read_dataset
from zsaudio.learning.comparison import Comparison, compare, hold_out
from zsaudio.recognizer import Recognizer

CLASSES = ("150", "300", "600", "1200", "2400", "4800")


@pytest.fixture
def short_tones(write_wav: Callable[..., Path], tmp_path: Path) -> Path:
    """Six tones of a fifth of the clip's length; the rest is silent."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        for i in range(5):
            clip = np.zeros(32_000, np.float32)
            clip[:6_400] = tone(float(name) * rng.uniform(0.95, 1.05), 0.4)
            write_wav(f"tones/{name}/{i}.wav", clip)
    return tmp_path / "tones"


def compared() -> Comparison:
    truth = np.array([0, 0, 1, 1])
    base = np.array([[2.0, -2.0], [2.0, -2.0], [-2.0, 2.0], [2.0, -2.0]])
    learned = np.array([[2.0, -2.0], [-2.0, 2.0], [-2.0, 2.0], [-2.0, 2.0]])
    return Comparison(("a", "b"), base, learned, truth)


def test_figures_and_what_fell() -> None:
    figures = compared().figures
    assert figures["accuracy"] == (0.75, 0.75)
    assert figures["mAP"][0] == pytest.approx((2 / 3 + 0.75) / 2, abs=0.2)
    assert compared().lower == [("a", 1.0, 0.5, 2)] and not compared().is_worse
    assert "lower: a, 100 -> 50 % of 2 recordings" in compared().lines("nano")


def test_worse_and_better() -> None:
    good = np.array([[2.0, -2.0], [-2.0, 2.0]])
    worse = Comparison(("a", "b"), good, -good, np.array([0, 1]))
    assert worse.is_worse and not worse.is_better
    assert worse.lines("nano")[-1].startswith("not better than nano on recordings held out: use nano")
    better = Comparison(("a", "b"), -good, good, np.array([0, 1]))
    assert better.is_better and better.lower == [] and len(better.lines("nano")) == 4


def test_clips_are_held_out_by_class() -> None:
    numbers = np.repeat([0, 1, 2], [10, 5, 1])
    folds = hold_out(numbers, 0)
    assert np.bincount(folds[:10]).tolist() == [2, 2, 2, 2, 2]
    assert sorted(folds[10:15]) == [0, 1, 2, 3, 4] and folds[15] == -1
    assert np.array_equal(folds, hold_out(numbers, 0))


@pytest.mark.parametrize("learn", [zsaudio.train, zsaudio.adapt])
def test_silence_is_no_class_and_costs_nothing(learn: Callable[..., object], short_tones: Path) -> None:
    learned = learn(short_tones, ToneEncoder(), cache=False)
    comparison = learned.comparison  # type: ignore[attr-defined]
    assert comparison.figures["accuracy"] == (1.0, 1.0) and len(comparison.truth) == 30
    silence, base = np.zeros(16_000 * 30, np.float32), ToneEncoder()
    expected = {tag.label: tag.score for tag in Recognizer(CLASSES, base).tag(silence, 16_000)}
    found = {tag.label: tag.score for tag in Recognizer(CLASSES, learned).tag(silence, 16_000)}  # type: ignore[arg-type]
    assert found == pytest.approx(expected, abs=1e-5)


def test_on_recordings_of_ones_own(short_tones: Path) -> None:
    comparison = compare(ToneEncoder(), ToneEncoder(), read_dataset(short_tones), cache=False)
    assert comparison.classes == tuple(sorted(CLASSES))
    assert np.array_equal(comparison.base, comparison.learned)


def test_a_silent_recording_teaches_nothing(
    short_tones: Path, write_wav: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = write_wav("tones/150/silent.wav", np.zeros(16_000, np.float32))
    adapted = zsaudio.adapt(short_tones, ToneEncoder(), cache=False)
    assert adapted.labels.count("150") == 5
    assert f"{path}: is silent, so nothing can be learned from it" in caplog.messages


class TestCommand(ToneCommand):
    @pytest.mark.parametrize("command", [["train"], ["adapt", "nano"]])
    def test_the_comparison_is_printed(self, short_tones: Path, tmp_path: Path, command: list[str]) -> None:
        code, text, err = self.run(*command, short_tones, "-o", tmp_path / "model")
        assert code == 0, err
        assert "30 recordings held out" in text and "accuracy" in text and "ECE" in text
        code, text, err = self.run(
            *command, short_tones, "-o", tmp_path / "other", "--validation", short_tones
        )
        assert code == 0 and "30 recordings held out" in text, err
