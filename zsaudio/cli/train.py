"""``zsaudio train``: train on labelled recordings, and still recognise other classes."""

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zsaudio.cli import common
from zsaudio.cli.evaluate import DATA, Cache, Data, Split, read_labelled, read_names
from zsaudio.cli.progress import show_progress
from zsaudio.errors import OptionError

if TYPE_CHECKING:
    from zsaudio.learning.comparison import Comparison
    from zsaudio.results import ClipOutputs

Validation = Annotated[
    Path | None,
    typer.Option(
        "--validation",
        metavar="DATA",
        rich_help_panel=DATA,
        help="Compare the two models on these recordings. Default: on a fifth of DATA in turn.",
        show_default=False,
    ),
]

OUR_FILES = {"config.json", "model.safetensors"}
STATE = "unfinished.pt"


_TRAINING, _MEANING = "Training", "How labels become vectors"  # panels of the help text


class Method(StrEnum):
    """Choices of ``--method``: the keys of ``compatibility.METHODS``, which is slow to import."""

    eszsl = "eszsl"
    ranking = "ranking"
    contrastive = "contrastive"


def train(
    data: Data,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the model.",
            show_default=False,
            metavar="DIR",
            rich_help_panel=common.OUTPUT,
        ),
    ],
    overwrite: common.Overwrite = False,
    model: common.ModelName = "nano",
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    split: Split = None,
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            help="eszsl: closed form; ranking: bilinear, ALE; contrastive: a small network.",
            metavar="METHOD",
            rich_help_panel=_TRAINING,
        ),
    ] = Method.eszsl,
    semantics: Annotated[
        str,
        typer.Option(
            "--semantics",
            help="How labels become vectors: some of names, descriptions, attributes, relations.",
            metavar="NAMES",
            rich_help_panel=_MEANING,
        ),
    ] = "names,attributes",
    descriptions: Annotated[
        Path | None,
        typer.Option(
            "--descriptions",
            help="CSV with label and description. Default: built in.",
            metavar="FILE",
            rich_help_panel=_MEANING,
        ),
    ] = None,
    attributes: Annotated[
        Path | None,
        typer.Option(
            "--attributes",
            help="CSV, class x attribute, 0 to 1. Default: 300 everyday sounds.",
            metavar="FILE",
            rich_help_panel=_MEANING,
        ),
    ] = None,
    taxonomy: Annotated[
        Path | None,
        typer.Option(
            "--taxonomy",
            help="JSON in the form of the AudioSet ontology, for relations.",
            metavar="FILE",
            rich_help_panel=_MEANING,
        ),
    ] = None,
    seen: Annotated[
        str | None,
        typer.Option(
            "--seen",
            help="Train on these classes only: a file, one a line, or a,b,c.",
            metavar="NAMES",
            rich_help_panel=DATA,
        ),
    ] = None,
    unseen: Annotated[
        str | None,
        typer.Option(
            "--unseen",
            help="Classes that must stay unseen: refused if DATA has recordings of them.",
            metavar="NAMES",
            rich_help_panel=DATA,
        ),
    ] = None,
    holdout_classes: Annotated[
        int,
        typer.Option(
            "--holdout-classes",
            min=0,
            help="Leave out this many classes, drawn by the seed.",
            metavar="N",
            rich_help_panel=DATA,
        ),
    ] = 0,
    validation: Validation = None,
    blend: Annotated[
        bool,
        typer.Option(
            "--blend/--no-blend",
            help="Let the model's own score count. Not if it was itself trained on DATA.",
            rich_help_panel=_TRAINING,
        ),
    ] = True,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=1,
            help="For ranking and contrastive.",
            show_default=False,
            metavar="N",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    gamma: Annotated[
        float | None,
        typer.Option("--gamma", help="Audio regulariser of eszsl.", metavar="X", rich_help_panel=_TRAINING),
    ] = None,
    lam: Annotated[
        float | None,
        typer.Option("--lambda", help="Class regulariser of eszsl.", metavar="X", rich_help_panel=_TRAINING),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", help="Seed of everything that is drawn.", metavar="N", rich_help_panel=_TRAINING
        ),
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where training was interrupted.", rich_help_panel=common.OUTPUT),
    ] = False,
    batch_size: common.BatchSize = 16,
    cache: Cache = True,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Train a model on labelled recordings; it still takes any label.

    Example: zsaudio train recordings/ --holdout-classes 3 -o my-model
    """
    common.set_verbosity(verbose, quiet)
    check_output(output, overwrite, resume)
    from zsaudio.evaluation.datasets import read_dataset
    from zsaudio.learning.train import train as run

    parameters = {"epochs": epochs, "gamma": gamma, "lam": lam}
    dataset = read_labelled(data, split)
    if not resume:
        (output / STATE).unlink(missing_ok=True)
    progress = CountingProgress(quiet)
    trained = run(
        dataset,
        model,
        method=method.value,
        semantics=[part.strip() for part in semantics.split(",") if part.strip()],
        attributes=attributes,
        descriptions=descriptions,
        taxonomy=taxonomy,
        seen=read_names(seen) if seen is not None else None,
        holdout_classes=holdout_classes,
        unseen=read_names(unseen) if unseen else (),
        validation=read_dataset(validation) if validation else None,
        blend=blend,
        seed=seed,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        cache=cache,
        state=output / STATE,
        progress=progress,
        on_epoch=None if quiet else _show_epoch,
        **{name: value for name, value in parameters.items() if value is not None},
    )
    trained.save(output)
    n_classes = len(trained.classes)
    print(f"{output}: {model}, trained on {progress.n_read} recordings of {n_classes} classes")
    print_comparison(trained.comparison, model)
    if trained.held_out:
        (output / "unseen.txt").write_text("\n".join(trained.held_out) + "\n", encoding="utf-8")
        print(f"left out: {', '.join(trained.held_out)}")
        print(f"test them: zsaudio evaluate {data} --model {output} --unseen {output / 'unseen.txt'}")
    if dataset.problems or progress.n_failed:
        sys.exit(1)


class CountingProgress:
    """Shows the progress over recordings, and counts those that could be read and those that failed."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self.n_read = self.n_failed = 0

    def __call__(self, clips: "Iterable[ClipOutputs]", total: int) -> "Iterator[ClipOutputs]":
        """Yield the recordings."""
        for clip in show_progress(clips, total, "embedding", self._quiet):
            self.n_read += clip.error is None
            self.n_failed += clip.error is not None
            yield clip


def print_comparison(comparison: "Comparison | None", model: str) -> None:
    """Print how the learned model compares with the one that it stands on."""
    if comparison is None:
        print(f"too few recordings to hold some out: compare it with {model} on others (zsaudio evaluate)")
        return
    for line in comparison.lines(model):
        print(line)


def check_output(folder: Path, overwrite: bool, resume: bool = False) -> None:
    """Refuse a folder with something else in it, and, unless asked, with a model or what becomes one."""
    if folder.is_file():
        raise OptionError(f"{folder}: is a file; name a folder for the model")
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if names and STATE not in names and not names >= OUR_FILES:
        raise OptionError(f"{folder}: holds something else than a model; name a new folder")
    if STATE in names and not (resume or overwrite):
        raise OptionError(
            f"{folder}: training was interrupted; --resume goes on with it, --overwrite starts again"
        )
    if not resume:
        common.refuse_to_replace(folder / "model.safetensors", overwrite)


def _show_epoch(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\rzsaudio: epoch {done} of {total}", end=end, file=sys.stderr, flush=True)
