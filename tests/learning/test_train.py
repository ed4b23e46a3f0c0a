import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ToneModel, tone
from tone_encoder import ToneCommand, ToneEncoder

import zsaudio
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import DataError, ModelError, OptionError
from zsaudio.evaluation.datasets import read_dataset
from zsaudio.labels import LabelSet
from zsaudio.learning.examples import gather
from zsaudio.learning.fit import fit
from zsaudio.models import registry
from zsaudio.models.learned.class_tables import AttributeTable
from zsaudio.models.learned.semantics import Semantics
from zsaudio.models.learned.trained import Trained
from zsaudio.recognizer import Recognizer

CLASSES = ("150", "300", "600", "1200", "2400", "4800")


@pytest.fixture
def tones(write_wav: Callable[..., Path], tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in CLASSES:
        for i in range(4):
            clip = tone(float(name) * rng.uniform(0.95, 1.05), 1.0) + 0.01 * rng.normal(size=16_000)
            write_wav(f"tones/{name}/{i}.wav", clip)
    return tmp_path / "tones"


@pytest.fixture
def attributes() -> AttributeTable:
    """How high a tone is, on a scale of six; the table knows tones that nobody trains on, too."""
    names = (*CLASSES, "210", "3400")
    height = np.log2(np.array([float(name) for name in names]) / 150) / 5
    return AttributeTable(
        names, tuple("abcdef"), np.exp(-(((height[:, None] * 5 - np.arange(6)) / 1.2) ** 2))
    )


@pytest.fixture
def trained(tones: Path, attributes: AttributeTable) -> Trained:
    base = ToneEncoder()
    semantics = Semantics(base.encode_text, ["attributes"], attributes=attributes)
    examples = gather(base, read_dataset(tones).only(set(CLASSES) - {"600"}))
    return fit(base, "tones", examples, semantics, unseen=["600"], blend=False)


def best(model: object, labels: tuple[str, ...], frequency: float) -> str:
    return Recognizer(list(labels), model).tag(tone(frequency, 1.0), 16_000)[0].label  # type: ignore[arg-type]


def test_a_class_left_out_is_recognised_by_its_attributes(trained: Trained) -> None:
    assert [best(trained, CLASSES, f) for f in (150, 600, 4800)] == ["150", "600", "4800"]
    assert trained.classes == ("1200", "150", "2400", "300", "4800")
    assert trained.window_s == 1.0


def test_any_label_can_be_asked_for(trained: Trained) -> None:
    assert best(trained, ("210", "3400", "an owl"), 3400) == "3400"


def test_events_of_a_class_left_out(trained: Trained) -> None:
    sound = np.concatenate([tone(150, 4.0), tone(600, 4.0), tone(150, 4.0)])
    options = DetectionOptions(threshold=0.4, smooth_s=0.0)
    events = Recognizer(["600", "150"], trained).detect(sound, 16_000, options=options)
    (event,) = [event for event in events if event.label == "600"]
    assert event.onset == pytest.approx(4.0, abs=1.0) and event.offset == pytest.approx(8.0, abs=1.0)


def test_known_classes_step_back_where_there_are_others(trained: Trained) -> None:
    mixed = trained.embed_labels(LabelSet(["150", "600"])).seen
    assert mixed.tolist() == [True, False]
    # exactly by the penalty
    sound = [tone(150, 1.0)]
    both = trained.logits(sound, trained.embed_labels(LabelSet(["150", "600"])))[0][0, 0]
    only = trained.logits(sound, trained.embed_labels(LabelSet(["150", "300"])))[0][0, 0]
    assert only - both == pytest.approx(trained.seen_penalty, abs=1e-5)


def test_the_encoder_counts_where_it_helps(tones: Path) -> None:
    base = ToneEncoder()
    semantics = Semantics(base.encode_text, ["attributes"])  # of everyday sounds: they say nothing of tones
    examples = gather(base, read_dataset(tones))
    assert fit(base, "tones", examples, semantics).seen.base_weight > 0.3
    assert fit(base, "tones", examples, semantics, blend=False).seen.base_weight == 0


def test_a_folder_holds_all_of_it(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained.save(tmp_path / "model")
    load = registry.load_model
    monkeypatch.setattr(
        registry, "load_model", lambda name, **how: ToneEncoder() if name == "tones" else load(name, **how)
    )
    loaded = load(str(tmp_path / "model"))
    labels = LabelSet([*CLASSES, "a dog"])
    sound = [tone(500, 1.0), tone(3000, 0.5)]
    expected = trained.logits(sound, trained.embed_labels(labels))
    for one, other in zip(loaded.logits(sound, loaded.embed_labels(labels)), expected, strict=True):
        assert one == pytest.approx(other, abs=1e-4)

    class Other(ToneEncoder):
        def _window(self, samples: np.ndarray) -> np.ndarray:
            return super()._window(samples) * np.linspace(-1, 1, self.dim)

    with pytest.raises(ModelError, match="another version of 'tones'"):
        Trained.load(tmp_path / "model", lambda name: Other())


def test_unseen_classes_in_the_training_data_are_refused(tones: Path, attributes: AttributeTable) -> None:
    base = ToneEncoder()
    examples = gather(base, read_dataset(tones))
    semantics = Semantics(base.encode_text, ["attributes"], attributes=attributes)
    with pytest.raises(DataError, match="unseen classes have recordings in the training data: 600"):
        fit(base, "tones", examples, semantics, unseen=["600", "77"])


def test_few_classes_and_few_recordings(tones: Path, attributes: AttributeTable) -> None:
    for path in tones.glob("300/[123].wav"):
        path.unlink()
    base = ToneEncoder()
    semantics = Semantics(base.encode_text, ["attributes"], attributes=attributes)
    two = gather(base, read_dataset(tones).only({"150", "300"}))
    model = fit(base, "tones", two, semantics, blend=False)
    assert best(model, ("150", "300"), 150) == "150" and best(model, ("150", "300"), 300) == "300"
    with pytest.raises(DataError, match="at least two classes"):
        fit(base, "tones", gather(base, read_dataset(tones).only({"150"})), semantics)


def test_several_labels_and_models_without_embeddings(tones: Path, tmp_path: Path) -> None:
    table = tmp_path / "tones" / "two.csv"
    table.write_text("file,labels\n150/0.wav,150;300\n")
    with pytest.raises(DataError, match="one label is needed to learn from, not 150, 300"):
        gather(ToneEncoder(), read_dataset(table))
    with pytest.raises(OptionError, match="learning from recordings needs a model with audio embeddings"):
        gather(ToneModel(), read_dataset(tones))


def test_one_call_trains_a_model(
    tones: Path, attributes: AttributeTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "zsaudio")
    for path in tones.glob("300/[123].wav"):
        path.unlink()
    options: dict[str, Any] = {"semantics": ["attributes"], "attributes": attributes, "blend": False}
    model = zsaudio.train(tones, ToneEncoder(), seen=["150", "300", "1200", "4800"], **options)
    assert (model.classes, model.held_out) == (("1200", "150", "300", "4800"), ("2400", "600"))
    assert [best(model, CLASSES, f) for f in (150, 600, 4800)] == ["150", "600", "4800"]
    assert [record.getMessage() for record in caplog.records] == ["a single recording of 300"]

    attributes.write(tmp_path / "attributes.csv")
    options["attributes"] = tmp_path / "attributes.csv"
    by_file = zsaudio.train(read_dataset(tones), ToneEncoder(), holdout_classes=2, seed=1, gamma=3, **options)
    assert len(by_file.classes) == 4 and by_file.compatibility.get_params()["gamma"] == 3
    assert sorted((*by_file.classes, *by_file.held_out)) == sorted(CLASSES)
    by_file.save(str(tmp_path / "model"))
    loaded = Trained.load(tmp_path / "model", lambda name: ToneEncoder())
    assert (loaded.held_out, loaded.name) == (by_file.held_out, by_file.name)


def test_epochs_are_reported_and_their_state_is_kept(tones: Path, tmp_path: Path) -> None:
    epochs: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        epochs.append((done, total))
        if done == 15 and len(epochs) == 15:
            raise KeyboardInterrupt

    def run() -> Trained:
        return zsaudio.train(
            tones,
            ToneEncoder(),
            method="ranking",
            semantics=["names"],
            epochs=20,
            state=tmp_path / "deep" / "state.pt",
            on_epoch=stop,
        )

    with pytest.raises(KeyboardInterrupt):
        run()
    assert (tmp_path / "deep" / "state.pt").exists()
    run()
    assert 0 < epochs[15][0] <= 15 and epochs[-1] == (20, 20)
    assert not (tmp_path / "deep" / "state.pt").exists()


def test_wrong_options(tones: Path) -> None:
    for options, match in (
        ({"method": "magic"}, "unknown method 'magic': choose one of eszsl, ranking, contrastive"),
        ({"epochs": 3}, "eszsl has no parameter 'epochs'; it has gamma, lam"),
        ({"holdout_classes": -1}, "holding out -1 leaves"),
        ({"seen": ["150"], "holdout_classes": 1}, "do not hold out others"),
    ):
        with pytest.raises(OptionError, match=match):
            zsaudio.train(tones, ToneEncoder(), **options)
    with pytest.raises(DataError, match="no class '151'"):
        zsaudio.train(tones, ToneEncoder(), seen=["150", "151"])
    with pytest.raises(DataError, match="unseen classes have recordings in the training data: 600"):
        zsaudio.train(tones, ToneEncoder(), unseen=["600"])


class TestCommand(ToneCommand):
    def test_train_then_tag_and_evaluate(
        self, tones: Path, tmp_path: Path, attributes: AttributeTable
    ) -> None:
        attributes.write(tmp_path / "attributes.csv")
        out = tmp_path / "model"
        how = ["--semantics", "attributes", "--attributes", tmp_path / "attributes.csv", "--no-blend"]
        code, text, err = self.run("train", tones, "-o", out, "--holdout-classes", 2, "--seed", 3, *how)
        assert code == 0 and "nano, trained on 16 recordings of 4 classes" in text, err
        left_out = (out / "unseen.txt").read_text().split()
        assert len(left_out) == 2
        config = json.loads((out / "config.json").read_text())
        assert not set(left_out) & set(config["classes"]) and config["seen"]["base_weight"] == 0
        code, text, _ = self.run(
            "evaluate", tones, "--model", out, "--unseen", out / "unseen.txt", "-f", "json"
        )
        summary = json.loads(text)[0]["summary"]
        assert code == 0 and summary["unseen among unseen"] > 0.9 and summary["H"] > 0.4
        code, text, _ = self.run(
            "tag", tones / "150" / "0.wav", "--labels", "150,4800", "--model", out, "-f", "csv"
        )
        assert code == 0 and ",150," in text.splitlines()[1]
        before = (out / "model.safetensors").read_bytes()
        code, _, err = self.run("train", tones, "-o", out, *how)
        assert code != 0 and "model.safetensors: exists; --overwrite replaces it" in err
        assert self.run("adapt", "nano", tones, "-o", out)[0] != 0
        assert (out / "model.safetensors").read_bytes() == before
        assert self.run("train", tones, "-o", out, "--overwrite", *how)[0] == 0
        (out / "unfinished.pt").touch()
        assert "--resume goes on with it" in self.run("train", tones, "-o", out, *how)[2]

    @pytest.mark.parametrize("method", ["ranking", "contrastive"])
    def test_other_methods(self, tones: Path, tmp_path: Path, method: str) -> None:
        out = tmp_path / "model"
        code, _, err = self.run(
            "train", tones, "-o", out, "--method", method, "--epochs", 2, "--semantics", "names"
        )
        assert code == 0, err
        assert json.loads((out / "config.json").read_text())["parameters"]["epochs"] == 2
        assert not (out / "unfinished.pt").exists()

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["--unseen", "600"], "unseen classes have recordings in the training data: 600"),
            (["--epochs", "3"], "eszsl has no parameter 'epochs'; it has gamma, lam"),
            (["--method", "ranking", "--lambda", "3"], "ranking has no parameter 'lam'"),
            (["--holdout-classes", "5"], "holding out 5 leaves fewer than 2 of 6 classes"),
            (["--seen", "150,300", "--holdout-classes", "1"], "seen classes are chosen already"),
            (["--semantics", "smell"], "unknown semantics 'smell'"),
            (["--semantics", "relations"], "relations need a taxonomy"),
            (["--attributes", "none.csv"], "none.csv: cannot be read"),
        ],
    )
    def test_usage_errors(self, tones: Path, tmp_path: Path, arguments: list[str], match: str) -> None:
        code, _, err = self.run("train", tones, "-o", tmp_path / "model", *arguments)
        assert code != 0 and match in err

    def test_a_folder_with_something_else_is_left_alone(self, tones: Path) -> None:
        code, _, err = self.run("train", tones, "-o", tones)
        assert code != 0 and "holds something else than a model" in err


def test_the_example_makes_what_its_commands_need(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "examples" / "zero_shot_learning.py"
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=True
    )
    learn, test = read_dataset(tmp_path / "train"), read_dataset(tmp_path / "test")
    assert len(learn.recordings) == 72 and len(test.recordings) == 36
    table = AttributeTable.read(tmp_path / "attributes.csv")
    assert set(table.names) == set(learn.classes) == set(test.classes)
    assert "zsaudio train" in result.stdout and (tmp_path / "background" / "room.wav").exists()
