"""``zsaudio search``: the best stretches of an archive for words and for sounds."""

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zsaudio.cli import common
from zsaudio.cli.detect import DetectFormat
from zsaudio.cli.index import Root
from zsaudio.errors import OptionError

if TYPE_CHECKING:
    from zsaudio.archive.archive import Archive
    from zsaudio.archive.matches import Matches, Where
    from zsaudio.archive.review import Candidate
    from zsaudio.labels import LabelSet
    from zsaudio.output.formats import Format
    from zsaudio.results import ClipEvents

ArchivePath = Annotated[
    str, typer.Argument(metavar="ARCHIVE", help="What 'zsaudio index' made.", show_default=False)
]
SearchModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A folder that 'zsaudio adapt' made on the archive's model.",
        show_default="the archive's model",
        rich_help_panel=common.MODEL,
    ),
]
PathPattern = Annotated[
    str | None,
    typer.Option(
        "--path",
        metavar="GLOB",
        help="Only recordings whose path matches, as 'site-3/*'.",
        rich_help_panel=common.INPUT,
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TIME",
        help="Only from this time on: 2026-05-01, or with T22:00.",
        rich_help_panel=common.INPUT,
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="TIME",
        help="Only before the end of this day, or time.",
        rich_help_panel=common.INPUT,
    ),
]
Hours = Annotated[
    str | None,
    typer.Option(
        "--hours",
        metavar="H-H",
        help="Only these hours of the day: 22-4 is the night.",
        rich_help_panel=common.INPUT,
    ),
]
_RANGE = re.compile(r"(.+)@(\d+(?:\.\d*)?)-(\d+(?:\.\d*)?)")
_REVIEW = "Review"  # a panel of the help text
_RANKED = ("table", "csv", "tsv", "jsonl")


