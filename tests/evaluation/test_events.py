"""Figures of events: counted by hand, on sounds whose events are known."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ToneModel, tone
from typer.testing import CliRunner

from zsaudio import cli
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import DataError, MissingExtraError
from zsaudio.evaluation.clips import evaluate
from zsaudio.evaluation.datasets import Dataset, Recording, read_dataset
from zsaudio.evaluation.events import Heard, evaluate_events, measure, require_eval
from zsaudio.labels import Label, LabelSet

try:
    require_eval()
    MISSING = ""
except MissingExtraError as error:
    MISSING = str(error)
needs_eval = pytest.mark.skipif(bool(MISSING), reason=MISSING)

EDGES = np.arange(41) * 0.25  # frames of 10 s
SHARP = DetectionOptions(smooth_s=0.0, merge_gap_s=0.0)


def frames(*spans: tuple[float, float, float]) -> np.ndarray:
    """Scores of 0.01, and in some spans others."""
    scores = np.full(40, 0.01)
    for onset, offset, score in spans:
        scores[round(onset * 4) : round(offset * 4)] = score
    return scores


@needs_eval
class TestMeasure:
    """Three classes; the third is never heard, the second found in part, the first found with two errors."""

    def heard(self) -> list[Heard]:
        scores = np.stack([frames((1, 3, 0.9), (7, 8, 0.6)), frames((4.5, 5, 0.8)), frames()], axis=1)
        nothing = np.stack([frames()] * 3, axis=1)
        truth = ((1.0, 3.0, 0), (4.0, 5.0, 1))
        found = ((1.0, 3.0, 0), (7.0, 8.0, 0), (4.5, 5.0, 1))
        return [Heard(10.0, truth, found, EDGES, scores), Heard(10.0, (), (), EDGES, nothing)]

    def test_segments(self) -> None:
        summary, rows = measure(self.heard(), 3)
        # class 0: 2 of 2 s found, 1 s too many; class 1: its only second; so 3 right, 1 wrong, 0 missed
        assert rows[0]["segment F1"] == pytest.approx(2 * 2 / (3 + 2))
        assert rows[1]["segment F1"] == 1
        assert summary["segment F1 micro"] == pytest.approx(2 * 3 / (4 + 3))
        assert summary["segment F1 macro"] == pytest.approx((0.8 + 1) / 2)

    def test_events(self) -> None:
        summary, rows = measure(self.heard(), 3)
        # class 0: 1 of 2 found is right, 1 of 1 there is found; class 1: the onset is 0.5 s late
        assert rows[0]["event F1"] == pytest.approx(2 / 3)
        assert rows[1]["event F1"] == 0
        assert summary["event F1 micro"] == pytest.approx(2 * 1 / (3 + 2))
        assert summary["event F1 macro"] == pytest.approx(1 / 3)
        assert [(row["events"], row["found"]) for row in rows] == [(1, 2), (1, 1), (0, 0)]

    def test_psds(self) -> None:
        _, rows = measure(self.heard(), 3)
        # the event of class 0 is found before the false alarm, which has a lower score
        assert rows[0]["PSDS1"] == 1 and rows[0]["PSDS2"] == 1
        # half of the event of class 1 is less than 70 %, and more than 10 %
        assert rows[1]["PSDS1"] == 0 and rows[1]["PSDS2"] == 1

    def test_psds_is_a_mean_over_rates_of_false_alarms(self) -> None:
        """Mean over classes less standard deviation: (1 + 0) / 2 - 1 / 2, and 1 - 0."""
        summary, _ = measure(self.heard(), 3)
        assert summary["PSDS1"] == pytest.approx(0) and summary["PSDS2"] == pytest.approx(1)

    def test_psds_counts_false_alarms_by_the_hour(self) -> None:
        """A false alarm above the only event, in two minutes of sound: 30 of the 100 an hour are lost."""
        scores = frames((1, 3, 0.6), (7, 8, 0.9))[:, None]
        rest = np.full((40, 1), 0.01)
        one = Heard(10.0, ((1.0, 3.0, 0),), (), EDGES, scores)
        summary, _ = measure([one] + [Heard(10.0, (), (), EDGES, rest)] * 11, 1)
        assert summary["PSDS1"] == pytest.approx(0.7) and summary["PSDS2"] == pytest.approx(0.7)

    def test_class_without_truth_counts_in_no_mean(self) -> None:
        summary, rows = measure(self.heard(), 3)
        for name in ("segment F1", "event F1", "PSDS1", "PSDS2"):
            assert np.isnan(rows[2][name])
        wrong = Heard(10.0, (), ((0.0, 4.0, 2),), EDGES, np.full((40, 3), 0.01))
        more, _ = measure([*self.heard(), wrong], 3)
        assert more["segment F1 macro"] == summary["segment F1 macro"]
        assert more["segment F1 micro"] == pytest.approx(2 * 3 / (4 + 4 + 3))

    def test_class_of_which_nothing_is_found_has_zero(self) -> None:
        truth = ((1.0, 3.0, 0), (4.0, 5.0, 1))
        scores = np.stack([frames((1, 3, 0.9)), frames()], axis=1)
        summary, rows = measure([Heard(10.0, truth, ((1.0, 3.0, 0),), EDGES, scores)], 2)
        assert rows[1]["segment F1"] == rows[1]["event F1"] == 0
        assert summary["segment F1 macro"] == summary["event F1 macro"] == 0.5

    @pytest.mark.parametrize(
        ("found", "right"),
        [
            ((2.0, 6.0), True),
            ((2.19, 6.0), True),  # onsets: 0.2 s
            ((2.21, 6.0), False),
            ((2.0, 6.79), True),  # offsets: 20 % of 4 s
            ((2.0, 6.81), False),
        ],
    )
    def test_tolerance_of_events(self, found: tuple[float, float], right: bool) -> None:
        one = Heard(10.0, ((2.0, 6.0, 0),), ((*found, 0),), EDGES, frames((2, 6, 0.9))[:, None])
        summary, _ = measure([one], 1)
        assert summary["event F1 micro"] == right


@pytest.fixture
def table(write_wav: Callable[..., Path], tmp_path: Path) -> Path:
    """Two recordings of 8 s with tones at known times, and one of silence."""
    first, second = np.zeros(8 * 16_000, np.float32), np.zeros(8 * 16_000, np.float32)
    first[16_000 : 3 * 16_000] += tone(440, 2.0)
    first[5 * 16_000 : 6 * 16_000] += tone(1200, 1.0)
    second[0 : 2 * 16_000] += tone(1200, 2.0)
    write_wav("first.wav", first)
    write_wav("second.wav", second)
    write_wav("silence.wav", np.zeros(8 * 16_000, np.float32))
    path = tmp_path / "data.csv"
    path.write_text(
        "file,label,onset,offset\nfirst.wav,440,1,3\nfirst.wav,1200,5,6\nsecond.wav,1200,0,2\nsilence.wav,,,\n"
    )
    return path


@needs_eval
class TestEvaluate:
    def test_all_is_found(self, table: Path) -> None:
        (result,) = evaluate(ToneModel(), read_dataset(table), events=SHARP)
        for name in ("segment F1", "event F1"):
            assert result.summary[f"{name} macro"] == result.summary[f"{name} micro"] == 1
        assert result.summary["PSDS1"] == result.summary["PSDS2"] == 1
        assert result.summary["mAP"] == 1  # as without onsets
        assert result.per_class[0]["events"] == result.per_class[0]["found"] == 2

    def test_defaults_smooth_and_are_reported(self, table: Path) -> None:
        (result,) = evaluate(ToneModel(), read_dataset(table), events=DetectionOptions())
        events = result.to_json()["events"]
        assert events["detection"]["smooth_s"] == 3.0 and events["PSDS2"]["cttc_threshold"] == 0.3
        assert json.dumps(result.to_json())  # no NaN objects, no arrays
        assert result.summary["PSDS1"] == 1  # frames are not smoothed

    def test_annotations_are_cut_and_joined(self, table: Path) -> None:
        """One event in two halves, and one that is said to end after the recording."""
        with table.open("a") as file:
            file.write("second.wav,440,7,9\n")
        text = table.read_text().replace("first.wav,440,1,3", "first.wav,440,1,2\nfirst.wav,440,2,3")
        table.write_text(text)
        result = evaluate_events(ToneModel(), read_dataset(table), LabelSet(["440", "1200"]), SHARP)
        of_440 = result.per_class[1]
        assert (of_440["events"], of_440["found"]) == (2, 1)
        # 2 s of 3 are found; the second that lies behind the end is not asked for
        assert of_440["segment F1"] == pytest.approx(2 * 2 / (3 + 2))

    def test_event_behind_the_end_is_named(self, table: Path) -> None:
        with table.open("a") as file:
            file.write("second.wav,440,20,21\n")
        result = evaluate_events(ToneModel(), read_dataset(table), LabelSet(["440", "1200"]), SHARP)
        (problem,) = result.problems
        assert "second.wav: lasts 8 s, but 1 of its events begin later, the first at 20 s" in problem
        assert result.summary["event F1 micro"] == 1

    def test_labels_that_are_no_classes_do_not_count(self, table: Path) -> None:
        labels = LabelSet(["3000", "1200", Label("600", background=True), "440"])
        result = evaluate_events(ToneModel(), read_dataset(table), labels, SHARP)
        assert result.summary["event F1 micro"] == result.summary["PSDS1"] == 1

    def test_a_class_may_have_any_name(
        self, write_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Names that the packages below keep for themselves, or cannot take."""
        model = ToneModel()
        names = {"onset": "440", "a\\b": "1200"}
        embed = model.embed_labels
        monkeypatch.setattr(
            model, "embed_labels", lambda labels: embed(LabelSet([names[n] for n in labels.names]))
        )
        path = write_wav("a.wav", tone(440, 2.0))
        data = Dataset("d", (Recording(path, ("onset",), events=((0.0, 2.0, "onset"),)),), tuple(names))
        result = evaluate_events(model, data, LabelSet(list(names)), SHARP)
        assert result.summary["event F1 macro"] == result.summary["PSDS2"] == 1

    def test_recordings_that_fail_are_left_out(self, table: Path) -> None:
        (table.parent / "second.wav").write_text("no audio")
        (result,) = evaluate(ToneModel(), read_dataset(table), events=SHARP)
        assert result.summary["event F1 micro"] == 1 and len(result.failed) == 1
        (table.parent / "first.wav").write_text("no audio")
        with pytest.raises(DataError, match="no recording with an event"):
            evaluate_events(ToneModel(), read_dataset(table), LabelSet(["440", "1200"]), SHARP)


