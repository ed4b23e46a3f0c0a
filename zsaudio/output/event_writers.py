"""Events -> text: one small function per format, in a dict.

Times are rounded to milliseconds, scores to four digits.
"""

import json
import re
from datetime import timedelta
from typing import Any

from zsaudio.output.formats import Format, Place
from zsaudio.output.text import table_rows, visible
from zsaudio.results import ClipEvents, Event

_NAME_WIDTH = 40
_RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Begin Path",
    "File Offset (s)",
    "Label",
    "Score",
)


def event_table(clip: ClipEvents, place: Place) -> str:
    """Columns to read: recording, from, to, score, label; times of day where they are known."""
    lines, name = [], visible(clip.clip)
    if len(name) > _NAME_WIDTH:
        lines, name = [name], ""
    for event in clip.events:
        times = [_clock(clip, seconds, "%H:%M:%S") or _hms(seconds, 1) for seconds in _span(event)]
        lines.append(
            f"{name:<{_NAME_WIDTH}} {times[0]:>10} {times[1]:>10}   {event.score:.2f}  {event.label}"
        )
        name = ""
    if not clip.events:
        lines.append(f"{name:<{_NAME_WIDTH}} {'-':>10}")
    return "\n".join(lines) + "\n"


def event_csv(clip: ClipEvents, place: Place) -> str:
    """Columns ``file,onset,offset,label,score``; with times of day, ``onset_time,offset_time`` too."""
    return table_rows(
        (
            [clip.clip, *map(_s, _span(event)), event.label, f"{event.score:.4f}"]
            + [_clock(clip, seconds) for seconds in _span(event) if place.clock]
            for event in clip.events
        ),
        ",",
        place.escape,
    )


def event_tsv(clip: ClipEvents, place: Place) -> str:
    """Columns of DCASE: ``filename onset offset event_label``, separated by tabs."""
    rows = ([clip.clip, *map(_s, _span(event)), event.label] for event in clip.events)
    return table_rows(rows, "\t", place.escape)


def event_jsonl(clip: ClipEvents, place: Place) -> str:
    """One JSON object per event and line."""
    return "".join(json.dumps(_event_record(clip, event), ensure_ascii=False) + "\n" for event in clip.events)


def event_audacity(clip: ClipEvents, place: Place) -> str:
    """Label track of Audacity: start, end, and the label with its score."""
    return "".join(
        f"{event.onset:.6f}\t{event.offset:.6f}\t{event.label} {event.score:.2f}\n" for event in clip.events
    )


def event_raven(clip: ClipEvents, place: Place) -> str:
    """Raven's selection table; times run on over the recordings, as Raven opens several files in a row."""
    return table_rows(
        (
            [
                str(number),
                "Spectrogram 1",
                "1",
                *(_s(place.seconds + seconds) for seconds in _span(event)),
                "0",
                f"{clip.sample_rate / 2:g}",
                clip.clip,
                _s(event.onset),
                event.label,
                f"{event.score:.4f}",
            ]
            + ([_clock(clip, event.onset, "%Y/%m/%d %H:%M:%S.%f")[:-3]] if place.clock else [])
            for number, event in enumerate(clip.events, start=place.n_items + 1)
        ),
        "\t",
        place.escape,
    )


def event_rttm(clip: ClipEvents, place: Place) -> str:
    """RTTM, for diarisation tools: spaces in names become underscores; the ninth field is the score."""
    return "".join(
        f"SPEAKER {_slug(clip.clip)} 1 {_s(event.onset)} {_s(event.offset - event.onset)} "
        f"<NA> <NA> {_slug(event.label)} {event.score:.4f} <NA>\n"
        for event in clip.events
    )


def event_vtt(clip: ClipEvents, place: Place) -> str:
    """Subtitles for the web: a cue per event."""
    escape = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}
    return "".join(
        f"{_hms(event.onset)} --> {_hms(event.offset)}\n{event.label.translate(escape)}\n\n"
        for event in clip.events
    )


