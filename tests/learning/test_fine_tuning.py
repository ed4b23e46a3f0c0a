import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tone
from tone_encoder import ToneCommand, ToneEncoder

from zsaudio.cli.progress import show_progress
from zsaudio.errors import OptionError
from zsaudio.labels import LabelSet
from zsaudio.learning.fine_tuning import MOST_EPOCHS, fine_tune
from zsaudio.models.learned.adapted import Adapted
from zsaudio.models.learned.descent import descend

# Two machines whose tones lie next to each other: the examples are no good at telling them apart.
LOW, HIGH = (700, 760, 820), (870, 930, 990)
LABELS = LabelSet(["low machine", "High machine", "900", "an owl"])


def keys(*frequencies: float) -> np.ndarray:
    means = np.stack(
        [frames.mean(axis=0) for frames in ToneEncoder().encode_audio(list(map(sound, frequencies)))]
    )
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def sound(frequency: float) -> np.ndarray:
    return tone(frequency, 1.0)


@pytest.fixture
def adapted() -> Adapted:
    return Adapted(ToneEncoder(), "tones", keys(*LOW, *HIGH), ("low machine",) * 3 + ("high machine",) * 3)


def logits(model: object, frequency: float) -> np.ndarray:
    return model.logits([sound(frequency)], model.embed_labels(LABELS))[0]  # type: ignore[attr-defined]


def margin(model: Adapted) -> float:
    """By how much the right one of the two machines leads, at worst, on sounds between the examples."""
    leads = [(logits(model, f)[:, 0] - logits(model, f)[:, 1]).mean() for f in (730, 790, 900, 960)]
    return float(min(leads[0], leads[1], -leads[2], -leads[3]))


def test_other_labels_keep_exactly_their_logits(adapted: Adapted) -> None:
    tuned = fine_tune(adapted, 50)
    for frequency in (440, 800, 900, 3000):
        before, after = logits(ToneEncoder(), frequency), logits(tuned, frequency)
        assert np.array_equal(before[:, 2:], after[:, 2:])
        assert not np.array_equal(logits(adapted, frequency)[:, :2], after[:, :2])


def test_labels_are_told_better_apart(adapted: Adapted) -> None:
    before = adapted.keys.copy()
    assert margin(fine_tune(adapted, 100)) > margin(adapted)
    assert np.array_equal(adapted.keys, before)  # the model that was given stays


def test_keys_stay_unit_vectors_of_their_labels(adapted: Adapted) -> None:
    tuned = fine_tune(adapted, 20)
    assert np.linalg.norm(tuned.keys, axis=1) == pytest.approx(1)
    assert tuned.keys.dtype == np.float32 and tuned.labels == adapted.labels


def test_the_seed_decides(adapted: Adapted) -> None:
    # more than a batch of examples, so that their order counts
    many = Adapted(ToneEncoder(), "tones", keys(*np.geomspace(200, 4000, 100)), ("a", "b") * 50)
    once, again, other = (fine_tune(many, 3, seed=seed).keys for seed in (1, 1, 2))
    assert np.array_equal(once, again) and not np.array_equal(once, other)


def test_one_example_each(adapted: Adapted) -> None:
    tuned = fine_tune(Adapted(ToneEncoder(), "tones", keys(800, 900), ("a", "b")), 20)
    assert np.isfinite(tuned.keys).all()


def test_a_second_adaption_stands_on_the_first(adapted: Adapted) -> None:
    second = Adapted(adapted, "tones", keys(1500, 1600, 2000, 2100), ("an owl", "an owl", "900", "900"))
    tuned = fine_tune(second, 20)
    assert np.array_equal(logits(tuned, 1500)[:, :2], logits(adapted, 1500)[:, :2])


def test_no_epochs_change_nothing(adapted: Adapted) -> None:
    assert fine_tune(adapted, 0) is adapted


