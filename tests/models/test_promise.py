"""What is promised of keywords: thresholds, misses, and the words they may be taken for."""

import math
from pathlib import Path

import pytest
from conftest import Run

from zsaudio.errors import LabelError, OptionError
from zsaudio.labels import Label, LabelSet
from zsaudio.models.nano.nano import Nano
from zsaudio.models.speech.nano_keyword import NanoKeyword
from zsaudio.models.speech.promise import Curve, KeywordPromise, similar_words
from zsaudio.recognizer import Recognizer

PROMISE = KeywordPromise(Curve(3.0, -1.0, -0.5), Curve(1.0, 0.5, -0.4), highest=12.0)


def test_the_threshold_gives_the_promised_rate() -> None:
    threshold = PROMISE.threshold(0.1, 8)
    assert threshold == pytest.approx(3.0 - 0.5 * 8 - math.log(0.1))
    assert PROMISE.alarms.at(threshold, 8) == pytest.approx(math.log(0.1))
    assert PROMISE.threshold(1e-9, 2) > PROMISE.highest


def test_misses() -> None:
    assert PROMISE.missed(0.0, 2) == pytest.approx(1 / (1 + math.exp(-0.2)))
    assert PROMISE.missed(4.0, 2) > PROMISE.missed(0.0, 2) > PROMISE.missed(0.0, 9)


def test_similar_words() -> None:
    words: dict[str, list[tuple[str, ...]]] = {
        "shop": [("SH", "AA", "P")],
        "stopped": [("S", "T", "AA", "P", "T")],
        "stop": [("S", "T", "AA", "P")],
        "tree": [("T", "R", "IY")],
    }
    assert similar_words([("S", "T", "AA", "P")], words) == ["stopped", "shop"]
    assert similar_words([("K", "AH", "M", "P", "Y", "UW", "T", "ER")], words) == []


def test_long_keywords_are_promised_more() -> None:
    promise = NanoKeyword().promise
    assert promise is not None
    short, long = promise.threshold(1.0, 3), promise.threshold(1.0, 10)
    assert short > long and promise.missed(short, 3) > 2 * promise.missed(long, 10)


class TestThresholds:
    def test_of_a_recogniser(self) -> None:
        label = Label("keyword: hey computer", false_alarms=1.0)
        recognizer = Recognizer([label, Label("keyword: stop it now", threshold=0.3)])
        first, second = recognizer.labels
        promise = NanoKeyword().promise
        assert promise is not None
        log_odds = promise.threshold(1.0, 10)
        assert first.threshold == pytest.approx(1 / (1 + math.exp(-log_odds)))
        assert (first.false_alarms, second.threshold) == (None, 0.3)

    def test_fewer_false_alarms_need_a_higher_one(self) -> None:
        thresholds = [
            Recognizer([Label("keyword: hey computer", false_alarms=n)]).labels[0].threshold
            for n in (0.1, 1.0, 10.0)
        ]
        assert thresholds == sorted(thresholds, reverse=True)

    def test_a_model_without_statistics(self, monkeypatch: pytest.MonkeyPatch) -> None:
        nano = Nano()
        monkeypatch.setattr(nano, "promise", None)
        with pytest.raises(
            OptionError, match=r"no false alarms can be promised for 'rain'.*zsaudio calibrate"
        ):
            Recognizer([Label("rain", false_alarms=1.0)], nano)

    def test_in_label_files(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.yaml"
        path.write_text("keywords:\n  - {name: hey computer, false_alarms: 0.1}\n")
        assert LabelSet.from_file(path)[0].false_alarms == 0.1
        table = tmp_path / "labels.csv"
        table.write_text("label,false_alarms\nkeyword: hey computer,0.5\n")
        assert LabelSet.from_file(table)[0].false_alarms == 0.5
        path.write_text("keywords:\n  - {name: hey computer, false_alarms: 0}\n")
        with pytest.raises(LabelError, match="must be above 0"):
            LabelSet.from_file(path)
        with pytest.raises(LabelError, match="give one of them"):
            LabelSet([Label("keyword: hey", threshold=0.5, false_alarms=1.0)])


class TestCommandLine:
    def test_keywords(self, zs: Run) -> None:
        ran = zs("keywords", "hey computer, go")
        assert ran.code == 0 and len(ran.err) == 1
        long, short = ran.out.split("\ngo\n")
        assert "said as    HH EY K AH M P Y UW T ER" in long and "advice" not in long
        assert "advice: too short" in short
        for rate in ("0.1 false alarms an hour", "1 false alarm an hour", "10 false alarms an hour"):
            assert rate in long and rate in short

    def test_a_promise_in_detect(self, zs: Run) -> None:
        speech = Path(__file__).parents[2] / "examples" / "audio" / "speech.flac"
        how = ("detect", speech, "--labels", "keyword: good evening", "--false-alarms")
        ran = zs(*how, "1", "-f", "csv")
        assert ran.code == 0 and "good evening" in ran.out
        ran = zs(*how, "1", "--threshold", "0.5")
        assert (ran.code, len(ran.err)) == (2, 1) and "give one of them" in ran.err[0]
