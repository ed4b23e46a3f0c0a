"""``--jobs`` and ``--ray``: several processes, and how ``tag`` and ``detect`` write Parquet files by them."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from zsaudio.cli import common
from zsaudio.cli.progress import show_progress
from zsaudio.errors import OptionError
from zsaudio.files import kind_of_list

if TYPE_CHECKING:
    from zsaudio.labels import LabelSet
    from zsaudio.ray.pools import Pool
    from zsaudio.ray.shards import Staged

PANEL = "Many recordings"
_NOUNS = {"tag": "tag", "detect": "event"}
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=1,
        help="Use N processes, and write Parquet files into the folder of --output. The same command goes on "
        "with an interrupted run. Inputs may be lists of paths (.parquet, .csv, .txt) and URLs, too.",
        rich_help_panel=PANEL,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="The same on a cluster of Ray: local, auto (the cluster of this computer), HOST:PORT, or "
        "ray://HOST:PORT.",
        rich_help_panel=PANEL,
    ),
]
Actors = Annotated[
    int | None,
    typer.Option(
        "--actors",
        metavar="N",
        min=1,
        help="Processes on the cluster.",
        show_default="one a CPU, or one a GPU",
        rich_help_panel=PANEL,
    ),
]
Gpus = Annotated[
    float,
    typer.Option(
        "--gpus",
        metavar="N",
        min=0.0,
        help="GPUs that each process on the cluster takes; 0.5: two share one.",
        rich_help_panel=PANEL,
    ),
]


UnitTimeout = Annotated[
    float | None,
    typer.Option(
        "--unit-timeout",
        metavar="SECONDS",
        min=1.0,
        help="End a process that takes longer for a unit, of up to 256 recordings, and treat it as one that "
        "died.",
        show_default="none",
        rich_help_panel=PANEL,
    ),
]


Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the results to this file; with --jobs or --ray, to this folder or URL.",
        show_default="stdout",
        rich_help_panel=common.OUTPUT,
    ),
]


@dataclass(frozen=True)
class Processes:
    """What the options say of processes.

    Raises
    ------
    OptionError
        If they do not go together.
    """

    jobs: int | None
    ray: str | None
    actors: int | None
    gpus: float
    unit_timeout: float | None

    def __post_init__(self) -> None:
        """Check them."""
        if self.jobs is not None and self.ray is not None:
            raise OptionError("--jobs uses this computer and --ray a cluster: give one of them")
        if self.ray is None and (self.actors is not None or self.gpus):
            raise OptionError("--actors and --gpus are about a cluster: give --ray, too")
        if self.unit_timeout is not None and not self.are_asked_for:
            raise OptionError("--unit-timeout is about several processes: give --jobs or --ray, too")

    @property
    def are_asked_for(self) -> bool:
        """Whether the results are to be shards."""
        return self.jobs is not None or self.ray is not None

    def start(self, make: "Callable[..., Any]") -> "Pool":
        """Return the processes; connect to the cluster first."""
        from zsaudio.ray import pools

        if self.jobs is not None:
            threads = max(1, (os.cpu_count() or 1) // self.jobs)
            return pools.LocalPool(self.jobs, partial(make, threads=threads), self.unit_timeout)
        assert self.ray is not None
        pools.connect(self.ray)
        n = self.actors or pools.usual_actors(self.gpus)
        return pools.RayPool(n, make, num_gpus=self.gpus, limit_s=self.unit_timeout)


def refuse(**given: Any) -> None:
    """Raise OptionError where an option is given that has no meaning for shards."""
    for name, value in given.items():
        if value:
            option = name.replace("_", "-")
            raise OptionError(f"--{option} does not go with --jobs or --ray, which write Parquet files")


def file_of(output: str | None, labels_file: Path | None, inputs: Sequence[str]) -> Path | None:
    """Return the one file of ``--output``; raise OptionError if it is the labels', or an input a list."""
    for text in inputs:
        if kind_of_list(text):
            raise OptionError(f"{text}: a list of recordings needs --jobs N or --ray ADDRESS, too")
    if output is None:
        return None
    if labels_file:
        common.refuse_input_as_output(Path(output), [str(labels_file)])
    return Path(output)


