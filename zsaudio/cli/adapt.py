"""``zsaudio adapt``: improve some labels by a few examples each; the others stay as they are."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from zsaudio.cli import common
from zsaudio.cli.evaluate import Cache, Data, Split, read_labelled
from zsaudio.cli.progress import show_progress
from zsaudio.cli.train import CountingProgress, Validation, check_output, print_comparison
from zsaudio.errors import OptionError

_LEARNING = "Learning"  # a panel of the help text


def adapt(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="nano, clap, a Hugging Face id, or a folder; nano-keyword, to learn spoken words; or an "
            "archive, with the answers to 'search --review' as data.",
            show_default=False,
        ),
    ],
    data: Data,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the new model; of spoken words, a label file (.yaml).",
            show_default=False,
            rich_help_panel=common.OUTPUT,
        ),
    ],
    overwrite: common.Overwrite = False,
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    split: Split = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            metavar="N",
            min=0,
            rich_help_panel=_LEARNING,
            help="Log-odds that a perfect match with an example adds. Default: fitted on examples held out.",
            show_default=False,
        ),
    ] = None,
    sharpness: Annotated[
        float,
        typer.Option(
            "--sharpness",
            metavar="N",
            min=0,
            help="How fast these decrease with the distance.",
            rich_help_panel=_LEARNING,
        ),
    ] = 5.5,
    fine_tune: Annotated[
        int,
        typer.Option(
            "--fine-tune",
            metavar="EPOCHS",
            rich_help_panel=_LEARNING,
            min=0,
            max=1000,  # fine_tuning.MOST_EPOCHS, which is slow to import
            help="Train the examples for this many epochs; 20 take seconds. It helps if a label has several "
            "examples and a name that the model does not know.",
        ),
    ] = 0,
    validation: Validation = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            rich_help_panel=_LEARNING,
            help="Draws 32 examples of a label that has more, and the order of --fine-tune.",
        ),
    ] = 0,
    batch_size: common.BatchSize = 16,
    cache: Cache = True,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Improve labels by 1 to 32 examples each; the scores of all other labels stay the same.

    Of 1 to 20 recordings of spoken words, in any language, nano-keyword makes keywords: a label file.

    Example: zsaudio adapt nano examples-of-my-machine/ -o my-model
    """
    common.set_verbosity(verbose, quiet)
    if model == "nano-keyword":
        _adapt_keywords(data, output, overwrite, split, device)
        return
    check_output(output, overwrite)
    if (Path(model) / "archive.json").is_file():
        _adapt_archive(model, Path(data), output, device, dtype, strength, sharpness)
        return
    from zsaudio.evaluation.datasets import read_dataset
    from zsaudio.learning.adapt import adapt as run

    dataset = read_labelled(data, split)
    progress = CountingProgress(quiet)
    bar = show_progress(range(fine_tune), fine_tune, "fine-tuning", quiet)

    def on_epoch(done: int, total: int) -> None:
        next(bar, None)
        if done == total:
            next(bar, None)  # one past the last removes the bar

    adapted = run(
        dataset,
        model,
        strength=strength,
        sharpness=sharpness,
        fine_tune=fine_tune,
        validation=read_dataset(validation) if validation else None,
        seed=seed,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        cache=cache,
        progress=progress,
        on_epoch=on_epoch,
    )
    adapted.save(output)
    counts = ", ".join(f"{name} ({number})" for name, number in Counter(adapted.labels).items())
    tuned = f", after {fine_tune} epochs of fine-tuning" if fine_tune else ""
    print(f"{output}: {model} with examples of {counts}{tuned}")
    print_comparison(adapted.comparison, model)
    if dataset.problems or progress.n_failed:
        sys.exit(1)


def _adapt_keywords(data: str, output: Path, overwrite: bool, split: list[str] | None, device: str) -> None:
    """Make keywords of recordings of words, a class each; write them as a label file."""
    if output.suffix not in (".yaml", ".yml"):
        raise OptionError(f"{output}: keywords are written as a label file; name one that ends in .yaml")
    common.refuse_to_replace(output, overwrite)
    dataset = read_labelled(data, split)
    from zsaudio.files import write_atomically
    from zsaudio.learning.keywords import learn_keywords
    from zsaudio.learning.thresholds import to_yaml
    from zsaudio.models.speech.nano_keyword import NanoKeyword

    learned = learn_keywords(dataset, NanoKeyword(device=device))
    for problem in learned.failed:
        common.message(problem)
    write_atomically(output, to_yaml(learned.labels))
    counts = ", ".join(f"{name} ({n})" for name, n in learned.examples.items())
    print(f"{output}: {counts}; use it with --labels-file")
    if dataset.problems or learned.failed:
        sys.exit(1)


def _adapt_archive(
    location: str,
    judged: Path,
    output: Path,
    device: str,
    dtype: str,
    strength: float | None,
    sharpness: float,
) -> None:
    """Learn from what a person said of stretches of an archive."""
    from zsaudio.archive.archive import Archive

    archive = Archive.open(location, device=device, dtype=dtype)
    from zsaudio.learning.adapt import STRENGTH

    adapted = archive.adapt(judged, strength=STRENGTH if strength is None else strength, sharpness=sharpness)
    adapted.save(output)
    names = dict.fromkeys((*adapted.labels, *adapted.counter_labels))
    counts = [
        f"{name} ({adapted.labels.count(name)} yes, {adapted.counter_labels.count(name)} no)"
        for name in names
    ]
    print(f"{output}: {archive.model_name} with {', '.join(counts)}")