class TestCommand:
    @pytest.fixture(autouse=True)
    def model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("zsaudio.models.registry.load_model", lambda *_, **__: ToneModel())

    def run(self, *arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)])
        return result.exit_code, result.stdout, result.stderr + str(result.exception or "")

    @needs_eval
    def test_table(self, table: Path) -> None:
        code, out, _ = self.run(table, "--threshold", "0.4")
        lines = [line.split() for line in out.splitlines()]
        assert code == 0
        assert ["PSDS1", "1.000"] in lines and ["segment", "F1", "macro", "1.000"] in lines
        head = "class clips AP segment F1 event F1 PSDS1 PSDS2".split()
        assert head in lines and lines[-1][-2:] == ["1.000", "1.000"]

    @needs_eval
    def test_json(self, table: Path) -> None:
        code, out, _ = self.run(table, "-f", "json", "--threshold", "0.4")
        (result,) = json.loads(out)
        assert code == 0 and result["summary"]["event F1 macro"] == 1
        assert result["per_class"][1]["class"] == "440" and result["per_class"][1]["segment F1"] == 1
        assert result["events"]["detection"]["threshold"] == 0.4

    @pytest.mark.parametrize("package", ["sed_eval", "sed_scores_eval"])
    def test_missing_extra_is_one_line(
        self, table: Path, package: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        code, out, err = self.run(table)
        assert code != 0 and not out
        assert 'pip install "sed_eval' in err and "\n" not in err.strip()

    def test_without_events_nothing_more_is_needed(
        self, table: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "sed_eval", None)
        code, out, _ = self.run(table, "--no-events")
        assert code == 0 and "mAP" in out and "F1" not in out
