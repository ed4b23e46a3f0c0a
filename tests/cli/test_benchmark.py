"""``zsaudio benchmark``, with nano in processes of their own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, tone

from zsaudio.evaluation.benchmark import Measured, compare_models, draw_comparison


@pytest.fixture
def noises(write_wav: Callable[..., Path], tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("rain/a.wav", "rain/b.wav"):
        write_wav(name, 0.1 * random.standard_normal(32_000))
    write_wav("siren/a.wav", tone(800, 2.0))
    return tmp_path


def test_each_model_has_a_row_and_a_failure_costs_only_its_own(zs: Run, noises: Path) -> None:
    done = zs("benchmark", "--data", noises, "-m", "nano", "-m", "nope", "--plot", "models.png")
    assert done.code == 1
    head, row = done.out.splitlines()
    assert head.split() == ["model", "x", "real", "time", "start,", "s", "memory,", "MB", "accuracy", "mAP"]
    name, speed, start, memory, accuracy, precision = row.split()
    assert name == "nano" and float(speed) > 1 and float(start) > 0 and float(memory) > 50
    assert 0 <= float(accuracy) <= 1 and 0 <= float(precision) <= 1
    assert any("nope: unknown model 'nope'" in line for line in done.err)
    assert (noises / "models.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_use(zs: Run, tmp_path: Path) -> None:
    done = zs("benchmark")
    assert done.code == 2
    done = zs("benchmark", "-m", "nano")
    assert done.code == 2 and "nothing to measure on" in done.err[-1]
    assert zs("benchmark", "none/*.wav").code == 1


def test_unreadable_recordings_are_an_error_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no audio")
    (result,) = compare_models(["nano"], [str(tmp_path / "a.wav")], labels=["rain"])
    assert result.error is not None and "\n" not in result.error
    assert result.error.startswith("none of the 1 recordings can be read, the first because: ")


def test_no_table_and_no_picture_where_nothing_was_measured(zs: Run, noises: Path) -> None:
    done = zs("benchmark", noises, "-m", "nope", "--plot", "models.png")
    assert done.code == 1 and done.out == "" and "unknown model 'nope'" in done.err[-1]
    assert not (noises / "models.png").exists()


def test_the_picture_leaves_failures_out(tmp_path: Path) -> None:
    results = [Measured("nano", 1.0, 300.0, 400.0, {"accuracy": 0.8}), Measured("x", error="no")]
    draw_comparison(results, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5_000
