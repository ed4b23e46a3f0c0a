"""Results -> text: one small function a format, in a dict.

A writer takes the results one by one as they come and writes each at once, so that what is done is never
lost. Scores are rounded to four digits.
"""

import csv
import json
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from zsaudio.errors import has_result
from zsaudio.results import ClipTags

_NAME_WIDTH = 32
_BAR_WIDTH = 12


def write_tag_table(clips: Iterable[ClipTags], file: TextIO) -> None:
    """Columns for people: clip, length, label, score and a bar of it."""
    bar = "█" if "utf" in (getattr(file, "encoding", None) or "utf-8").lower() else "#"
    file.write(f"{'clip':<{_NAME_WIDTH}} {'length':>9}   score{'':{_BAR_WIDTH + 2}}label\n")
    for clip in clips:
        if not has_result(clip.error):
            continue
        name = clip.clip
        if len(name) > _NAME_WIDTH:
            file.write(name + "\n")
            name = ""
        head = f"{name:<{_NAME_WIDTH}} {clip.duration_s:>7.1f} s"
        for tag in clip.tags:
            bars = bar * round(tag.score * _BAR_WIDTH)
            file.write(f"{head}   {tag.score:.2f} {bars:<{_BAR_WIDTH}}  {tag.label}\n")
            head = " " * len(head)
        if not clip.tags:
            file.write(f"{head}   -\n")
        file.flush()


def write_tag_csv(clips: Iterable[ClipTags], file: TextIO) -> None:
    """Columns ``file,label,score``, a row a tag."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["file", "label", "score"])
    for clip in clips:
        rows.writerows([clip.clip, tag.label, f"{tag.score:.4f}"] for tag in clip.tags)
        file.flush()


def write_tag_jsonl(clips: Iterable[ClipTags], file: TextIO) -> None:
    """One JSON object a clip and line: ``file``, ``duration_s``, ``tags``; ``error`` where one occurred."""
    for clip in clips:
        file.write(json.dumps(_tags_record(clip), ensure_ascii=False) + "\n")
        file.flush()


def write_tag_json(clips: Iterable[ClipTags], file: TextIO) -> None:
    """One JSON array of the objects of ``jsonl``, complete even where the work is interrupted."""
    separator = "[\n"
    try:
        for clip in clips:
            file.write(separator + json.dumps(_tags_record(clip), ensure_ascii=False))
            separator = ",\n"
            file.flush()
    finally:
        file.write("[]\n" if separator == "[\n" else "\n]\n")


TAG_WRITERS: dict[str, Callable[[Iterable[ClipTags], TextIO], None]] = {
    "table": write_tag_table,
    "json": write_tag_json,
    "jsonl": write_tag_jsonl,
    "csv": write_tag_csv,
}


def _tags_record(clip: ClipTags) -> dict[str, Any]:
    error = {} if clip.error is None else {"error": str(clip.error)}
    if not has_result(clip.error):
        return {"file": clip.clip, **error}
    tags = [{"label": tag.label, "score": round(tag.score, 4)} for tag in clip.tags]
    return {"file": clip.clip, "duration_s": round(clip.duration_s, 3), "tags": tags, **error}
