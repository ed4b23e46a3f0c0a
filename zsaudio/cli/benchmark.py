"""``zsaudio benchmark``: the models side by side, on this machine and these recordings."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zsaudio.cli import common
from zsaudio.cli.progress import show_progress
from zsaudio.errors import OptionError

if TYPE_CHECKING:
    from zsaudio.evaluation.benchmark import Measured


def benchmark(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...", help="Recordings, folders or globs to measure speed on.", show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            rich_help_panel=common.INPUT,
            help="Labelled recordings, as for evaluate: accuracy, mAP and event F1 are measured, too.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            rich_help_panel=common.MODEL,
            help="A model to measure; can be repeated. By default all for sounds that are on this machine.",
            show_default=False,
        ),
    ] = None,
    labels: common.Labels = None,
    device: common.Device = "auto",
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Also draw the table, as a picture (extra: plot).",
            rich_help_panel=common.OUTPUT,
        ),
    ] = None,
    recursive: common.Recursive = True,
    quiet: common.Quiet = False,
    debug: common.Debug = False,
) -> None:
    """Compare models: speed, memory, start time and, with labelled recordings, how good they are.

    Example: zsaudio benchmark --data ESC-50-master -m nano -m clap --plot models.png
    """
    from zsaudio.evaluation.benchmark import compare_models, draw_comparison
    from zsaudio.models.registry import MODELS, where_is
    from zsaudio.output.plot import require_matplotlib

    if not inputs and data is None:
        raise OptionError("nothing to measure on: name recordings, or labelled recordings with --data")
    if plot is not None:
        require_matplotlib()  # before the work, not after it
    paths, n_failed = common.usable_recordings(inputs or (), recursive)
    names = model or [
        name for name, info in MODELS.items() if name != "nano-keyword" and where_is(info) != "not here"
    ]
    label_names = common.read_labels(labels, None, None).names if labels else ()
    measured = compare_models(names, paths, data, labels=label_names, device=device)
    results: list[Measured] = []
    for result in show_progress(measured, len(names), "measuring", quiet):
        results.append(result)
        if result.error is not None:
            common.message(f"{result.model}: {result.error}")
    measured_well = [result for result in results if result.error is None]
    if measured_well:
        _print_table(measured_well)
    if plot is not None and measured_well:
        draw_comparison(measured_well, plot)
    if any(result.error is not None for result in results) or n_failed:
        sys.exit(1)


def _print_table(results: "list[Measured]") -> None:
    """Print a line per model, with the columns that some model has a figure for."""
    from zsaudio.evaluation.benchmark import QUALITY

    columns = [name for name in QUALITY if any(name in result.quality for result in results)]
    width = max([len("model"), *(len(result.model) for result in results)])
    heads = "".join(f"  {name:>8}" for name in columns)
    print(f"{'model':<{width}}  x real time  start, s  memory, MB{heads}")
    for result in results:
        memory = "-" if result.memory_mb is None else f"{result.memory_mb:.0f}"
        cells = "".join(f"  {result.quality.get(name, float('nan')):>8.3f}" for name in columns)
        print(f"{result.model:<{width}}  {result.speed:>11.0f}  {result.start_s:>8.1f}  {memory:>10}{cells}")
