"""The files of an archive: a header, and shards that are only ever added.

``archive.json`` says what the vectors are. Each *shard*, ``shards/00000001.arrow``, is an Arrow IPC file with
one row per stretch, not compressed, so that its vectors are used from disk as they are (memory-mapped). A
shard is written beside its place, forced to disk and renamed: it is there whole or not at all, whatever
moment the writer is killed at. Its metadata names the recordings in it. A later shard takes precedence: a
recording that is in it supersedes earlier ones, one that it calls removed is gone, and shards that it
replaces are ignored. So nothing is ever rewritten in place, a reader needs no lock, and there is no list of
shards that could disagree with them.

An archive is a local folder, or a URL that ``pyarrow.fs`` takes (``s3://bucket/folder``), whose shards are
read into memory. One process writes at a time; a local folder is locked against a second one.
"""

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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
from zsaudio.errors import ArchiveError, MissingExtraError, install_command
from zsaudio.files import write_atomically

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
        try:
            from pyarrow import ArrowInvalid
            from pyarrow.fs import FileSystem, LocalFileSystem
        except ImportError as error:
            raise MissingExtraError(f"archives need pyarrow: {install_command('archive')}") from error

        self.location = os.fspath(location)
        if "://" in self.location:
            try:
                self._files, self._top = FileSystem.from_uri(self.location)
            except (ArrowInvalid, OSError) as error:
                raise ArchiveError(f"{self.location}: cannot be opened ({_short(error)})") from error
        else:
            self._files, self._top = LocalFileSystem(), os.path.abspath(self.location).replace(os.sep, "/")
        self.is_local = isinstance(self._files, LocalFileSystem)
        self._top = self._top.rstrip("/")

    def exists(self) -> bool:
        """Tell whether there is an archive."""
        return self._is_file(_HEADER)

    def read_header(self) -> dict[str, Any]:
        """Return the header; raise ArchiveError if there is none, or none that can be used."""
        if not self.exists():
            raise ArchiveError(
                f"{self.location}: no archive; make one with 'zsaudio index FOLDER --archive {self.location}'"
            )
        try:
            with self._files.open_input_file(self._path(_HEADER)) as file:
                header = json.loads(file.read())
            number = header["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArchiveError(
                f"{self._path(_HEADER)}: damaged ({_short(error)}); put it back from a copy: "
                "the shards beside it are not touched"
            ) from error
        if number != FORMAT:
            raise ArchiveError(
                f"{self.location}: has format {number}; this version of zsaudio reads {FORMAT}"
            )
        return dict(header)

    def write_header(self, header: dict[str, Any]) -> None:
        """Write the header, whole or not at all."""
        with self._writing():
            self._files.create_dir(self._path(_SHARDS), recursive=True)
            self._put(_HEADER, json.dumps({"format": FORMAT, **header}, indent=2).encode() + b"\n")

    def shards(self) -> tuple[list[Shard], list[str]]:
        """Return the shards in order, without those replaced, and one line for each that is damaged."""
        shards, damaged = [], []
        for name in self._names():
            try:
                shards.append(self._open(name))
            except (OSError, ValueError, KeyError, TypeError) as error:
                damaged.append(f"{self._path(_SHARDS)}/{name}: damaged ({_short(error)})")
        replaced = {name for shard in shards for name in shard.replaces}
        return [shard for shard in shards if shard.name not in replaced], damaged

    def set_aside_damaged(self) -> list[str]:
        """Rename damaged shards, so that what was in them is indexed again; return a line for each."""
        _, damaged = self.shards()
        for line in damaged:
            path = line.split(": damaged")[0]
            self._files.move(path, path + ".damaged")
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
        if not self.is_local:
            yield
            return
        from filelock import FileLock, Timeout

        with self._writing():
            os.makedirs(self._top, exist_ok=True)
            lock = FileLock(self._path(_LOCK))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise ArchiveError(
                    f"{self.location}: another process is writing to it; wait for its end"
                ) from None
        try:
            for name in self._names(suffix=".partial"):  # left by a writer that was killed
                self._delete(f"{_SHARDS}/{name}")
            yield
        finally:
            lock.release()

    def n_bytes(self) -> int:
        """Return how much the shards take, in bytes."""
        from pyarrow.fs import FileSelector

        infos = self._files.get_file_info(FileSelector(self._path(_SHARDS), allow_not_found=True))
        return sum(info.size or 0 for info in infos)

    def read_array(self, name: str) -> np.ndarray | None:
        """Return an array stored beside the shards; None where there is none that can be used."""
        try:
            if self.is_local:
                return np.asarray(np.load(self._path(name), mmap_mode="r", allow_pickle=False))
            import io

            with self._files.open_input_file(self._path(name)) as file:
                return np.asarray(np.load(io.BytesIO(file.read()), allow_pickle=False))
        except (OSError, ValueError, EOFError):
            return None

    def write_array(self, name: str, array: np.ndarray) -> None:
        """Store an array beside the shards, whole or not at all."""
        import io

        content = io.BytesIO()
        np.save(content, array)
        with self._writing():
            self._put(name, content.getvalue())

    def _commit(
        self, table: "pa.Table", recordings: list[Stored], removed: list[str], replaces: list[str]
    ) -> None:
        names = self._names()
        number = int(names[-1].split(".")[0]) + 1 if names else 1
        content = shard_bytes(table, recordings, removed, replaces)
        with self._writing():
            self._put(f"{_SHARDS}/{number:08}.arrow", content)

    def _open(self, name: str) -> Shard:
        import pyarrow as pa

        path = self._path(f"{_SHARDS}/{name}")
        if self.is_local:
            return read_shard(name, pa.memory_map(path))
        with self._files.open_input_file(path) as file:
            return read_shard(name, pa.py_buffer(file.read()))

    def _names(self, suffix: str = ".arrow") -> list[str]:
        from pyarrow.fs import FileSelector

        infos = self._files.get_file_info(FileSelector(self._path(_SHARDS), allow_not_found=True))
        return sorted(info.base_name for info in infos if info.base_name.endswith(suffix))

    def _path(self, name: str) -> str:
        return f"{self._top}/{name}"

    def _is_file(self, name: str) -> bool:
        from pyarrow.fs import FileType

        return bool(self._files.get_file_info(self._path(name)).type == FileType.File)

    def _put(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        path = self._path(name)
        if self.is_local:
            write_atomically(Path(path), content, durable=True)
        else:  # an object appears when its upload is complete
            with self._files.open_output_stream(path) as file:
                file.write(content)

    def _delete(self, name: str) -> None:
        try:
            self._files.delete_file(self._path(name))
        except OSError:  # a reader holds it, on Windows; it is ignored until it can go
            return

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = (
                "the disk is full; free some space and run it again: what was stored stays"
                if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
                else f"cannot be written ({error.strerror or _short(error)})"
            )
            raise ArchiveError(f"{self.location}: {reason}") from error


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
