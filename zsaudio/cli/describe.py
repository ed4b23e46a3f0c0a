"""``zsaudio describe``: recordings in one or two plain sentences each."""

import json
import sys
import traceback
from enum import StrEnum
from typing import Annotated

import typer

from zsaudio.cli import common
from zsaudio.cli.progress import show_progress


class DescribeFormat(StrEnum):
    """Choices of ``--format``."""

    text = "text"
    jsonl = "jsonl"


def describe(
    inputs: common.Inputs,
    labels: common.Labels = None,
    labels_file: common.LabelsFile = None,
    template: common.Templates = None,
    model: common.ModelName = "nano",
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    threshold: common.Threshold = None,
    sensitivity: common.Sensitivity = None,
    format: Annotated[
        DescribeFormat,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="text: sentences; jsonl: all that is known.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = DescribeFormat.text,
    output: common.Output = None,
    overwrite: common.Overwrite = False,
    recursive: common.Recursive = True,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Say in plain sentences what is heard when, how loud, and how the rest sounds.

    Example: zsaudio describe recordings/ --format jsonl -o descriptions.jsonl
    """
    common.set_verbosity(verbose, quiet)
    common.refuse_to_replace(output, overwrite)
    label_set = common.read_labels(labels, labels_file, template, default=common.EVERYDAY)
    paths, n_failed = common.usable_recordings(inputs, recursive)
    are_several = len(paths) + n_failed > 1

    from zsaudio.errors import OptionError, has_result

    if "-" in paths:
        raise OptionError("standard input cannot be described: it is read twice")
    given = {"threshold": threshold, "sensitivity": sensitivity}
    with common.starting():
        from zsaudio.description import Describer
        from zsaudio.detection.hysteresis import DetectionOptions

        options = DetectionOptions(**{name: value for name, value in given.items() if value is not None})
        describer = Describer(label_set, model, options, device=device, dtype=dtype)
    with common.open_output(output, paths) as file:
        for path in show_progress(paths, len(paths), "describing", quiet):
            about = describer.describe(path)
            if about.error is not None:
                n_failed += 1
                common.message(str(about.error))
                if debug:
                    traceback.print_exception(about.error)
            if not has_result(about.error):
                continue
            if format is DescribeFormat.jsonl:
                file.write(json.dumps(about.to_dict(), ensure_ascii=False) + "\n")
            else:
                file.write(f"{path}: {about.text}\n" if are_several else f"{about.text}\n")
    if n_failed:
        sys.exit(1)
