"""Tags -> text: one small function per format, in a dict.

Scores are rounded to four digits.
"""

import json
from typing import Any

from zsaudio.errors import has_result
from zsaudio.output.formats import Format, Place
from zsaudio.output.text import table_rows, visible
from zsaudio.results import ClipTags

_NAME_WIDTH = 32
_BAR_WIDTH = 12


def tag_table(clip: ClipTags, place: Place) -> str:
    """Columns to read: clip, length, score with a bar, label."""
    text, name = "", visible(clip.clip)
    if len(name) > _NAME_WIDTH:
        text, name = name + "\n", ""
    head = f"{name:<{_NAME_WIDTH}} {clip.duration_s:>7.1f} s"
    for tag in clip.tags:
        bar = "█" * round(tag.score * _BAR_WIDTH)
        text += f"{head}   {tag.score:.2f} {bar:<{_BAR_WIDTH}}  {tag.label}\n"
        head = " " * len(head)
    return text if clip.tags else text + f"{head}   -\n"


def tag_csv(clip: ClipTags, place: Place) -> str:
    """Columns ``file,label,score``, a row per tag."""
    rows = ([clip.clip, tag.label, f"{tag.score:.4f}"] for tag in clip.tags)
    return table_rows(rows, ",", place.escape)


def tag_jsonl(clip: ClipTags, place: Place) -> str:
    """One JSON object per clip and line: ``file``, ``duration_s``, ``tags``, and ``error`` if it failed."""
    return json.dumps(_record(clip), ensure_ascii=False) + "\n"


def tag_json(clip: ClipTags, place: Place) -> str:
    """One JSON array of the objects of ``jsonl``."""
    return (",\n" if place.n_clips else "\n") + json.dumps(_record(clip), ensure_ascii=False)


def _table_header(place: Place) -> str:
    return f"{'clip':<{_NAME_WIDTH}} {'length':>9}   score{'':{_BAR_WIDTH + 2}}label\n"


TAG_FORMATS: dict[str, Format[ClipTags]] = {
    "table": Format(".txt", tag_table, _table_header),
    "json": Format(".json", tag_json, lambda place: "[", lambda place: "\n]\n", failure=tag_json),
    "jsonl": Format(".jsonl", tag_jsonl, failure=tag_jsonl),
    "csv": Format(".csv", tag_csv, lambda place: "file,label,score\n"),
}


def _record(clip: ClipTags) -> dict[str, Any]:
    record: dict[str, Any] = {"file": clip.clip}
    if has_result(clip.error):
        tags = [{"label": tag.label, "score": round(tag.score, 4)} for tag in clip.tags]
        record |= {"duration_s": round(clip.duration_s, 3), "tags": tags}
    return record | ({"error": str(clip.error)} if clip.error is not None else {})
