import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ToneModel, tone
from tone_encoder import ToneEncoder
from typer.testing import CliRunner

from zsaudio import cli
from zsaudio.errors import LabelError
from zsaudio.evaluation import report
from zsaudio.evaluation.clips import Evaluation, evaluate
from zsaudio.evaluation.datasets import read_dataset
from zsaudio.labels import Label, LabelSet
from zsaudio.recognizer import Recognizer


@pytest.fixture
def tones(write_wav: Callable[..., Path], tmp_path: Path) -> Path:
    """Three classes of two clips; one of the 3000 Hz clips is really a 440 Hz tone."""
    for folder, first, second in (("440", 440, 430), ("1200", 1200, 1250), ("3000", 3000, 440)):
        write_wav(f"data/{folder}/1.wav", tone(first, 1.0))
        write_wav(f"data/{folder}/2.wav", tone(second, 3.0))
    return tmp_path / "data"


def test_figures_by_hand(tones: Path) -> None:
    (result,) = evaluate(ToneEncoder(), read_dataset(tones))
    assert result.classes == ("1200", "3000", "440")
    assert result.summary["accuracy"] == pytest.approx(5 / 6)
    assert result.summary["mean class accuracy"] == pytest.approx(5 / 6)
    assert result.summary["top-5 accuracy"] == 1
    rows = {row["class"]: row for row in result.per_class}
    assert rows["3000"]["accuracy"] == 0.5 and rows["3000"]["taken for"] == "440"
    assert rows["440"]["accuracy"] == 1 and rows["440"]["clips"] == 2


def test_scores_are_those_of_tag(tones: Path) -> None:
    dataset = read_dataset(tones)
    labels = LabelSet([*dataset.classes, Label("600", background=True)])
    for model in (ToneEncoder(), ToneModel()):
        (result,) = evaluate(model, dataset, labels=labels, cache=False)
        recognizer = Recognizer(labels, model)
        for recording, logits in zip(dataset.recordings, result.logits, strict=True):
            tags = {tag.label: tag.score for tag in recognizer.tag(recording.path)}
            scores = 1 / (1 + np.exp(-logits))
            assert scores == pytest.approx([tags[name] for name in dataset.classes], abs=1e-5)


def test_seen_and_unseen(tones: Path) -> None:
    (result,) = evaluate(ToneEncoder(), read_dataset(tones), unseen=["3000"])
    assert result.summary["S"] == 1 and result.summary["U"] == 0.5
    assert result.summary["unseen among unseen"] == 1
    assert result.summary["H"] == pytest.approx(2 / 3)


def test_templates_side_by_side(tones: Path) -> None:
    model = ToneEncoder()
    results = evaluate(model, read_dataset(tones), templates=["{}", "no 77 {}"])
    assert [result.prompts for result in results] == ["{}", "no 77 {}", "mean of all"]
    # the encoder reads the first number only, so that the second template makes all labels alike
    assert results[0].summary["accuracy"] == pytest.approx(5 / 6)
    assert results[1].summary["accuracy"] == pytest.approx(2 / 6)
    assert "no 77 440" in model.prompts


def test_several_labels_a_clip(write_wav: Callable[..., Path], tmp_path: Path) -> None:
    write_wav("a.wav", tone(440, 1) + tone(3000, 1))
    write_wav("b.wav", tone(440, 1))
    table = tmp_path / "data.csv"
    table.write_text("file,labels\na.wav,440;3000\nb.wav,440\n")
    (result,) = evaluate(ToneEncoder(), read_dataset(table))
    assert result.is_multi_label and set(result.summary) == {"mAP", "ECE independent"}
    assert result.summary["mAP"] == 1
    assert "accuracy" not in result.per_class[0] and "confusion" not in result.to_json()


def test_label_set_must_know_the_classes(tones: Path) -> None:
    with pytest.raises(LabelError, match=r"lacks classes of .*: 1200, 3000"):
        evaluate(ToneEncoder(), read_dataset(tones), labels=LabelSet(["440"]))