def test_32_examples_of_10_classes_take_seconds() -> None:
    rng = np.random.default_rng(0)
    many = keys(*rng.uniform(100, 6000, 320))
    start = time.process_time()
    fine_tune(Adapted(ToneEncoder(), "tones", many, tuple("abcdefghij") * 32), 20)
    assert time.process_time() - start < 20  # of two cores


def test_the_rate_falls_and_an_interrupted_run_goes_on_with_it(tmp_path: Path) -> None:
    def final(cosine: bool, stop_at: int | None = None) -> float:
        network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(network.weight)

        def stop(done: int, total: int) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        def loss(rows: torch.Tensor) -> torch.Tensor:
            return -network.weight.sum()  # AdamW moves the weight by the rate at each step

        descend(network, loss, 3, 20, 0.1, 0.0, 0, tmp_path / "state.pt", stop, cosine)
        return network.weight.item()

    assert final(cosine=False) == pytest.approx(2.0, rel=1e-3)
    whole = final(cosine=True)
    assert whole == pytest.approx(1.05, rel=1e-3)
    with pytest.raises(KeyboardInterrupt):
        final(cosine=True, stop_at=15)
    assert final(cosine=True) == whole


@pytest.mark.parametrize("epochs", [-1, MOST_EPOCHS + 1])
def test_epochs_out_of_range(adapted: Adapted, epochs: int) -> None:
    with pytest.raises(OptionError, match="0 to 1000 epochs"):
        fine_tune(adapted, epochs)


def test_nothing_to_tell_apart(adapted: Adapted) -> None:
    with pytest.raises(OptionError, match="two or more"):
        fine_tune(Adapted(ToneEncoder(), "tones", keys(800, 900), ("a", "A")), 20)
    adapted.strength = 0.0
    with pytest.raises(OptionError, match="above 0"):
        fine_tune(adapted, 20)


class TestCommand(ToneCommand):
    @pytest.fixture
    def data(self, write_wav: Callable[..., Path], tmp_path: Path) -> Path:
        for name, frequencies in (("low machine", LOW), ("high machine", HIGH)):
            for frequency in frequencies:
                write_wav(f"data/{name}/{frequency}.wav", sound(frequency))
        return tmp_path / "data"

    def run(self, *arguments: object) -> tuple[int, str, str]:
        return super().run("adapt", "nano", *arguments)

    def test_fine_tune(self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shown = []

        def show(items, total, what, quiet):  # type: ignore[no-untyped-def]
            for item in show_progress(items, total, what, quiet):
                shown.append(what)
                yield item

        monkeypatch.setattr(sys.modules["zsaudio.cli.adapt"], "show_progress", show)
        written = {}
        for name, how in {"plain": [], "tuned": [20], "again": [20]}.items():
            options = ["--fine-tune", *how] if how else []
            code, out, err = self.run(data, "-o", tmp_path / name, *options)
            assert code == 0 and ("20 epochs of fine-tuning" in out) == bool(how), err
            written[name] = (tmp_path / name / "model.safetensors").read_bytes()
        assert written["tuned"] == written["again"] != written["plain"]
        assert shown.count("fine-tuning") == 2 * 20
        loaded = Adapted.load(tmp_path / "tuned", lambda name: ToneEncoder())
        assert np.array_equal(logits(loaded, 900)[:, 2:], logits(ToneEncoder(), 900)[:, 2:])

    @pytest.mark.parametrize("epochs", [-1, 1001, "many"])
    def test_nonsense_epochs(self, data: Path, tmp_path: Path, epochs: object) -> None:
        code, _, err = self.run(data, "-o", tmp_path / "model", "--fine-tune", epochs)
        assert code == 2 and "--fine-tune" in err and not (tmp_path / "model").exists()

    def test_one_label(self, data: Path, tmp_path: Path) -> None:
        for path in (data / "low machine").iterdir():
            path.unlink()
        (data / "low machine").rmdir()
        code, _, err = self.run(data, "-o", tmp_path / "model", "--fine-tune", 20)
        assert code != 0 and "two or more" in err and not (tmp_path / "model").exists()
