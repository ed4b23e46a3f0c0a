"""``zsaudio tag``: which labels are present in each recording."""

import os
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zsaudio.cli import common, shards

if TYPE_CHECKING:
    from zsaudio.results import ClipTags


class Pooling(StrEnum):
    """Choices of ``--pool``."""

    max = "max"
    mean = "mean"


class TagFormat(StrEnum):
    """Choices of ``--format``: the keys of ``tag_writers.TAG_FORMATS``, which is slow to import."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


def tag(
    inputs: common.Inputs,
    labels: common.Labels = None,
    labels_file: common.LabelsFile = None,
    template: common.Templates = None,
    model: common.ModelName = "nano",
    keyword_model: common.KeywordModel = "nano-keyword",
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    batch_size: common.BatchSize = 16,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k", "-k", metavar="N", min=0, help="Tags per recording; 0: all.", rich_help_panel="Tags"
        ),
    ] = 5,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            metavar="SCORE",
            min=0,
            max=1,
            help="Leave out tags with a lower score.",
            rich_help_panel="Tags",
        ),
    ] = None,
    exclusive: Annotated[
        bool,
        typer.Option(
            "--exclusive",
            help="Ask which one of the labels it is (scores sum to 1), not whether each is present.",
            rich_help_panel="Tags",
        ),
    ] = False,
    pool: Annotated[
        Pooling,
        typer.Option(
            "--pool",
            help="Score of a long recording: its best window, or the mean over all.",
            rich_help_panel="Tags",
        ),
    ] = Pooling.max,
    recursive: common.Recursive = True,
    channel: common.Channel = None,
    jobs: shards.Jobs = None,
    ray: shards.Ray = None,
    actors: shards.Actors = None,
    gpus: shards.Gpus = 0.0,
    unit_timeout: shards.UnitTimeout = None,
    format: Annotated[
        TagFormat,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="table, json, jsonl or csv.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = TagFormat.table,
    output: shards.Output = None,
    resume: common.Resume = False,
    overwrite: common.Overwrite = False,
    absolute_paths: common.AbsolutePaths = False,
    escape: common.Escape = True,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Say which labels are present in each recording.

    Example: zsaudio tag recordings/ --labels "dog barking, rain, siren"
    """
    common.set_verbosity(verbose, quiet)
    label_set = common.read_labels(labels, labels_file, template, common.EVERYDAY)

    from zsaudio.cli.batch import Batch, settings_of
    from zsaudio.output.formats import Place
    from zsaudio.output.tag_writers import TAG_FORMATS

    loading: dict[str, Any] = {
        "model": model,
        "keyword_model": keyword_model,
        "device": device,
        "dtype": dtype,
    }
    options: dict[str, Any] = {
        "top_k": top_k,
        "min_score": min_score,
        "exclusive": exclusive,
        "pool": pool.value,
    }
    settings = settings_of("tag", label_set, loading, options, channel)
    processes = shards.Processes(jobs, ray, actors, gpus, unit_timeout)
    if processes.are_asked_for:
        shards.refuse(format=format is not TagFormat.table)
        shards.write_shards(
            "tag",
            label_set,
            loading | {"batch_size": batch_size},
            options | {"channel": channel},
            settings,
            inputs,
            recursive,
            output,
            processes,
            overwrite=overwrite,
            quiet=quiet,
        )
        return
    file = shards.file_of(output, labels_file, inputs)
    batch: Batch[ClipTags] = Batch(inputs, recursive, noun="tag", work="tagging", quiet=quiet, debug=debug)
    settings["format"] = [format.value, absolute_paths, escape]
    form, place = TAG_FORMATS[format.value], Place(escape=escape)
    with batch.opened(form, place, settings, output=file, resume=resume, overwrite=overwrite):
        with common.starting():
            from zsaudio.recognizer import Recognizer

            recognizer = Recognizer(label_set, **loading, batch_size=batch_size)
        batch.run(
            lambda todo: recognizer.tag_batch(map(common.open_source, todo), channel=channel, **options),
            lambda path, clip: replace(clip, clip=os.path.abspath(path)) if absolute_paths else clip,
        )
