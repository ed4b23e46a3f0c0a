"""``zsaudio evaluate``: how good is a model on labelled recordings."""

import json
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from zsaudio.cli import common
from zsaudio.cli.progress import show_progress
from zsaudio.errors import DataError, OptionError

if TYPE_CHECKING:
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
Split = Annotated[
    list[str] | None,
    typer.Option("--split", help="Use this split or fold of the data only. Can be repeated."),
]
Cache = Annotated[
    bool, typer.Option("--cache/--no-cache", help="Keep audio embeddings on disk for the next time.")
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
    split: Split = None,
    labels_file: Annotated[
        Path | None,
        typer.Option("--labels-file", help="The data's classes with prompts of your own, as YAML."),
    ] = None,
    templates: Annotated[
        list[str] | None,
        typer.Option("--templates", help="Compare this prompt template with others. Can be repeated."),
    ] = None,
    seen: Annotated[
        str | None, typer.Option("--seen", help="Classes the model knows: a file, one a line, or a,b,c.")
    ] = None,
    unseen: Annotated[
        str | None, typer.Option("--unseen", help="Classes the model never heard: likewise.")
    ] = None,
    events: Annotated[
        bool,
        typer.Option(
            "--events/--no-events",
            help="Where the data have onsets, also find events and measure how well (extra: eval).",
        ),
    ] = True,
    threshold: Annotated[
        float, typer.Option("--threshold", help="Score from which an event counts as heard.")
    ] = 0.5,
    format: Annotated[
        ReportFormat, typer.Option("--format", "-f", help="Form of the results.")
    ] = ReportFormat.table,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for results.json, confusion.png and reliability.png."),
    ] = None,
    batch_size: common.BatchSize = 16,
    cache: Cache = True,
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
    from zsaudio.evaluation.datasets import read_dataset
    from zsaudio.evaluation.events import require_eval
    from zsaudio.labels import LabelSet
    from zsaudio.models.registry import load_model
    from zsaudio.output.plot import require_matplotlib

    if output is not None:
        require_matplotlib()  # before the work, not after it
    options = DetectionOptions(threshold=threshold)
    dataset = read_dataset(data)
    dataset = dataset.split(*split) if split else dataset
    report_problems(dataset)
    dataset, unknown = choose_classes(dataset, seen, unseen)
    if timed := events and dataset.has_events:
        require_eval()  # before a model is downloaded

    def progress(clips: Iterable[T], total: int) -> Iterable[T]:
        return show_progress(clips, total, "listening", quiet)

    results = run(
        load_model(model, device, dtype),
        dataset,
        LabelSet.from_file(labels_file) if labels_file else None,
        templates or (),
        unseen=unknown,
        events=options if timed else None,
        batch_size=batch_size,
        cache=cache,
        progress=progress,
    )
    from zsaudio.evaluation import report

    best = max(results, key=lambda result: result.summary.get("accuracy", result.summary["mAP"]))
    for clip, error in best.failed:
        common.message(error if clip in error else f"{clip}: {error}")
    amiss = best.events.problems if best.events is not None else ()
    for line in amiss:
        common.message(line)
    if format is ReportFormat.json:
        json.dump([result.to_json() for result in results], sys.stdout, indent=2)
        print()
    else:
        report.write_summary(results, sys.stdout)
        print()
        if len(results) > 1:
            print(f"classes with {best.prompts!r}:")
        report.write_classes(best, sys.stdout)
    if output is not None:
        make_folder(output)
        content = json.dumps([result.to_json() for result in results], indent=2) + "\n"
        (output / "results.json").write_text(content, encoding="utf-8")
        report.draw_reliability(best, output / "reliability.png")
        if not best.is_multi_label:
            report.draw_confusion(best, output / "confusion.png")
    if dataset.problems or best.failed or amiss:
        sys.exit(1)


def report_problems(dataset: "Dataset") -> None:
    """Say on stderr what of a data set was left out."""
    for problem in dataset.problems:
        common.message(problem)


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
