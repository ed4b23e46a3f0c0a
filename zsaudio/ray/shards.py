"""Shards: what one process writes of some recordings, a Parquet file that the driver commits.

Rows are those of ``zsaudio.ray.work``. Two columns of the input, ``SIZE`` and ``MTIME``, say which file a
path was when the work was planned; they go to the manifest and not to the shards.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from zsaudio.audio.sources import is_url
from zsaudio.detection.parts import Part, PartHeard
from zsaudio.errors import AudioError
from zsaudio.ray.work import Work, Worker
from zsaudio.storage.folder import REQUESTS, Folder
from zsaudio.storage.locations import state_of

if TYPE_CHECKING:
    import pyarrow as pa

SIZE, MTIME = "_size", "_mtime_ns"
STAGING = "_staging"


@dataclass(frozen=True)
class Staged:
    """A shard that waits to be committed.

    Parameters
    ----------
    name
        Its file in the staging folder of the run, without suffix.
    n_rows
        How many rows it has.
    n_items
        How many of them are events, or how many tags are in them.
    seconds
        Length of its recordings.
    inputs
        Path, size, time of change in ns, start and end of each recording.
    failed
        What is wrong with those that could not be read, or not to their end, by path.
    """

    name: str
    n_rows: int
    n_items: int
    seconds: float
    inputs: list[list[Any]]
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """What a process says when its models are loaded."""

    identity: dict[str, Any]
    columns: list[list[str]]  # those of the results: names and types
    warnings: list[str]


class Maker:
    """Does the work in one process, and writes what comes of it.

    Parameters
    ----------
    work
        What is to be done.
    location, run
        The folder of results, and the name of the run's folder in its staging area.
    threads
        How many torch may use; None: as it likes.
    """

    def __init__(self, work: Work, location: str, run: str, threads: int | None = None) -> None:
        self._work, self._folder, self._run, self._threads = work, Folder(location), run, threads

    def load(self) -> Loaded:
        """Load the models."""
        import torch

        if self._threads is not None:
            torch.set_num_threads(self._threads)
        with _caught_warnings() as warnings:
            self._worker = Worker(self._work)
        columns = [[each.name, str(each.type)] for each in self._worker.schema()]
        return Loaded(self._worker.identity(), columns, warnings)

    def shard(self, name: str, table: "pa.Table") -> Staged:
        """Write the results of recordings."""
        return self._write(name, table, self._worker)

    def error_shard(self, name: str, table: "pa.Table", error: str) -> Staged:
        """Write rows for recordings that are not read, because of an error."""
        return self._write(name, table, lambda rows: self._worker.failed(rows, error))

    def part(self, name: str, path: str, part: Part) -> str | None:
        """Write what the models hear in a part of a recording; return an error if it cannot be read so."""
        try:
            heard = self._worker.recognizer.hear_part(path, part, **self._work.options)
        except AudioError as error:
            return str(error)
        self._folder.write(self._staged(name, "npz"), heard.to_bytes())
        return None

    def joined_shard(self, name: str, table: "pa.Table", parts: Sequence[str]) -> Staged:
        """Write the events of one long recording, the only row, from what was heard in its parts."""
        path = table.column("path")[0].as_py()
        heard = _Parts([self._staged(part, "npz") for part in parts], self._folder, path)
        return self._write(name, table, lambda rows: self._worker.joined(rows, heard))

    def _write(self, name: str, table: "pa.Table", results: Callable[["pa.Table"], "pa.Table"]) -> Staged:
        import pyarrow as pa
        import pyarrow.parquet as pq

        inputs = _inputs(table)
        found = results(table.drop_columns([SIZE, MTIME]))
        sink = pa.BufferOutputStream()
        pq.write_table(found, sink, compression="zstd")
        self._folder.write(self._staged(name, "parquet"), sink.getvalue())
        rows = found.select(
            [n for n in ("path", "duration_s", "tags", "label", "error") if n in found.column_names]
        )
        lengths, failed, n_items = {}, {}, 0
        for row in rows.to_pylist():
            lengths[row["path"]] = row["duration_s"] or 0.0
            if row["error"] is not None:
                failed[row["path"]] = row["error"]
            n_items += len(row.get("tags") or ()) + (row.get("label") is not None)
        return Staged(name, len(found), n_items, sum(lengths.values()), inputs, failed)

    def _staged(self, name: str, suffix: str) -> str:
        return f"{STAGING}/{self._run}/{name}.{suffix}"


class _Parts(Sequence[PartHeard]):
    """What was heard in the parts of a recording; one of them at a time is in memory."""

    def __init__(self, names: list[str], folder: Folder, path: str) -> None:
        self._names, self._folder, self._path = names, folder, path

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, number: int) -> PartHeard: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[PartHeard]: ...
    def __getitem__(self, number: int | slice) -> PartHeard | Sequence[PartHeard]:
        if isinstance(number, slice):
            return _Parts(self._names[number], self._folder, self._path)
        return PartHeard.from_bytes(self._folder.read(self._names[number]), self._path)


def _inputs(table: "pa.Table") -> list[list[Any]]:
    """Return what the manifest notes of recordings; what is not known of remote files is looked up."""
    names = [name for name in ("path", SIZE, MTIME, "start", "end") if name in table.column_names]
    rows = table.select(names).to_pylist()
    with ThreadPoolExecutor(REQUESTS) as threads:
        states = list(threads.map(_state, rows))
    return [
        [row["path"], *state, row.get("start"), row.get("end")]
        for row, state in zip(rows, states, strict=True)
    ]


def _state(row: dict[str, Any]) -> tuple[int, int]:
    if row[SIZE] is not None or not is_url(row["path"]):
        return row[SIZE] or 0, row[MTIME] or 0
    return state_of(row["path"])


class _caught_warnings(logging.Handler):  # noqa: N801
    """Gather the warnings that the library logs meanwhile."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())

    def __enter__(self) -> list[str]:
        log = logging.getLogger("zsaudio")
        log.addHandler(self)
        return self._lines

    def __exit__(self, *_: object) -> None:
        logging.getLogger("zsaudio").removeHandler(self)
