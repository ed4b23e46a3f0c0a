"""``zsaudio count``: how many events of each label an archive holds, by hour, day, month or recording."""

import csv
import json
import os
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from zsaudio.cli import common
from zsaudio.cli.index import Root
from zsaudio.cli.search import ArchivePath, From, Hours, PathPattern, SearchModel, To, end, read_where

if TYPE_CHECKING:
    from typing import TextIO

    from zsaudio.archive.matches import Counts


class Grouping(StrEnum):
    """Choices of ``--by``."""

    hour = "hour"
    day = "day"
    month = "month"
    recording = "recording"


class CountFormat(StrEnum):
    """Choices of ``--format``."""

    table = "table"
    csv = "csv"
    jsonl = "jsonl"


def count(
    archive: ArchivePath,
    labels: common.Labels = None,
    labels_file: common.LabelsFile = None,
    template: common.Templates = None,
    by: Annotated[
        Grouping,
        typer.Option(
            "--by",
            metavar="GROUP",
            help="What is counted together: hour, day, month or recording.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = Grouping.hour,
    threshold: common.Threshold = None,
    sensitivity: common.Sensitivity = None,
    path: PathPattern = None,
    since: From = None,
    until: To = None,
    hours: Hours = None,
    model: SearchModel = None,
    root: Root = None,
    format: Annotated[
        CountFormat,
        typer.Option(
            "--format", "-f", metavar="FORMAT", help="table, csv or jsonl.", rich_help_panel=common.OUTPUT
        ),
    ] = CountFormat.table,
    output: common.Output = None,
    overwrite: common.Overwrite = False,
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Count the events of labels in an archive: those that 'detect' would report.

    Example: zsaudio count my-archive --labels @animals --by hour
    """
    common.set_verbosity(verbose, quiet)
    common.refuse_to_replace(output, overwrite)
    label_set = common.read_labels(labels, labels_file, template)
    where = read_where(path, since, until, hours)

    from zsaudio.archive.archive import Archive
    from zsaudio.detection.hysteresis import DetectionOptions

    given = {"threshold": threshold, "sensitivity": sensitivity}
    options = DetectionOptions(**{name: value for name, value in given.items() if value is not None})
    opened = Archive.open(archive, model=model, root=root, device=device, dtype=dtype)
    counts = _near(opened.count(label_set, by.value, where=where, options=options))
    if not len(counts):
        common.message(f"{archive}: no event of any of these labels")
    with common.open_output(output, []) as file:
        WRITERS[format.value](counts, file)
    end(counts.problems)


def _near(counts: "Counts") -> "Counts":
    """Name recordings below the current folder as the user would."""
    here = os.getcwd() + os.sep
    return replace(
        counts, counts=tuple(replace(each, group=each.group.removeprefix(here)) for each in counts)
    )


def _table(counts: "Counts", file: "TextIO") -> None:
    groups = sorted({each.group for each in counts})
    names = list(dict.fromkeys(each.label for each in counts))
    numbers = {(each.label, each.group): each.n_events for each in counts}
    width = max([5, *map(len, names)])
    cell = max([5, *map(len, groups)])
    file.write(f"{'label':<{width}}" + "".join(f"  {group:>{cell}}" for group in groups) + "    total\n")
    for name in names:
        own = [numbers.get((name, group), 0) for group in groups]
        file.write(f"{name:<{width}}" + "".join(f"  {number or '-':>{cell}}" for number in own))
        file.write(f"  {sum(own):>7}\n")


def _csv(counts: "Counts", file: "TextIO") -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["label", "group", "events", "seconds"])
    writer.writerows([each.label, each.group, each.n_events, f"{each.seconds:.3f}"] for each in counts)


def _jsonl(counts: "Counts", file: "TextIO") -> None:
    for each in counts:
        record = {"label": each.label, "group": each.group, "events": each.n_events}
        file.write(json.dumps({**record, "seconds": round(each.seconds, 3)}, ensure_ascii=False) + "\n")


WRITERS = {"table": _table, "csv": _csv, "jsonl": _jsonl}
