"""``zsaudio labels``: the built-in label sets."""

from typing import Annotated

import typer

from zsaudio.cli import common


def labels(
    name: Annotated[
        str | None, typer.Argument(help="A set to show, such as @home.", show_default=False)
    ] = None,
    debug: common.Debug = False,
) -> None:
    """List the built-in label sets, or show one."""
    from zsaudio.labels import LabelSet, builtin_label_sets

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
