"""``zsaudio train``: learn from known classes, keep recognising others."""

import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zsaudio.cli import common
from zsaudio.cli.evaluate import Cache, Data, Split, read_names, report_problems
from zsaudio.errors import OptionError

if TYPE_CHECKING:
    from zsaudio.evaluation.datasets import Dataset
    from zsaudio.results import ClipOutputs

OUR_FILES = {"config.json", "model.safetensors"}
STATE = "unfinished.pt"


class Method(StrEnum):
    """Choices of ``--method``: the keys of ``compatibility.METHODS``, which is slow to import."""

    eszsl = "eszsl"
    ranking = "ranking"
    contrastive = "contrastive"


def train(
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the model.", show_default=False)],
    model: common.ModelName = "nano",
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    split: Split = None,
    method: Annotated[
        Method,
        typer.Option(
            "--method", help="eszsl: closed form; ranking: bilinear, ALE; contrastive: a small network."
        ),
    ] = Method.eszsl,
    semantics: Annotated[
        str,
        typer.Option(
            "--semantics",
            help="What ties classes together: some of names, descriptions, attributes, relations.",
        ),
    ] = "names,attributes",
    descriptions: Annotated[
        Path | None, typer.Option("--descriptions", help="CSV of label,description. Default: built in.")
    ] = None,
    attributes: Annotated[
        Path | None,
        typer.Option("--attributes", help="CSV, class x attribute, 0 to 1. Default: 300 everyday sounds."),
    ] = None,
    taxonomy: Annotated[
        Path | None,
        typer.Option("--taxonomy", help="JSON in the form of the AudioSet ontology, for relations."),
    ] = None,
    seen: Annotated[
        str | None, typer.Option("--seen", help="Learn these classes only: a file, one a line, or a,b,c.")
    ] = None,
    unseen: Annotated[
        str | None,
        typer.Option(
            "--unseen", help="Classes that must stay unseen: refused if DATA has recordings of them."
        ),
    ] = None,
    holdout_classes: Annotated[
        int, typer.Option("--holdout-classes", min=0, help="Leave out this many classes, drawn by the seed.")
    ] = 0,
    blend: Annotated[
        bool,
        typer.Option(
            "--blend/--no-blend",
            help="Let the model's own opinion count. Not where it was itself trained on DATA.",
        ),
    ] = True,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="For ranking and contrastive.", show_default=False)
    ] = None,
    gamma: Annotated[float | None, typer.Option("--gamma", help="Audio regulariser of eszsl.")] = None,
    lam: Annotated[float | None, typer.Option("--lambda", help="Class regulariser of eszsl.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where training was interrupted.")] = False,
    batch_size: common.BatchSize = 16,
    cache: Cache = True,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Learn from labelled recordings; the model that comes out stays open to any label.

    Example: zsaudio train recordings/ --holdout-classes 3 -o my-model
    """
    common.set_verbosity(verbose, quiet)
    check_output(output)
    from zsaudio.evaluation.datasets import read_dataset
    from zsaudio.labels import Label
    from zsaudio.learning import train as learning
    from zsaudio.models.learned.class_tables import AttributeTable, Taxonomy, read_descriptions
    from zsaudio.models.learned.compatibility import METHODS
    from zsaudio.models.learned.semantics import Semantics
    from zsaudio.models.registry import load_model

    parameters: dict[str, Any] = {"epochs": epochs, "gamma": gamma, "lam": lam}
    parameters = {name: value for name, value in parameters.items() if value is not None}
    known = METHODS[method.value]().get_params()
    for name in parameters:
        if name not in known:
            raise OptionError(f"--{'lambda' if name == 'lam' else name} is not for --method {method.value}")
    if "seed" in known:
        parameters["seed"] = seed
    dataset = read_dataset(data)
    dataset = dataset.split(*split) if split else dataset
    report_problems(dataset)
    dataset, held_out = choose_training_classes(dataset, seen, holdout_classes, seed)
    forbidden = [*(read_names(unseen) if unseen else []), *held_out]

    base = load_model(model, device, dtype)
    meaning = Semantics(
        base.encode_text if hasattr(base, "encode_text") else _no_text,
        [part.strip() for part in semantics.split(",") if part.strip()],
        attributes=AttributeTable.read(attributes) if attributes else None,
        descriptions=read_descriptions(descriptions) if descriptions else None,
        taxonomy=Taxonomy.read(taxonomy) if taxonomy else None,
    )

    def progress(clips: Iterable["ClipOutputs"], total: int) -> Iterable["ClipOutputs"]:
        return common.show_progress(clips, total, "listening", quiet)

    examples = learning.gather(base, dataset, batch_size, cache, progress)
    for clip, error in examples.failed:
        common.message(error if clip in error else f"{clip}: {error}")
    for note in (*examples.notes, *meaning.gaps([Label(name) for name in examples.classes])):
        common.message(note)
    output.mkdir(parents=True, exist_ok=True)
    state = output / STATE
    if not resume:
        state.unlink(missing_ok=True)
    trained = learning.train(
        base,
        model,
        examples,
        meaning,
        METHODS[method.value](**parameters),
        unseen=forbidden,
        blend=blend,
        seed=seed,
        state=state,
        on_epoch=None if quiet else _say_epoch,
    )
    trained.save(output)
    n_clips = len(examples.numbers)
    print(f"{output}: learned {len(examples.classes)} classes from {n_clips} recordings, on top of {model}")
    if held_out:
        (output / "unseen.txt").write_text("\n".join(held_out) + "\n", encoding="utf-8")
        print(f"left out: {', '.join(held_out)}")
        print(f"test them: zsaudio evaluate {data} --model {output} --unseen {output / 'unseen.txt'}")
    if dataset.problems or examples.failed:
        sys.exit(1)


def choose_training_classes(
    dataset: "Dataset", seen: str | None, n_held_out: int, seed: int
) -> tuple["Dataset", list[str]]:
    """Return the recordings to learn from, and the classes that were left out of them."""
    if seen is not None:
        if n_held_out:
            raise OptionError("--seen chooses the classes already; leave --holdout-classes out")
        names = dataset.pick(read_names(seen))
        return dataset.only(names), [name for name in dataset.classes if name not in names]
    if not n_held_out:
        return dataset, []
    import numpy as np

    if n_held_out > len(dataset.classes) - 2:
        raise OptionError(
            f"--holdout-classes {n_held_out} leaves fewer than 2 of {len(dataset.classes)} classes"
        )
    drawn = set(np.random.default_rng(seed).permutation(len(dataset.classes))[:n_held_out].tolist())
    held_out = [name for i, name in enumerate(dataset.classes) if i in drawn]
    return dataset.only(set(dataset.classes) - set(held_out)), held_out


def check_output(folder: Path) -> None:
    """Refuse a folder with something else in it."""
    if folder.is_file():
        raise OptionError(f"{folder}: is a file; name a folder for the model")
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if names and STATE not in names and not names >= OUR_FILES:
        raise OptionError(f"{folder}: holds something else than a model; name a new folder")


def _no_text(texts: object) -> Any:
    raise OptionError("training needs a model that embeds text and audio, such as nano or clap")


def _say_epoch(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\rzsaudio: epoch {done} of {total}", end=end, file=sys.stderr, flush=True)
