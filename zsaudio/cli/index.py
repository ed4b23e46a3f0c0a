"""``zsaudio index``: listen to recordings once, and store what they sound like in an archive."""

import os
import sys
import traceback
from contextlib import ExitStack, closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zsaudio.cli import common, shards
from zsaudio.cli.progress import show_progress
from zsaudio.errors import OptionError

if TYPE_CHECKING:
    from zsaudio.archive.adding import Hear
    from zsaudio.archive.archive import Archive

ARCHIVE = "Archive"  # a panel of the help text
ArchiveOption = Annotated[
    str,
    typer.Option(
        "--archive",
        "-a",
        metavar="ARCHIVE",
        help="Folder of the archive, or a URL such as s3://bucket/folder. It is made where there is none.",
        show_default=False,
        rich_help_panel=ARCHIVE,
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="FOLDER",
        help="Where the recordings are now, if they have moved since they were indexed.",
        show_default=False,
        rich_help_panel=common.INPUT,
    ),
]


def index(
    archive: ArchiveOption,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT...]",
            help="Recordings, folders, quoted globs ('night/**/*.flac'), URLs of recordings and folders "
            "(s3://bucket/night), or lists of paths (.parquet, .csv, .tsv, .txt).",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="What listens: nano, clap, a Hugging Face id, or a folder. It never changes in an archive.",
            show_default="nano, or the archive's",
            rich_help_panel=common.MODEL,
        ),
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(
            "--hop",
            min=0.0,
            metavar="SECONDS",
            help="Distance between vectors. A longer one takes less room, and short sounds score lower. It "
            "never changes in an archive.",
            show_default="as in 'detect'",
            rich_help_panel=common.MODEL,
        ),
    ] = None,
    words: Annotated[
        bool,
        typer.Option(
            "--words",
            help="Store what the model of speech hears, too, so that 'keyword: ...' can be searched later. "
            "It never changes in an archive.",
            rich_help_panel=ARCHIVE,
        ),
    ] = False,
    keyword_model: common.KeywordModel = "nano-keyword",
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Remove recordings from the archive whose files are gone.",
            rich_help_panel=ARCHIVE,
        ),
    ] = False,
    optimize: Annotated[
        bool,
        typer.Option(
            "--optimize",
            help="Put what was added bit by bit together, and index it where there are more than a million "
            "vectors.",
            rich_help_panel=ARCHIVE,
        ),
    ] = False,
    root: Root = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            help="Listen by N processes; this one writes what they hear.",
            rich_help_panel=shards.PANEL,
        ),
    ] = None,
    ray: shards.Ray = None,
    actors: shards.Actors = None,
    gpus: shards.Gpus = 0.0,
    unit_timeout: shards.UnitTimeout = None,
    channel: common.Channel = None,
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    batch_size: common.BatchSize = 16,
    recursive: common.Recursive = True,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Listen to recordings once and store them as vectors, to be searched later by words and by sounds.

    Only what is new or has changed is listened to; interrupted, it goes on.

    Example: zsaudio index recordings/ --archive my-archive
    """
    common.set_verbosity(verbose, quiet)
    processes = shards.Processes(jobs, ray, actors, gpus, unit_timeout)
    if not inputs and not prune and not optimize and root is None:
        raise OptionError("nothing to do: name recordings, or give --prune, --optimize or --root")
    if inputs and "-" in inputs:
        raise OptionError("standard input cannot be indexed: what is found in it could not be played again")
    found, n_failed = common.usable_recordings(inputs or [], recursive)
    from zsaudio.ray.inputs import read_paths
    from zsaudio.storage.locations import require_pyarrow

    require_pyarrow("archives")
    paths, states = read_paths(found)
    speech = keyword_model if words else None
    opened = _open(archive, model, hop, speech, root, paths, device, dtype)
    counts = dict.fromkeys(("added", "updated", "unchanged", "removed", "failed"), 0)
    seconds = 0.0
    how: dict[str, Any] = {"batch_size": batch_size, "channel": channel}
    try:
        with ExitStack() as stack:
            as_opened = {"model": model, "device": device, "dtype": dtype}
            hear = _by_processes(processes, archive, as_opened, how, stack)
            # closing it commits what was heard, also when it is interrupted
            added = stack.enter_context(
                closing(opened.add(paths, prune=prune, hear=hear, states=states, **how))
            )
            for each in show_progress(added, len(paths), "listening", quiet):
                counts[each.status] += 1
                if each.status in ("added", "updated"):
                    seconds += each.duration_s
                if each.error is not None:
                    n_failed += 1
                    common.message(str(each.error))
                    if debug:
                        traceback.print_exception(each.error)
    except KeyboardInterrupt:
        common.end_interrupted("the same command goes on")
    if optimize and opened.optimize() and not quiet:
        common.message(f"{archive}: indexed")
    _report(opened, counts, seconds, quiet)
    if n_failed:
        sys.exit(1)


def _by_processes(
    processes: shards.Processes, archive: str, opened: dict[str, Any], how: dict[str, Any], stack: ExitStack
) -> "Hear | None":
    """Return what hears recordings by several processes, which the stack ends; None: this one does."""
    if not processes.are_asked_for:
        return None
    from zsaudio.ray.ears import Ear, heard_by
    from zsaudio.ray.inputs import absolute

    pool = processes.start(partial(Ear, absolute(archive), opened, how))
    stack.callback(pool.close)
    return lambda paths: heard_by(pool, list(map(absolute, paths)))


def _report(opened: "Archive", counts: dict[str, int], seconds: float, quiet: bool) -> None:
    """Say what was done."""
    for line in opened.set_aside:
        common.message(f"{line}; it was set aside, and its recordings are indexed again when they are named")
    if not quiet:
        what = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
        heard = f" ({timedelta(seconds=round(seconds))} of sound)" if seconds else ""
        size = opened.n_bytes() / 1e6
        common.message(f"{what or 'nothing new'}{heard}; {len(opened)} recordings, {size:.1f} MB")


def _open(
    location: str,
    model: str | None,
    hop: float | None,
    keyword_model: str | None,
    root: Path | None,
    paths: list[str],
    device: str,
    dtype: str,
) -> "Archive":
    """Open the archive, or make one."""
    from zsaudio.archive.archive import Archive
    from zsaudio.archive.store import Store
    from zsaudio.audio.sources import is_url

    if Store(location).exists():
        opened = Archive.open(location, model=model, device=device, dtype=dtype)
        if hop is not None and abs(hop - opened.hop_s) > opened.hop_s / 2:
            raise OptionError(f"{location}: has a vector every {opened.hop_s:g} s; --hop cannot change that")
        if keyword_model is not None and not opened.holds_words:
            raise OptionError(
                f"{location}: was made without --words; index the recordings into another archive"
            )
        if root is not None:
            opened.move(root)
        return opened
    if not paths:
        raise OptionError(f"{location}: no archive; name the recordings to make one from")
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths if not is_url(path)}
    try:
        common_folder = os.path.commonpath(folders)
    except ValueError:  # several drives, or URLs only
        common_folder = os.getcwd()
    return Archive.create(
        location,
        model=model or "nano",
        hop_s=hop,
        root=root or common_folder,
        device=device,
        dtype=dtype,
        keyword_model=keyword_model,
    )
