"""Every format of events, read back by a reader that others wrote where there is one."""

import csv
import io
import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from zsaudio.output.event_writers import EVENT_FORMATS
from zsaudio.output.formats import Place
from zsaudio.results import ClipEvents, Event

EVENTS = (
    Event(0.0, 1.28, "dog barking", 0.91234),
    Event(0.96, 3600.5, "rain, heavy", 0.5),
    Event(1.44, 2.0, "dog barking", 0.7),
    Event(86399.2, 86400.0, 'a "loud" <bang> & more', 1.0),
)
CLIP = ClipEvents("night shift/x 1.wav", 86400.0, 48_000, EVENTS)
TIMES = [(event.onset, event.offset) for event in EVENTS]
LABELS = [event.label for event in EVENTS]


def text_of(name: str, *clips: ClipEvents, clock: bool = False) -> str:
    form, n_events, seconds = EVENT_FORMATS[name], 0, 0.0
    text = form.header(Place(clock=clock))
    for clip in clips:
        text += form.write(clip, Place(n_items=n_events, seconds=seconds, clock=clock))
        n_events += len(clip.events)
        seconds += clip.duration_s
    return text


def close(times: list[tuple[float, float]]) -> object:
    return [pytest.approx(pair, abs=0.0011) for pair in times]


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(text_of("csv", CLIP))))
    assert list(rows[0]) == ["file", "onset", "offset", "label", "score"]
    assert [(float(row["onset"]), float(row["offset"])) for row in rows] == close(TIMES)
    assert [row["label"] for row in rows] == LABELS
    assert [row["score"] for row in rows] == ["0.9123", "0.5000", "0.7000", "1.0000"]
    assert {row["file"] for row in rows} == {CLIP.clip}


def test_csv_with_times_of_day() -> None:
    known = ClipEvents("a", 2.0, 8000, EVENTS[:1], started=datetime(2026, 1, 31, 23, 59, 59))
    unknown = ClipEvents("b", 2.0, 8000, EVENTS[:1])
    rows = list(csv.DictReader(io.StringIO(text_of("csv", known, unknown, clock=True))))
    assert rows[0]["onset_time"] == "2026-01-31T23:59:59.000"
    assert rows[0]["offset_time"] == "2026-02-01T00:00:00.280"
    assert rows[1]["onset_time"] == ""


def test_tsv_by_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(io.StringIO(text_of("tsv", CLIP)), sep="\t")
    assert list(table.columns) == ["filename", "onset", "offset", "event_label"]
    assert list(zip(table.onset, table.offset, strict=True)) == close(TIMES)
    assert list(table.event_label) == LABELS


def test_jsonl() -> None:
    records = [json.loads(line) for line in text_of("jsonl", CLIP).splitlines()]
    assert [(record["onset"], record["offset"]) for record in records] == close(TIMES)
    assert records[0] == {
        "file": CLIP.clip,
        "onset": 0.0,
        "offset": 1.28,
        "label": "dog barking",
        "score": 0.9123,
    }
    timed = ClipEvents("a", 2.0, 8000, EVENTS[:1], started=datetime(2026, 1, 31, 5, 30))
    assert json.loads(text_of("jsonl", timed))["onset_time"] == "2026-01-31T05:30:00.000"


@pytest.mark.parametrize("name", ["csv", "tsv", "raven"])
def test_cells_are_no_formulas(name: str) -> None:
    clip = ClipEvents("=a.wav", 2.0, 8000, (Event(0.0, 1.0, "@b", 0.5),))
    form, separator = EVENT_FORMATS[name], "," if name == "csv" else "\t"
    for escape, mark in ((True, "'"), (False, "")):
        cells = form.write(clip, Place(escape=escape)).rstrip("\n").split(separator)
        assert {f"{mark}=a.wav", f"{mark}@b"} <= set(cells)


def test_a_table_shows_control_characters() -> None:
    clip = ClipEvents("a\x1b[2J.wav", 2.0, 8000, EVENTS[:1])
    assert "a\\x1b[2J.wav" in text_of("table", clip)


def test_audacity() -> None:
    rows = [line.split("\t") for line in text_of("audacity", CLIP).splitlines()]
    assert [(float(row[0]), float(row[1])) for row in rows] == close(TIMES)
    assert [row[2] for row in rows][:2] == ["dog barking 0.91", "rain, heavy 0.50"]
    assert {len(row) for row in rows} == {3}  # Audacity reads three columns


