import pickle
import sys
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import Run, ToneModel, tone

from zsaudio.errors import AudioError, MissingExtraError
from zsaudio.labels import LabelSet
from zsaudio.recognizer import Recognizer
from zsaudio.results import ClipEvents, ClipTags, Event, Events, Tag, Tags

EVENTS = (Event(1.0, 2.5, "dog", 0.75), Event(4.0, 4.25, "<b>cat</b>", 0.5))


class Cells(HTMLParser):
    """The texts of the cells of HTML tables, by row, and the text outside of them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.rest = ""
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True
        else:
            assert tag in ("table", "thead", "tbody", "caption", "span", "p"), tag

    def handle_endtag(self, tag: str) -> None:
        self._in_cell &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data
        else:
            self.rest += data


def test_tags_and_events_read_well() -> None:
    assert repr(Tag("siren", float(np.float32(0.9)))) == "Tag(label='siren', score=0.9)"
    event = Event(0.123456, 2.0, "siren", float(np.float32(0.87654)))
    assert repr(event) == "Event(onset=0.123, offset=2.0, label='siren', score=0.8765)"
    assert repr(ClipTags("a.wav", 1.0, (Tag("x", 0.5),))) == (
        "ClipTags(clip='a.wav', duration_s=1.0, tags=(Tag(label='x', score=0.5),), error=None)"
    )


def test_label_sets_read_well() -> None:
    assert repr(LabelSet(["a", "b"])) == "LabelSet(['a', 'b'])"
    text = repr(LabelSet([f"label {number}" for number in range(1_210)]))
    assert text.startswith("LabelSet(['label 0', 'label 1', ") and text.endswith(
        "'label 9', ... 1,200 more])"
    )


def test_a_recognizer_returns_lists_with_tables() -> None:
    recognizer = Recognizer(["440", "1000"], ToneModel())
    tags, events = recognizer.tag(tone(440, 1.0), 16_000), recognizer.detect(tone(440, 1.0), 16_000)
    assert isinstance(tags, Tags) and isinstance(events, Events)
    assert tags == [Tag("440", tags[0].score), Tag("1000", tags[1].score)]
    assert Cells(tags._repr_html_()).rows == [["label", "score"], ["440", "1.00"], ["1000", "0.00"]]
    assert Cells(events._repr_html_()).rows[1] == ["0.00", "1.00", "440", "1.00"]
    copy = pickle.loads(pickle.dumps(tags))
    assert copy == tags and copy.clip == tags.clip == "<array>"


def test_html_is_escaped_and_titled() -> None:
    html = ClipEvents("<i>night</i>.wav", 12.0, 8_000, EVENTS)._repr_html_()
    cells = Cells(html)  # which accepts the table's own tags only
    assert cells.rest == "<i>night</i>.wav, 12.0 s"
    assert cells.rows == [
        ["onset", "offset", "label", "score"],
        ["1.00", "2.50", "dog", "0.75"],
        ["4.00", "4.25", "<b>cat</b>", "0.50"],
    ]
    assert "<b>" not in html and "width:4.5em" in html  # the bar of 0.75
    failed = ClipTags("x.wav", 0.0, error=AudioError("x.wav: no such file"))
    assert Cells(failed._repr_html_()).rest == "x.wav: no such file"


def test_long_tables_are_cut() -> None:
    events = Events([Event(float(n), n + 1.0, "dog", 0.5) for n in range(1_300)], "a.wav")
    cells = Cells(events._repr_html_())
    assert len(cells.rows) == 101 and cells.rest == "a.wav1,200 more rows"


def test_frames_have_the_columns_of_the_csv(zs: Run, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    name = "20260131_053000.wav"
    soundfile.write(tmp_path / name, np.concatenate([tone(440, 2.0), tone(1000, 2.0)]), 16_000)
    recognizer = Recognizer(["440", "1000"], ToneModel())
    (clip,) = recognizer.detect_batch([name])
    (tagged,) = recognizer.tag_batch([name])
    assert len(clip.events) == len(tagged.tags) == 2
    labels = ("--labels", "440,1000", "--format", "csv")
    frame, rows = clip.to_frame(), zs("detect", name, *labels).rows()
    assert list(frame.columns) == list(rows[0])
    for column in ("onset", "offset", "score"):
        assert frame[column].tolist() == pytest.approx([float(row[column]) for row in rows], abs=1e-3)
    assert frame["label"].tolist() == [row["label"] for row in rows] == ["440", "1000"]
    assert frame["file"].tolist() == [name, name]
    assert recognizer.detect(name).to_frame().equals(frame)

    frame = replace(clip, started=datetime(2026, 1, 31, 5, 30)).to_frame()
    rows = zs("detect", name, *labels, "--start-time", "auto").rows()
    assert list(frame.columns) == list(rows[0])
    assert frame["offset_time"].tolist() == [
        pandas.Timestamp(row["offset_time"]).to_pydatetime() for row in rows
    ]

    frame, rows = tagged.to_frame(), zs("tag", name, *labels).rows()
    assert list(frame.columns) == list(rows[0])
    assert frame["score"].tolist() == pytest.approx([float(row["score"]) for row in rows], abs=1e-4)
    assert recognizer.tag(name).to_frame().equals(frame)
    assert list(ClipTags("a.wav", 1.0).to_frame().columns) == ["file", "label", "score"]


def test_frames_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="a DataFrame needs pandas: pip install "):
        Tags([Tag("dog", 0.5)]).to_frame()


def test_the_audio_of_an_event(tmp_path: Path) -> None:
    left, right = np.linspace(0, 0.5, 40_000), np.linspace(0.5, 0, 40_000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 8_000, subtype="FLOAT")
    mono = ((left + right) / 2).astype(np.float32)
    event = Event(1.0, 2.5, "dog", 0.9)
    for source in (tmp_path / "a.wav", (tmp_path / "a.wav").open("rb"), (tmp_path / "a.wav").read_bytes()):
        samples, rate = event.clip(source)
        assert rate == 8_000 and samples.dtype == np.float32
        assert samples == pytest.approx(mono[8_000:20_000], abs=1e-6)
    ramp = np.arange(40_000, dtype=np.float32) / 40_000
    samples, rate = event.clip(ramp, 8_000, margin_s=1.5)  # from the start
    assert rate == 8_000 and samples == pytest.approx(ramp[:32_000])
    samples, _ = Event(4.0, 6.0, "dog", 0.9).clip(ramp, 8_000)  # to the end
    assert samples == pytest.approx(ramp[32_000:])
    with pytest.raises(AudioError, match="<array>: has nothing at 9 s"):
        Event(9.0, 10.0, "dog", 0.9).clip(ramp, 8_000)
    with pytest.raises(AudioError, match="no such file"):
        event.clip(tmp_path / "none.wav")
