"""``zsaudio tag``: which labels are heard in each recording."""

import sys
import traceback
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from zsaudio.cli import common

if TYPE_CHECKING:
    from zsaudio.results import ClipTags


class Pooling(StrEnum):
    """Choices of ``--pool``."""

    max = "max"
    mean = "mean"


class TagFormat(StrEnum):
    """Choices of ``--format``: the keys of ``writers.TAG_WRITERS``, which is slow to import."""

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
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=0, help="Tags per recording; 0: all.")] = 5,
    min_score: Annotated[
        float | None, typer.Option("--min-score", min=0, max=1, help="Leave out tags that score lower.")
    ] = None,
    exclusive: Annotated[
        bool,
        typer.Option(
            "--exclusive",
            help="Ask which one of the labels it is (scores sum to 1), not whether each is there.",
        ),
    ] = False,
    pool: Annotated[
        Pooling, typer.Option("--pool", help="Over a long recording: its best window, or the mean of all.")
    ] = Pooling.max,
    format: Annotated[
        TagFormat, typer.Option("--format", "-f", help="Form of the results.")
    ] = TagFormat.table,
    output: common.Output = None,
    batch_size: common.BatchSize = 16,
    recursive: common.Recursive = True,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Tell which labels are heard in each recording.

    Example: zsaudio tag recordings/ --labels "dog barking, rain, siren"
    """
    common.set_verbosity(verbose, quiet)
    label_set = common.read_labels(labels, labels_file, template, common.EVERYDAY)
    found = list(common.find_recordings(inputs, recursive))
    paths = [item for item in found if isinstance(item, str)]
    n_failed = len(found) - len(paths)
    for item in found:
        if not isinstance(item, str):
            common.message(str(item))
    if not paths:
        raise typer.Exit(1)

    from zsaudio.output.tag_writers import TAG_WRITERS
    from zsaudio.recognizer import Recognizer

    recognizer = Recognizer(
        label_set,
        model,
        keyword_model=keyword_model,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
    )

    def clips() -> Iterator["ClipTags"]:
        nonlocal n_failed
        sources = map(common.open_source, paths)
        tagged = recognizer.tag_batch(
            sources, top_k=top_k or None, min_score=min_score, exclusive=exclusive, pool=pool.value
        )
        for clip in common.show_progress(tagged, len(paths), "tagging", quiet):
            if clip.error is not None:
                n_failed += 1
                common.message(str(clip.error))
                if debug:
                    traceback.print_exception(clip.error)
            yield clip

    with common.open_output(output, paths) as file:
        TAG_WRITERS[format.value](clips(), file)
    if n_failed:
        if len(found) > 1 and not quiet:
            common.message(f"{n_failed} of {len(found)} inputs failed")
        sys.exit(1)