def write_shards(
    kind: Literal["tag", "detect"],
    labels: "LabelSet",
    loading: Mapping[str, Any],
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    inputs: Sequence[str],
    recursive: bool,
    output: str | None,
    processes: Processes,
    *,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Do the work for all recordings that an earlier run did not do; end the command if some failed.

    Parameters
    ----------
    kind, labels, loading, options
        See ``zsaudio.ray.work.Work``.
    settings
        Everything that the results depend on, besides the recordings.
    inputs, recursive, output, processes, overwrite, quiet
        Options of the command.
    """
    started = time.monotonic()
    if output is None:
        raise OptionError("--jobs and --ray write Parquet files: name their folder with --output")
    from zsaudio.storage.locations import require_pyarrow

    require_pyarrow("shards")
    from zsaudio.audio.sources import is_url
    from zsaudio.cli.batch import counted
    from zsaudio.ray.inputs import read_inputs
    from zsaudio.ray.manifest import Manifest
    from zsaudio.ray.planning import PART_S, plan_units
    from zsaudio.ray.runs import Run
    from zsaudio.ray.shards import Maker
    from zsaudio.ray.work import Work, check_columns
    from zsaudio.storage.folder import Folder

    tally = _Tally()
    schema, tables = read_inputs(_recordings(inputs, recursive, tally.fail))
    check_columns(schema.names, kind)
    folder = Folder(output if is_url(output) else os.path.abspath(output))
    with folder.locked(), redirect_stdout(sys.stderr):  # where Ray says on stdout what it sees die
        manifest = Manifest(folder, settings, overwrite=overwrite)
        if manifest.done and not quiet:
            common.message(f"{counted(len(manifest.done), 'recording')} done before")
        work = Work(kind, labels, loading, options)
        pool = processes.start(partial(Maker, work, folder.location, manifest.run))
        units = plan_units(
            tables,
            manifest.done,
            part_s=PART_S if kind == "detect" and pool.n > 1 else None,
            on_changed=lambda path: tally.fail(path, "has changed since its results were written; they stay"),
        )
        run = Run(pool, units, manifest, [[each.name, str(each.type)] for each in schema], common.message)
        try:
            for _ in show_progress(tally.take(run.work()), None, "working", quiet):
                pass
        except KeyboardInterrupt:
            common.end_interrupted("the same command goes on")
    if manifest.n_failed:
        common.message(f"{counted(manifest.n_failed, 'recording')} failed before, as the column error says")
    if not quiet:
        parts = [f"{counted(tally.n_items, _NOUNS[kind])} in {counted(tally.n_recordings, 'recording')}"]
        if tally.failed:
            parts.append(f"{len(tally.failed):,} failed")
        if run.n_deaths:
            parts.append(f"deaths of processes: {run.n_deaths}")
        parts += [f"written to {output}", f"{time.monotonic() - started:.1f} s"]
        common.message(", ".join(parts))
    if tally.failed or manifest.n_failed:
        raise typer.Exit(1)


class _Tally:
    """Counts what was done, and names what failed."""

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self.n_recordings = self.n_items = 0

    def fail(self, path: str, reason: str) -> None:
        self.failed.add(path)
        common.message(reason if reason.startswith(path) else f"{path}: {reason}")

    def take(self, shards: "Iterator[Staged]") -> Iterator[str]:
        """Yield the recordings of shards."""
        for staged in shards:
            for path, reason in staged.failed.items():
                self.fail(path, reason)
            self.n_recordings += len(staged.inputs)
            self.n_items += staged.n_items
            yield from (each[0] for each in staged.inputs)


def _recordings(inputs: Sequence[str], recursive: bool, fail: Callable[[str, str], None]) -> list[str]:
    """Return the recordings, lists and URLs among the inputs."""
    found = []
    for item in common.find_recordings(inputs, recursive):
        if isinstance(item, str):
            found.append(item)
        else:
            fail(str(item).partition(": ")[0], str(item))
    if "-" in found:
        raise OptionError("standard input is one recording: it needs no --jobs or --ray")
    if not found:
        raise typer.Exit(1)
    return found