def event_srt(clip: ClipEvents, place: Place) -> str:
    """Subtitles for video players: a numbered cue per event."""
    return "".join(
        f"{number}\n{_hms(event.onset)} --> {_hms(event.offset)}\n".replace(".", ",") + f"{event.label}\n\n"
        for number, event in enumerate(clip.events, start=1)
    )


def event_textgrid(clip: ClipEvents, place: Place) -> str:
    """TextGrid of Praat: an interval tier per label."""
    names = sorted({event.label for event in clip.events}) or ["events"]
    end = round(clip.duration_s, 3)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {_plain(end)}"]
    lines += ["tiers? <exists>", f"size = {len(names)}", "item []:"]
    for tier, name in enumerate(names, start=1):
        quoted = name.replace('"', '""')
        intervals: list[tuple[float, float, str]] = []
        here = 0.0
        for event in clip.events:
            onset, offset = (min(round(seconds, 3), end) for seconds in _span(event))
            if event.label == name and onset < offset:
                intervals += [(here, onset, ""), (onset, offset, quoted)]
                here = offset
        intervals = [interval for interval in [*intervals, (here, end, "")] if interval[0] < interval[1]]
        lines += [f"    item [{tier}]:", '        class = "IntervalTier"', f'        name = "{quoted}"']
        lines += [
            "        xmin = 0",
            f"        xmax = {_plain(end)}",
            f"        intervals: size = {len(intervals)}",
        ]
        for number, (start, stop, text) in enumerate(intervals, start=1):
            lines += [f"        intervals [{number}]:", f"            xmin = {_plain(start)}"]
            lines += [f"            xmax = {_plain(stop)}", f'            text = "{text}"']
    return "\n".join(lines) + "\n"


def _table_header(place: Place) -> str:
    return f"{'recording':<{_NAME_WIDTH}} {'from':>10} {'to':>10}  score  label\n"


def _csv_header(place: Place) -> str:
    clock = ["onset_time", "offset_time"] if place.clock else []
    return table_rows([["file", "onset", "offset", "label", "score", *clock]], ",")


def _raven_header(place: Place) -> str:
    clock = ["Begin Date Time"] if place.clock else []
    return table_rows([[*_RAVEN_COLUMNS, *clock]], "\t")


EVENT_FORMATS: dict[str, Format[ClipEvents]] = {
    "table": Format(".txt", event_table, _table_header),
    "csv": Format(".csv", event_csv, _csv_header),
    "tsv": Format(".tsv", event_tsv, lambda place: "filename\tonset\toffset\tevent_label\n"),
    "jsonl": Format(".jsonl", event_jsonl),
    "audacity": Format(".txt", event_audacity, combines=False),
    "raven": Format(".selections.txt", event_raven, _raven_header),
    "rttm": Format(".rttm", event_rttm),
    "vtt": Format(".vtt", event_vtt, lambda place: "WEBVTT\n\n", combines=False),
    "srt": Format(".srt", event_srt, combines=False),
    "textgrid": Format(".TextGrid", event_textgrid, combines=False),
}


def _event_record(clip: ClipEvents, event: Event) -> dict[str, Any]:
    record: dict[str, Any] = {"file": clip.clip, "onset": round(event.onset, 3)}
    record |= {"offset": round(event.offset, 3), "label": event.label, "score": round(event.score, 4)}
    if clip.started is not None:
        record |= {f"{end}_time": _clock(clip, getattr(event, end)) for end in ("onset", "offset")}
    return record


def _span(event: Event) -> tuple[float, float]:
    return event.onset, event.offset


def _s(seconds: float) -> str:
    return f"{seconds:.3f}"


def _plain(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _hms(seconds: float, digits: int = 3) -> str:
    """Return ``hh:mm:ss.mmm``."""
    unit = 10**digits
    whole, rest = divmod(round(seconds * unit), unit)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{rest:0{digits}}"


def _clock(clip: ClipEvents, seconds: float, form: str = "") -> str:
    """Return the time of day at ``seconds``; empty where it is not known."""
    if clip.started is None:
        return ""
    moment = clip.started + timedelta(seconds=seconds)
    return moment.strftime(form) if form else moment.isoformat(timespec="milliseconds")


def _slug(text: str) -> str:
    return re.sub(r"\s+", "_", text)
