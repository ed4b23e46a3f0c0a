"""``zsaudio labels``: the built-in label sets, and what a model knows of a label."""

from typing import TYPE_CHECKING, Annotated

import typer

from zsaudio.cli import common
from zsaudio.errors import OptionError

if TYPE_CHECKING:
    from zsaudio.labels import LabelSet


def labels(
    name: Annotated[
        str | None, typer.Argument(help="A set to show, such as @home.", show_default=False)
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option(
            "--check",
            "-c",
            metavar="NAMES",
            rich_help_panel=common.LABELS,
            help="Labels separated by commas: print the nearest names that a model knows.",
            show_default=False,
        ),
    ] = None,
    labels_file: common.LabelsFile = None,
    model: common.ModelName = "nano",
    debug: common.Debug = False,
) -> None:
    """List the built-in label sets, show one, or check labels against the names that a model knows.

    Example: zsaudio labels --check "wood pigeon, jackhammer" --model ast
    """
    from zsaudio.labels import LabelSet, builtin_label_sets

    if check or labels_file:
        if name is not None:
            raise OptionError(f"name labels with --check, or a set to show, not both ('{name}')")
        _check(common.read_labels(check, labels_file, None), model)
        return
    if name is None:
        for known in builtin_label_sets():
            label_set = LabelSet.builtin(known)
            print(f"{'@' + known:<20} {len(label_set):>3} labels  {label_set.description}")
        return
    group = None
    for label in LabelSet.builtin(name):
        if label.group != group:
            group = label.group
            print(f"{group}:")
        print(f"  {label.name}" if group else label.name)


def _check(label_set: "LabelSet", model: str) -> None:
    """Print each label with the nearest known names, their similarity, and whether it is a guess."""
    from zsaudio.models.known_names import place_labels
    from zsaudio.models.registry import load_model

    loaded = load_model(model)
    placed = place_labels(loaded, label_set)
    if placed is None:
        raise OptionError(
            f"--check needs a model that learned classes with names, such as --model ast, not '{model}'"
        )
    width = max((len(each.label) for each in placed), default=0)
    for each in placed:
        nearest = ", ".join(f"{known} {similarity:.2f}" for known, similarity in each.nearest)
        print(f"{each.label:<{width}}  {'guess' if each.is_guess else 'known'}  {nearest}")
    n_spoken = sum(label.is_keyword for label in label_set)
    if n_spoken:
        common.message(f"{n_spoken} keywords are not checked: any English words can be one")
    n_guesses = sum(each.is_guess for each in placed)
    if n_guesses:
        common.message(
            f"{n_guesses} of {len(placed)} labels are guesses: {model} knows no sound with such a name; a "
            "nearer name, prompts in a label file, or another model (zsaudio models) may do better"
        )
