"""``zsaudio calibrate``: thresholds for a target rate of false alarms, from background recordings."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zsaudio.cli import common
from zsaudio.cli.progress import show_progress
from zsaudio.errors import OptionError

if TYPE_CHECKING:
    from zsaudio.results import ClipEvents


def calibrate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="nano, clap, a Hugging Face id, or a folder.", show_default=False
        ),
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="AUDIO...",
            help="Recordings of the place without the sounds in question: files, folders, quoted globs.",
            show_default=False,
        ),
    ],
    labels: common.Labels = None,
    labels_file: common.LabelsFile = None,
    template: common.Templates = None,
    false_alarms: Annotated[
        float,
        typer.Option(
            "--false-alarms",
            metavar="N",
            min=0,
            help="Per hour, for each label alone.",
            rich_help_panel=common.EVENTS,
        ),
    ] = 1.0,
    classes: Annotated[
        bool,
        typer.Option(
            "--classes",
            help="Instead put the classes of an audio classifier (such as ast) on one scale, from recordings "
            "of any kind, and write it as a model.",
            rich_help_panel=common.EVENTS,
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the label file here; with --classes, the folder of the new model.",
            show_default="stdout",
            rich_help_panel=common.OUTPUT,
        ),
    ] = None,
    overwrite: common.Overwrite = False,
    keyword_model: common.KeywordModel = "nano-keyword",
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    recursive: common.Recursive = True,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Find for each label the threshold at which background recordings hardly set it off.

    The result is a label file with thresholds, for --labels-file of tag, detect and listen.

    Example: zsaudio calibrate nano night-without-events/ --labels "glass breaking, siren" -o labels.yaml
    """
    common.set_verbosity(verbose, quiet)
    if classes:
        if labels or labels_file or output is None:
            raise OptionError("--classes takes no labels, and writes a model: name its folder with --output")
        common.refuse_to_replace(output, overwrite)
        _standardise(model, inputs, output, device, dtype, recursive, quiet)
        return
    common.refuse_to_replace(output, overwrite)
    label_set = common.read_labels(labels, labels_file, template)
    paths, n_failed = common.usable_recordings(inputs, recursive)
    from zsaudio.learning.thresholds import calibrate as run
    from zsaudio.learning.thresholds import to_yaml
    from zsaudio.recognizer import Recognizer

    def progress(clips: Iterable["ClipEvents"]) -> Iterable["ClipEvents"]:
        return show_progress(clips, len(paths), "listening", quiet)

    recognizer = Recognizer(label_set, model, keyword_model=keyword_model, device=device, dtype=dtype)
    result = run(recognizer, map(common.open_source, paths), per_hour=false_alarms, progress=progress)
    for clip, error in result.failed:
        common.message(error if clip in error else f"{clip}: {error}")
    if not quiet:
        common.message(f"{result.hours:.2f} h of background: up to {result.allowed} alarms a label")
        if false_alarms and not result.allowed:
            common.message(
                f"that is too short for {false_alarms:g} an hour, it would take {1 / false_alarms:g} h: "
                "with these thresholds nothing in the recordings is an alarm"
            )
    with common.open_output(output, paths) as file:
        file.write(to_yaml(result.labels))
    if result.failed or n_failed:
        sys.exit(1)


def _standardise(
    source: str, inputs: list[str], output: Path, device: str, dtype: str, recursive: bool, quiet: bool
) -> None:
    """Write a classifier with its classes on one scale."""
    import numpy as np

    from zsaudio.evaluation.embeddings import as_encoder, embed_clips
    from zsaudio.models.learned.standardised import Standardised, check_classifier
    from zsaudio.models.registry import load_model

    base = as_encoder(load_model(source, device=device, dtype=dtype), "--classes")
    check_classifier(base)
    paths, n_failed = common.usable_recordings(inputs, recursive)
    rows = [np.zeros((0, base.dim), np.float32)]
    for clip in show_progress(embed_clips(base, paths), len(paths), "listening", quiet):
        rows += clip.windows
        if clip.error:
            common.message(str(clip.error))
            n_failed += 1
    log_odds = np.concatenate(rows)
    Standardised.of(base, source, log_odds).save(output)
    if not quiet:
        common.message(f"{base.dim} classes on one scale, by {len(log_odds)} windows, written to {output}")
    if n_failed:
        raise typer.Exit(1)