def test_png_files(tones: Path, tmp_path: Path) -> None:
    (result,) = evaluate(ToneEncoder(), read_dataset(tones), unseen=["3000"])
    report.draw_confusion(result, tmp_path / "confusion.png")
    report.draw_reliability(result, tmp_path / "reliability.png")
    for name in ("confusion.png", "reliability.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


class TestCommand:
    @pytest.fixture(autouse=True)
    def model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("zsaudio.models.registry.load_model", lambda *_, **__: ToneEncoder())

    def run(self, *arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)])
        return result.exit_code, result.stdout, result.stderr + str(result.exception or "")

    def test_table(self, tones: Path) -> None:
        code, out, _ = self.run(tones)
        lines = out.splitlines()
        assert code == 0 and "6 clips, 3 classes; model tone-encoder" in lines[0]
        assert "accuracy                 0.833" in lines[1]
        assert lines[-3].split() == ["3000", "2", "0.500", "0.667", "440"]

    def test_json_and_folder(self, tones: Path, tmp_path: Path) -> None:
        code, out, _ = self.run(tones, "--unseen", "3000", "-f", "json", "-o", tmp_path / "report")
        (result,) = json.loads(out)
        assert code == 0 and result["summary"]["H"] == pytest.approx(2 / 3, abs=1e-5)
        assert result["unseen"] == ["3000"]
        assert result["confusion"] == {
            "classes": ["1200", "3000", "440"],
            "counts": [[2, 0, 0], [0, 1, 1], [0, 0, 2]],
        }
        names = {path.name for path in (tmp_path / "report").iterdir()}
        assert names == {"results.json", "confusion.png", "reliability.png"}
        assert json.loads((tmp_path / "report" / "results.json").read_text()) == [result]
        code, _, err = self.run(tones, "-o", tmp_path / "report")
        assert code != 0 and "results.json: exists; --overwrite replaces it" in err
        assert self.run(tones, "-o", tmp_path / "report", "--overwrite")[0] == 0

    def test_without_matplotlib_all_but_the_pictures_is_written(
        self, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        code, out, err = self.run(tones, "-o", tmp_path / "report")
        assert code == 0 and "accuracy" in out
        assert 'no pictures are drawn: plots need matplotlib: pip install "matplotlib' in err
        assert [path.name for path in (tmp_path / "report").iterdir()] == ["results.json"]

    def test_lists_of_classes_choose_the_recordings(self, tones: Path, tmp_path: Path) -> None:
        (tmp_path / "seen.txt").write_text("440\n")
        code, out, _ = self.run(tones, "--seen", tmp_path / "seen.txt", "--unseen", "1200")
        assert code == 0 and "4 clips, 2 classes" in out

    def test_bad_files_are_named_and_the_rest_goes_on(self, tones: Path) -> None:
        (tones / "440" / "text.wav").write_text("no audio")
        (tones / "empty").mkdir()
        code, out, err = self.run(tones)
        assert code == 1 and "6 clips, 4 classes" in out
        assert "text.wav: not a recording" in err and "class 'empty' has no recordings" in err

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["--unseen", "9"], "no class '9'; it has 1200, 3000, 440"),
            (["--seen", "440", "--unseen", "440"], "both seen and unseen: 440"),
            (["--unseen", ","], "names no classes"),
            (["--seen", "440,1200,3000"], "no recording of a class that counts as unseen"),
            (["--split", "1"], "no split '1'; it has no splits"),
            (["--templates", "a dog"], "has no {}"),
        ],
    )
    def test_usage_errors(self, tones: Path, arguments: list[str], match: str) -> None:
        code, _, err = self.run(tones, *arguments)
        assert code != 0 and match in err


def test_truth_is_kept_apart_from_failures() -> None:
    result = Evaluation("m", "d", "own", ("a", "b"), np.array([[1.0, 0.0]]), np.array([[True, False]]))
    assert result.to_json()["failed"] == [] and result.summary["accuracy"] == 1
