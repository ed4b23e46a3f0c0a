"""The files of an archive: a header, and shards that are only ever added.

``archive.json`` says what the vectors are. Each *shard*, ``shards/00000001.arrow``, is an Arrow IPC file with
one row per stretch, not compressed, so that its vectors are used from disk as they are (memory-mapped). A
shard is written beside its place, forced to disk and renamed: it is there whole or not at all, whatever
moment the writer is killed at. Its metadata names the recordings in it. A later shard takes precedence: a
recording that is in it supersedes earlier ones, one that it calls removed is gone, and shards that it
replaces are ignored. So nothing is ever rewritten in place, a reader needs no lock, and there is no list of
shards that could disagree with them.

An archive is a local folder, or a URL that ``pyarrow.fs`` or ``fsspec`` takes (``s3://bucket/folder``), whose
shards are read into memory. One process writes at a time; a local folder is locked against a second one.
"""

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from zsaudio.archive.shards import (
    NewRecording,
    Shard,
    Stored,
    live_recordings,
    read_shard,
    shard_bytes,
    to_table,
)
from zsaudio.errors import ArchiveError, OptionError
from zsaudio.storage.folder import Folder
from zsaudio.storage.locations import require_pyarrow

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
_HEADER, _SHARDS, _LOCK = "archive.json", "shards", "lock"


class Store:
    """Reads and writes the files of an archive.

    Parameters
    ----------
    location
        A folder or a URL.
    """

    def __init__(self, location: str | os.PathLike[str]) -> None:
        require_pyarrow("archives")
        self.location = os.fspath(location)
        try:
            self._folder = Folder(self.location, ArchiveError)
        except OptionError as error:
            raise ArchiveError(str(error)) from error
        self.is_local = self._folder.is_local

    def exists(self) -> bool:
        """Tell whether there is an archive."""
        return self._folder.has(_HEADER)

    def read_header(self) -> dict[str, Any]:
        """Return the header; raise ArchiveError if there is none, or none that can be used."""
        if not self.exists():
            raise ArchiveError(
                f"{self.location}: no archive; make one with 'zsaudio index FOLDER --archive {self.location}'"
            )
        content = self._folder.read(_HEADER)
        try:
            header = json.loads(content)
            number = header["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArchiveError(
                f"{self._folder.path_of(_HEADER)}: damaged ({_short(error)}); put it back from a copy: "
                "the shards beside it are not touched"
            ) from error
        if number != FORMAT:
            raise ArchiveError(
                f"{self.location}: has format {number}; this version of zsaudio reads {FORMAT}"
            )
        return dict(header)

    def write_header(self, header: dict[str, Any]) -> None:
        """Write the header, whole or not at all."""
        self._folder.write(_HEADER, json.dumps({"format": FORMAT, **header}, indent=2).encode() + b"\n")

    def shards(self) -> tuple[list[Shard], list[str]]:
        """Return the shards in order, without those replaced, and one line for each that is damaged."""
        shards, damaged = [], []
        for name in self._names():
            try:
                shards.append(self._open(name))
            except (OSError, ValueError, KeyError, TypeError) as error:
                path = self._folder.path_of(f"{_SHARDS}/{name}")
                damaged.append(f"{path}: damaged ({_short(error)})")
        replaced = {name for shard in shards for name in shard.replaces}
        return [shard for shard in shards if shard.name not in replaced], damaged

    def set_aside_damaged(self) -> list[str]:
        """Rename damaged shards, so that what was in them is indexed again; return a line for each."""
        _, damaged = self.shards()
        for line in damaged:
            name = f"{_SHARDS}/{os.path.basename(line.split(': damaged')[0])}"
            self._folder.move(name, f"{name}.damaged")
        return damaged

    def append(self, recordings: Sequence[NewRecording], removed: Sequence[str] = (), dim: int = 0) -> None:
        """Commit recordings, and the removal of others, as one shard.

        Raises
        ------
        ArchiveError
            If it cannot be written, as when the disk is full; what was committed before stays.
        """
        if recordings:
            dim = recordings[0].vectors.shape[1]
        table = to_table(recordings, dim)
        self._commit(table, [each.stored for each in recordings], list(removed), [])

    def compact(self, max_rows: int) -> int:
        """Put small shards and what is live of others together; return how many shards there were.

        Shards are replaced one group at a time, so that an interrupted run leaves a whole archive.
        """
        import pyarrow as pa

        shards, _ = self.shards()
        for name in {name for shard in shards for name in shard.replaces} & set(self._names()):
            self._delete(f"{_SHARDS}/{name}")  # left by a run that was killed
        live = live_recordings(shards)
        group: list[Shard] = []

        def merge() -> None:
            tables, kept = [], []
            for shard in group:
                for number in live[shard.name]:
                    tables.append(shard.table.slice(shard.starts[number], shard.recordings[number].n_rows))
                    kept.append(shard.recordings[number])
            # removals end here: what they removed is not live, in this group or in those before it
            schema = group[0].table.schema
            merged = pa.concat_tables(tables or [schema.empty_table()], promote_options="default")
            self._commit(merged, kept, [], [shard.name for shard in group])
            for shard in group:
                self._delete(f"{_SHARDS}/{shard.name}")
            group.clear()

        n_rows = 0
        wasteful = len(shards) > 1 or any(
            len(live[shard.name]) < len(shard.recordings) or shard.removed for shard in shards
        )
        if not wasteful:
            return len(shards)
        for shard in shards:
            rows = sum(shard.recordings[number].n_rows for number in live[shard.name])
            if group and n_rows + rows > max_rows:
                merge()
                n_rows = 0
            group.append(shard)
            n_rows += rows
        merge()
        return len(shards)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out; raise ArchiveError if there is one."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._folder.locked(_LOCK))
            except OptionError as error:
                raise ArchiveError(str(error)) from error
            self._folder.remove_partial(_SHARDS)
            yield

    def n_bytes(self) -> int:
        """Return how much the shards take, in bytes."""
        return self._folder.n_bytes(_SHARDS)

    def read_array(self, name: str) -> np.ndarray | None:
        """Return an array stored beside the shards; None where there is none that can be used."""
        try:
            if self.is_local:
                return np.asarray(np.load(self._folder.path_of(name), mmap_mode="r", allow_pickle=False))
            return np.asarray(np.load(io.BytesIO(self._folder.read(name)), allow_pickle=False))
        except (ArchiveError, OSError, ValueError, EOFError):
            return None

    def write_array(self, name: str, array: np.ndarray) -> None:
        """Store an array beside the shards, whole or not at all."""
        content = io.BytesIO()
        np.save(content, array)
        self._folder.write(name, content.getvalue())

    def _commit(
        self, table: "pa.Table", recordings: list[Stored], removed: list[str], replaces: list[str]
    ) -> None:
        names = self._names()
        number = int(names[-1].split(".")[0]) + 1 if names else 1
        content = shard_bytes(table, recordings, removed, replaces)
        self._folder.write(f"{_SHARDS}/{number:08}.arrow", content)

    def _open(self, name: str) -> Shard:
        import pyarrow as pa

        name_here = f"{_SHARDS}/{name}"
        if self.is_local:
            return read_shard(name, pa.memory_map(self._folder.path_of(name_here)))
        return read_shard(name, pa.py_buffer(self._folder.read(name_here)))

    def _names(self) -> list[str]:
        return [name for name in self._folder.names(_SHARDS) if name.endswith(".arrow")]

    def _delete(self, name: str) -> None:
        with suppress(ArchiveError):  # a reader holds it, on Windows; it is ignored until it can go
            self._folder.remove([name])


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
