"""Tables of recordings in, tables of results out, without Ray."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zsaudio.errors import OptionError
from zsaudio.ray.work import Kind, Work, Worker
from zsaudio.recognizer import Recognizer

pa = pytest.importorskip("pyarrow")
AUDIO = Path(__file__).parents[2] / "examples/audio"
ALARM, SIREN = str(AUDIO / "smoke_alarm.wav"), str(AUDIO / "siren.mp3")
LABELS = ["speech", "smoke alarm", "siren"]


def work(kind: Kind, **options: Any) -> Work:
    from zsaudio.labels import LabelSet

    return Work(kind, LabelSet.of(LABELS), {"model": "nano"}, options)


def test_tags_of_paths_urls_and_bytes_are_those_of_the_library() -> None:
    table = pa.table(
        {
            "site": [4, 5, 6, 7],
            "path": [ALARM, f"file://{ALARM}", None, "no.wav"],
            "bytes": [None, None, Path(ALARM).read_bytes(), None],
        }
    )
    rows = Worker(work("tag"))(table).to_pylist()
    expected = [(tag.label, pytest.approx(tag.score)) for tag in Recognizer(LABELS).tag(ALARM)]
    for row in rows[:3]:
        assert [(tag["label"], tag["score"]) for tag in row["tags"]] == expected
        assert row["error"] is None
    assert [row["site"] for row in rows] == [4, 5, 6, 7]
    assert list(rows[0]) == ["site", "path", "duration_s", "tags", "error"]
    assert rows[3]["error"] == "no.wav: no such file"
    assert rows[3]["tags"] is None


def test_events_of_a_span_count_from_the_start_of_the_recording() -> None:
    table = pa.table({"path": [ALARM] * 2, "start": [None, 0.6], "end": [None, 2.4], "n": ["whole", "span"]})
    rows = Worker(work("detect"))(table).to_pylist()
    expected = Recognizer(LABELS).detect(ALARM)
    whole = [row for row in rows if row["n"] == "whole"]
    assert [(row["onset"], row["label"]) for row in whole] == [(each.onset, each.label) for each in expected]
    (span,) = [row for row in rows if row["n"] == "span"]
    assert (span["onset"], span["offset"], span["label"]) == (0.6, pytest.approx(2.4), "smoke alarm")
    assert span["duration_s"] == pytest.approx(1.8)


def test_a_recording_without_events_has_a_row() -> None:
    (row,) = Worker(Work("detect", "rain", {}, {}))(pa.table({"path": [ALARM]})).to_pylist()
    assert (row["label"], row["onset"], row["error"]) == (None, None, None)
    assert row["duration_s"] > 1


def test_vectors_are_those_of_embed() -> None:
    found = Worker(work("embed", hop_s=1.0))(pa.table({"path": [SIREN]}))
    expected = Recognizer(LABELS).embed(SIREN, hop_s=1.0)
    assert found.column("onset").to_pylist() == expected.onsets.tolist()
    np.testing.assert_array_equal(np.array(found.column("vector").to_pylist()), expected.vectors)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"file": ["a.wav"]}, "need a column 'path' or 'bytes'"),
        ({"path": ["a"], "error": ["b"]}, "rename it"),
    ],
)
def test_columns_that_cannot_be_used(columns: dict[str, list[str]], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Worker(work("tag"))(pa.table(columns))