def search(
    archive: ArchivePath,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORDS...]", help="What to find, each in quotes.", show_default=False),
    ] = None,
    labels: common.Labels = None,
    labels_file: common.LabelsFile = None,
    template: common.Templates = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            metavar="FILE[@FROM-TO]",
            help="Find what sounds like this recording, or like these seconds of it. Can be repeated, and "
            "goes together with words.",
            rich_help_panel=common.LABELS,
        ),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option(
            "--unlike",
            metavar="FILE[@FROM-TO]",
            help="Find what does not sound like this.",
            rich_help_panel=common.LABELS,
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "--top-k",
            "-k",
            metavar="N",
            min=1,
            help="The best of each label.",
            show_default="10",
            rich_help_panel=common.EVENTS,
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            metavar="SCORE",
            help="All events that 'detect' reports at this threshold; with -k the best.",
            rich_help_panel=common.EVENTS,
        ),
    ] = None,
    path: PathPattern = None,
    since: From = None,
    until: To = None,
    hours: Hours = None,
    model: SearchModel = None,
    smooth: Annotated[float | None, common.seconds("--smooth", "As in 'detect'.", "3")] = None,
    merge_gap: Annotated[float | None, common.seconds("--merge-gap", "As in 'detect'.", "1")] = None,
    root: Root = None,
    format: Annotated[
        DetectFormat,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="One of those of 'detect': table, csv, jsonl, raven and others.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = DetectFormat.table,
    output: common.Output = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            "-O",
            metavar="DIR",
            help="Write a file per recording into this folder.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = None,
    overwrite: common.Overwrite = False,
    clips: common.Clips = None,
    margin: common.Margin = 0.5,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw when the matches are, by day and hour.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(
            "--review",
            metavar="FILE",
            help="Write candidates to be judged, half best and half unsure, instead of results: .csv, .txt "
            "(Raven), .json (Label Studio), or a folder (Audacity). 'zsaudio adapt' learns from the answers.",
            rich_help_panel=_REVIEW,
        ),
    ] = None,
    review_size: Annotated[
        int,
        typer.Option(
            "--review-size",
            min=2,
            metavar="N",
            help="Candidates of each label.",
            rich_help_panel=_REVIEW,
        ),
    ] = 20,
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Find the best stretches of an archive, without listening again.

    Example: zsaudio search my-archive "glass breaking" --hours 22-4
    """
    common.set_verbosity(verbose, quiet)
    from zsaudio.archive.archive import Archive
    from zsaudio.detection.hysteresis import DetectionOptions
    from zsaudio.output.event_writers import EVENT_FORMATS

    form = EVENT_FORMATS[format.value]
    if output and output_dir:
        raise OptionError("give --output for one file or --output-dir for a file per recording, not both")
    for target in (output, review):
        common.refuse_to_replace(target, overwrite)
    asked = _labels(words, labels, labels_file, template)
    where = read_where(path, since, until, hours)
    given = {"smooth_s": smooth, "merge_gap_s": merge_gap}
    options = DetectionOptions(**{name: value for name, value in given.items() if value is not None})
    opened = Archive.open(archive, model=model, root=root, device=device, dtype=dtype)
    if review is not None:
        if asked is None or like or unlike:
            raise OptionError("--review asks about words: give words, and neither --like nor --unlike")
        candidates = opened.candidates(asked, review_size, where=where, options=options)
        _review(candidates, archive, review, clips, margin)
        return
    found = opened.search(
        asked,
        like=_sounds(opened, like),
        unlike=_sounds(opened, unlike),
        k=k,
        min_score=min_score,
        where=where,
        options=options,
    )
    found = _near(found)
    if not len(found):
        common.message(
            f"{archive}: no match" + (f" of {min_score:g} or more" if min_score is not None else "")
        )
    _write(found, format.value, form, output, output_dir, overwrite)
    unread = _cut(list(found.by_clip()), clips, margin) if clips else []
    if plot is not None:
        from zsaudio.archive.plot import draw_activity

        draw_activity(found, plot)
    end(found.problems, unread)


def read_where(path: str | None, since: str | None, until: str | None, hours: str | None) -> "Where":
    """Return what ``--path``, ``--from``, ``--to`` and ``--hours`` ask for."""
    from zsaudio.archive.matches import Where

    both = None
    if hours is not None:
        found = re.fullmatch(r"(\d\d?)-(\d\d?)", hours.strip())
        if not found:
            raise OptionError(f"--hours {hours}: give two hours of the day, such as 22-4")
        both = int(found[1]), int(found[2])
    return Where(path, _moment("--from", since), _moment("--to", until, end_of_day=True), both)


def _moment(name: str, text: str | None, end_of_day: bool = False) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise OptionError(
            f"{name} {text}: give a day or a time, such as 2026-05-01 or 2026-05-01T22:00"
        ) from error
    if moment.tzinfo is not None:
        raise OptionError(f"{name} {text}: give it in the recorder's time, without a time zone")
    if end_of_day and len(text.strip()) <= 10:
        from datetime import timedelta

        moment += timedelta(days=1)
    return moment


def end(damaged: Iterable[str], others: Iterable[str] = ()) -> None:
    """Name the damaged parts of an archive and other problems; exit with 1 if there are any."""
    repair = "it was left out: 'zsaudio index' on its recordings repairs the archive"
    lines = [*(f"{line}; {repair}" for line in damaged), *others]
    for line in lines:
        common.message(line)
    if lines:
        sys.exit(1)


def _labels(
    words: list[str] | None, labels: list[str] | None, file: Path | None, templates: list[str] | None
) -> "LabelSet | None":
    from zsaudio.labels import LabelSet

    sets = [LabelSet(words)] if words else []
    if labels or file:
        sets.append(common.read_labels(labels, file, None))
    if not sets:
        return None
    joined = sets[0] if len(sets) == 1 else LabelSet.join(sets)
    return LabelSet(joined, templates, joined.description) if templates else joined


def _sounds(opened: "Archive", texts: list[str] | None) -> list[Any]:
    """Return the vectors of ``--like`` and ``--unlike``."""
    vectors = []
    for text in texts or []:
        found = _RANGE.fullmatch(text)
        if os.path.exists(text) or not found:
            vectors.append(opened.embed(text))
            continue
        from zsaudio.audio.span import read_span

        first, last = float(found[2]), float(found[3])
        if first >= last:
            raise OptionError(f"{text}: must end after it begins")
        samples, rate, _ = read_span(found[1], first, last)
        vectors.append(opened.embed(samples, rate))
    return vectors


def _near(found: "Matches") -> "Matches":
    """Name recordings below the current folder as the user would."""
    here = os.getcwd() + os.sep
    return replace(
        found, matches=tuple(replace(match, clip=match.clip.removeprefix(here)) for match in found)
    )


def _review(
    candidates: list["Candidate"], archive: str, path: Path, clips: Path | None, margin_s: float
) -> None:
    """Write candidates, and cut them out if that is wished."""
    from zsaudio.archive.review import write_candidates
    from zsaudio.results import ClipEvents, Event

    write_candidates(candidates, path)
    common.message(
        f"{path}: {len(candidates)} candidates; answer yes or no, then: "
        f"zsaudio adapt {archive} {path} -o MODEL"
    )
    if clips is not None:
        events: dict[str, list[Event]] = {}
        for each in candidates:
            events.setdefault(each.clip, []).append(Event(each.onset, each.offset, each.label, each.score))
        found = [ClipEvents(clip, 0.0, 0, tuple(own)) for clip, own in events.items()]
        end([], _cut(found, clips, margin_s))


def _cut(clips: list["ClipEvents"], folder: Path, margin_s: float) -> list[str]:
    """Cut events out of their recordings; return a line for each recording that cannot be read."""
    from zsaudio.errors import AudioError
    from zsaudio.output.cuts import cut_events
    from zsaudio.output.outputs import mirrored
    from zsaudio.storage.locations import source_at

    targets = mirrored([clip.clip for clip in clips], [], "") if clips else {}
    problems = []
    for clip in clips:
        try:
            cut_events(clip, source_at(clip.clip), folder / targets[clip.clip], margin_s)
        except AudioError as error:
            problems.append(f"{error}; recordings that have moved are found with --root")
    return problems


def _write(
    found: "Matches",
    name: str,
    form: "Format[ClipEvents]",
    output: Path | None,
    output_dir: Path | None,
    overwrite: bool,
) -> None:
    from zsaudio.files import write_atomically
    from zsaudio.output.formats import Place
    from zsaudio.output.journal import writing
    from zsaudio.output.outputs import StreamOutput, mirrored
    from zsaudio.output.text import encoded

    clock = any(match.time is not None for match in found)
    clips = list(found.ranked() if name in _RANKED else found.by_clip())
    if output_dir is not None:
        clips = list(found.by_clip())
        targets = mirrored([clip.clip for clip in clips], [], form.suffix) if clips else {}
        place = Place(clock=clock)
        for target in targets.values():
            common.refuse_to_replace(output_dir / target, overwrite)
        for clip in clips:
            path = output_dir / targets[clip.clip]
            with writing(path):
                write_atomically(path, encoded(form.header(place) + form.write(clip, place)))
        return
    if len(clips) > 1 and not form.combines:
        raise OptionError(f"{name} holds one recording, and there are {len(clips)}: use --output-dir")
    with common.open_output(output, [clip.clip for clip in clips]) as file:
        sink = StreamOutput(file, form, Place(clock=clock))
        sink.start()
        for clip in clips:
            sink.write(clip.clip, clip)
        sink.close()
