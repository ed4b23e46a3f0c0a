"""``zsaudio adapt``: a few examples sharpen some labels, the others stay as they are."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zsaudio.cli import common
from zsaudio.cli.evaluate import Cache, Data, Split, report_problems
from zsaudio.cli.train import check_output

if TYPE_CHECKING:
    from zsaudio.results import ClipOutputs

_MOST = 32  # examples of a label


def adapt(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="nano, clap, a Hugging Face id, or a folder.", show_default=False
        ),
    ],
    data: Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the new model.", show_default=False)
    ],
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    split: Split = None,
    strength: Annotated[
        float, typer.Option("--strength", min=0, help="Log-odds that a perfect match with an example adds.")
    ] = 10.0,
    sharpness: Annotated[
        float, typer.Option("--sharpness", min=0, help="How fast that falls off with the distance.")
    ] = 5.5,
    fine_tune: Annotated[
        int,
        typer.Option(
            "--fine-tune",
            metavar="EPOCHS",
            min=0,
            max=1000,  # fine_tuning.MOST_EPOCHS, which is slow to import
            help="Train the examples this often; 20 takes seconds. Pays where a label has several and its "
            "name says little to the model; not where the model knows the sound by its name.",
        ),
    ] = 0,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", help=f"Draws {_MOST} examples of a label where there are more; order of --fine-tune."
        ),
    ] = 0,
    batch_size: common.BatchSize = 16,
    cache: Cache = True,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Sharpen labels with 1 to 32 examples each; all other labels keep working as before.

    Example: zsaudio adapt nano examples-of-my-machine/ -o my-model
    """
    common.set_verbosity(verbose, quiet)
    check_output(output)
    import numpy as np

    from zsaudio.evaluation.datasets import read_dataset
    from zsaudio.learning import fine_tuning
    from zsaudio.learning.train import gather
    from zsaudio.models.learned.adapted import Adapted
    from zsaudio.models.registry import load_model

    dataset = read_dataset(data)
    dataset = dataset.split(*split) if split else dataset
    report_problems(dataset)
    base = load_model(model, device, dtype)

    def progress(clips: Iterable["ClipOutputs"], total: int) -> Iterable["ClipOutputs"]:
        return common.show_progress(clips, total, "listening", quiet)

    examples = gather(base, dataset, batch_size, cache, progress)
    for clip, error in examples.failed:
        common.message(error if clip in error else f"{clip}: {error}")
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for number, name in enumerate(examples.classes):
        own = np.flatnonzero(examples.numbers == number)
        if len(own) > _MOST:
            common.message(f"'{name}' has {len(own)} examples: {_MOST} of them are taken")
            own = np.sort(rng.choice(own, _MOST, replace=False))
        chosen += own.tolist()
    keys = examples.vectors[chosen]
    keys = keys / np.maximum(np.linalg.norm(keys, axis=1, keepdims=True), 1e-9)
    labels = tuple(examples.classes[number] for number in examples.numbers[chosen])
    adapted = Adapted(base, model, keys, labels, strength, sharpness)  # type: ignore[arg-type]  # gather checked
    if fine_tune:
        bar = common.show_progress(range(fine_tune), fine_tune, "fine-tuning", quiet)

        def on_epoch(done: int, total: int) -> None:
            next(bar, None)

        adapted = fine_tuning.fine_tune(adapted, fine_tune, seed=seed, on_epoch=on_epoch)
        next(bar, None)  # one past the last takes the bar away
    adapted.save(output)
    counts = ", ".join(f"{name} ({labels.count(name)})" for name in examples.classes)
    tuned = f", after {fine_tune} epochs of fine-tuning" if fine_tune else ""
    print(f"{output}: {model} with examples of {counts}{tuned}")
    if dataset.problems or examples.failed:
        sys.exit(1)
