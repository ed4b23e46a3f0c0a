"""``zsaudio evaluate``: how good is a model on labelled recordings."""

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from zsaudio.cli import common
from zsaudio.cli.progress import show_progress
from zsaudio.errors import DataError, MissingExtraError, OptionError

if TYPE_CHECKING:
    from zsaudio.evaluation.clips import Evaluation
    from zsaudio.evaluation.datasets import Dataset

T = TypeVar("T")

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A CSV (file, label; optional split or fold, onset, offset), a folder per class, or the folder "
        "of ESC-50, UrbanSound8K, FSD50K or Speech Commands.",
        show_default=False,
    ),
]
DATA = "Labelled recordings"  # a panel of the help text
Split = Annotated[
    list[str] | None,
    typer.Option(
        "--split",
        metavar="NAME",
        help="Only this split or fold of the data. Can be repeated.",
        rich_help_panel=DATA,
    ),
]
Cache = Annotated[
    bool,
    typer.Option(
        "--cache/--no-cache", help="Keep audio embeddings on disk for the next run.", rich_help_panel=DATA
    ),
]


class ReportFormat(StrEnum):
    """Choices of ``--format``."""

    table = "table"
    json = "json"


def evaluate(
    data: Data,
    model: common.ModelName = "nano",
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    batch_size: common.BatchSize = 16,
    split: Split = None,
    seen: Annotated[
        str | None,
        typer.Option(
            "--seen",
            metavar="NAMES",
            help="Classes that the model was trained on: a file, one a line, or a,b,c.",
            rich_help_panel=DATA,
        ),
    ] = None,
    unseen: Annotated[
        str | None,
        typer.Option(
            "--unseen",
            metavar="NAMES",
            help="Classes that it was not trained on, likewise.",
            rich_help_panel=DATA,
        ),
    ] = None,
    cache: Cache = True,
    labels_file: Annotated[
        Path | None,
        typer.Option(
            "--labels-file",
            metavar="FILE",
            help="A label file with prompts for the data's classes.",
            rich_help_panel=common.LABELS,
        ),
    ] = None,
    templates: Annotated[
        list[str] | None,
        typer.Option(
            "--templates",
            metavar="SENTENCE",
            help="Compare this prompt template with others. Can be repeated.",
            rich_help_panel=common.LABELS,
        ),
    ] = None,
    events: Annotated[
        bool,
        typer.Option(
            "--events/--no-events",
            help="Where the data have onsets, also detect and measure events.",
            rich_help_panel=common.EVENTS,
        ),
    ] = True,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            metavar="SCORE",
            help="Lowest score of an event.",
            rich_help_panel=common.EVENTS,
        ),
    ] = 0.5,
    format: Annotated[
        ReportFormat,
        typer.Option(
            "--format", "-f", metavar="FORMAT", help="table or json.", rich_help_panel=common.OUTPUT
        ),
    ] = ReportFormat.table,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for results.json, confusion.png and reliability.png.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = None,
    overwrite: common.Overwrite = False,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Measure how well a model recognises labelled recordings.

    Example: zsaudio evaluate ESC-50-master --split 5 --templates "{}" --templates "the sound of {}" -o report
    """
    common.set_verbosity(verbose, quiet)
    from zsaudio.detection.hysteresis import DetectionOptions
    from zsaudio.evaluation.clips import evaluate as run
    from zsaudio.evaluation.events import require_eval
    from zsaudio.labels import LabelSet
    from zsaudio.models.registry import load_model

    if output is not None:
        common.refuse_to_replace(output / "results.json", overwrite)
    draws = output is not None and _can_draw(output)  # before the work, not after it
    options = DetectionOptions(threshold=threshold)
    dataset = read_labelled(data, split)
    dataset, unknown = choose_classes(dataset, seen, unseen)
    if timed := events and dataset.has_events:
        require_eval()  # before a model is downloaded

    def progress(clips: Iterable[T], total: int) -> Iterable[T]:
        return show_progress(clips, total, "listening", quiet)

    results = run(
        load_model(model, device=device, dtype=dtype),
        dataset,
        labels=LabelSet.from_file(labels_file) if labels_file else None,
        templates=templates or (),
        unseen=unknown,
        events=options if timed else None,
        batch_size=batch_size,
        cache=cache,
        progress=progress,
    )
    best = max(results, key=lambda result: result.summary.get("accuracy", result.summary["mAP"]))
    for clip, error in best.failed:
        common.message(error if clip in error else f"{clip}: {error}")
    amiss = best.events.problems if best.events is not None else ()
    for line in amiss:
        common.message(line)
    _write(results, best, format, output, draws)
    if dataset.problems or best.failed or amiss:
        sys.exit(1)


def _can_draw(folder: Path) -> bool:
    """Make the folder of a report; return whether pictures can be drawn, and say so if not."""
    from zsaudio.output.plot import require_matplotlib

    make_folder(folder)
    try:
        require_matplotlib()
    except MissingExtraError as error:
        common.message(f"no pictures are drawn: {error}")
        return False
    return True


def _write(
    results: "Sequence[Evaluation]",
    best: "Evaluation",
    format: ReportFormat,
    output: Path | None,
    draws: bool,
) -> None:
    """Write the results to stdout, and to the folder of a report."""
    from zsaudio.evaluation import report
    from zsaudio.files import write_atomically
    from zsaudio.output.journal import writing

    content = json.dumps([result.to_json() for result in results], indent=2) + "\n"
    stdout = common.stdout()
    if format is ReportFormat.json:
        stdout.write(content)
    else:
        report.write_summary(results, stdout)
        stdout.write("\n")
        if len(results) > 1:
            stdout.write(f"classes with {best.prompts!r}:\n")
        report.write_classes(best, stdout)
    if output is not None:
        with writing(output / "results.json"):
            write_atomically(output / "results.json", content)
    if output is not None and draws:
        report.draw_reliability(best, output / "reliability.png")
        if not best.is_multi_label:
            report.draw_confusion(best, output / "confusion.png")


def read_labelled(data: str, split: list[str] | None) -> "Dataset":
    """Return a data set, or some splits of it; say on stderr what was left out."""
    from zsaudio.evaluation.datasets import read_dataset

    dataset = read_dataset(data)
    dataset = dataset.split(*split) if split else dataset
    for problem in dataset.problems:
        common.message(problem)
    return dataset


def read_names(text: str) -> list[str]:
    """Return the names in a file, one a line, or in a text, separated by commas."""
    path = Path(text)
    try:
        content = path.read_text(encoding="utf-8") if path.is_file() else text.replace(",", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{text}: cannot be read as a list of classes") from error
    names = [line.strip() for line in content.splitlines() if line.strip()]
    if not names:
        raise OptionError(f"{text!r} names no classes")
    return names


def choose_classes(
    dataset: "Dataset", seen: str | None, unseen: str | None
) -> tuple["Dataset", tuple[str, ...]]:
    """Return the recordings of the seen and unseen classes, and the names of the unseen ones.

    Where only one list is given, the other holds the rest.
    """
    if seen is None and unseen is None:
        return dataset, ()
    if dataset.is_multi_label:
        raise DataError(f"{dataset.name}: --seen and --unseen need recordings with one label each")
    known = set(dataset.pick(read_names(seen))) if seen else None
    unknown = set(dataset.pick(read_names(unseen))) if unseen else set(dataset.classes) - (known or set())
    known = set(dataset.classes) - unknown if known is None else known
    if both := sorted(known & unknown):
        raise OptionError(f"both seen and unseen: {', '.join(both)}")
    for what, names in (("seen", known), ("unseen", unknown)):
        if not any(recording.labels[0] in names for recording in dataset.recordings):
            raise DataError(f"{dataset.name}: no recording of a class that counts as {what}")
    return dataset.only(known | unknown), tuple(name for name in dataset.classes if name in unknown)


def make_folder(path: Path) -> None:
    """Make a folder for results."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{path}: cannot be made a folder ({error.strerror})") from error