def test_raven_runs_on_over_recordings() -> None:
    other = ClipEvents("b.wav", 10.0, 32_000, EVENTS[:1])
    rows = list(csv.DictReader(io.StringIO(text_of("raven", CLIP, other)), delimiter="\t"))
    assert [row["Selection"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert float(rows[4]["Begin Time (s)"]) == 86400.0
    assert float(rows[4]["End Time (s)"]) == pytest.approx(86401.28)
    assert float(rows[4]["File Offset (s)"]) == 0.0
    assert [row["High Freq (Hz)"] for row in rows[3:]] == ["24000", "16000"]
    assert rows[3]["Label"] == LABELS[3]
    timed = ClipEvents("a", 2.0, 8000, EVENTS[:1], started=datetime(2026, 1, 31, 5, 30))
    (row,) = csv.DictReader(io.StringIO(text_of("raven", timed, clock=True)), delimiter="\t")
    assert row["Begin Date Time"] == "2026/01/31 05:30:00.000"


def test_rttm_by_pyannote(tmp_path: Path) -> None:
    load_rttm = pytest.importorskip("pyannote.database.util").load_rttm
    path = tmp_path / "events.rttm"
    other = ClipEvents("b.wav", 10.0, 32_000, EVENTS[:1])
    path.write_text(text_of("rttm", CLIP, other))
    read = load_rttm(str(path))
    assert set(read) == {"night_shift/x_1.wav", "b.wav"}
    tracks = [
        (segment, label) for segment, _, label in read["night_shift/x_1.wav"].itertracks(yield_label=True)
    ]
    assert [(segment.start, segment.end) for segment, _ in tracks] == close(sorted(TIMES))
    assert [label for _, label in tracks] == [re.sub(r"\s", "_", label) for label in LABELS]


def test_vtt_by_webvtt() -> None:
    webvtt = pytest.importorskip("webvtt")
    captions = webvtt.from_string(text_of("vtt", CLIP)).captions
    assert [(c.start_in_seconds, c.end_in_seconds) for c in captions] == [
        (int(onset), int(offset)) for onset, offset in TIMES
    ]
    assert (captions[0].start, captions[0].end) == ("00:00:00.000", "00:00:01.280")
    assert [caption.text for caption in captions][:2] == LABELS[:2]
    assert captions[3].raw_text == 'a "loud" &lt;bang&gt; &amp; more'


def test_srt_by_srt() -> None:
    srt = pytest.importorskip("srt")
    cues = list(srt.parse(text_of("srt", CLIP)))
    assert [(c.start.total_seconds(), c.end.total_seconds()) for c in cues] == close(TIMES)
    assert [cue.content for cue in cues] == LABELS
    assert [cue.index for cue in cues] == [1, 2, 3, 4]


def test_textgrid_by_praatio(tmp_path: Path) -> None:
    textgrid = pytest.importorskip("praatio.textgrid")
    path = tmp_path / "events.TextGrid"
    path.write_text(text_of("textgrid", CLIP))
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert (grid.minTimestamp, grid.maxTimestamp) == (0, 86400)
    found = [
        (entry.start, entry.end, entry.label)
        for name in grid.tierNames
        for entry in grid.getTier(name).entries
    ]
    assert [(start, end) for start, end, _ in sorted(found)] == close(sorted(TIMES))
    assert sorted(label.replace('""', '"') for *_, label in found) == sorted(LABELS)


def test_textgrid_intervals_fill_the_recording() -> None:
    clip = ClipEvents("a", 5.0004, 8000, (Event(0.0, 1.0, "a", 0.9), Event(1.0, 5.0008, "a", 0.9)))
    text = text_of("textgrid", clip)
    edges = re.findall(r"intervals \[\d+\]:\s+xmin = (\S+)\s+xmax = (\S+)", text)
    assert edges == [("0", "1"), ("1", "5")]
    assert "xmax = 5\n" in text


def test_table() -> None:
    lines = text_of("table", CLIP).splitlines()
    assert lines[1].split()[:3] == ["night", "shift/x", "1.wav"]
    assert "00:00:00.0 00:00:01.3   0.91  dog barking" in lines[1]
    assert "24:00:00.0   1.00" in lines[4]
    timed = ClipEvents("a", 2.0, 8000, EVENTS[:1], started=datetime(2026, 1, 31, 5, 30))
    assert "05:30:00   05:30:01" in text_of("table", timed)


@pytest.mark.parametrize("name", EVENT_FORMATS)
def test_a_recording_without_events(name: str, tmp_path: Path) -> None:
    text = text_of(name, ClipEvents("a.wav", 3.5, 8000))
    if name == "textgrid":
        textgrid = pytest.importorskip("praatio.textgrid")
        (tmp_path / "a").write_text(text)
        assert textgrid.openTextgrid(str(tmp_path / "a"), True).maxTimestamp == 3.5
    elif name == "table":
        assert text.splitlines()[1].split() == ["a.wav", "-"]
    else:
        assert text == EVENT_FORMATS[name].header(Place())
