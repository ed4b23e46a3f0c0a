"""The folder that shards are written to, on any file system: whole files, moved, listed and removed."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from zsaudio.errors import OptionError, OutputError
from zsaudio.files import sync_folder, write_atomically
from zsaudio.ray.storage import open_location, reason_of, retried

_REQUESTS = 16  # at a time


class Folder:
    """A folder of results.

    Parameters
    ----------
    location
        A local folder, or a URL that ``pyarrow.fs`` or ``fsspec`` takes.

    Raises
    ------
    OptionError
        If there is no such file system.
    """

    def __init__(self, location: str) -> None:
        from pyarrow.fs import LocalFileSystem

        self.location = location
        self._files, self._top = open_location(location)
        self.is_local = isinstance(self._files, LocalFileSystem)

    def names(self, under: str = "") -> list[str]:
        """Return the names of the files in a folder in it, in order; none where there is no such folder."""
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._path(under), allow_not_found=True)
        with self._using():
            infos = retried(lambda: self._files.get_file_info(selector))
        return sorted(info.base_name for info in infos if info.type == FileType.File)

    def read(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yield the content of files, several of which are read at a time."""
        with ThreadPoolExecutor(_REQUESTS) as threads:
            yield from threads.map(self._get, names)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        with self._using():
            if self.is_local:
                write_atomically(Path(self._path(name)), content, durable=True)
                return

            def put() -> None:  # an object appears when its upload is complete
                with self._files.open_output_stream(self._path(name)) as file:
                    file.write(content)

            retried(put)

    def move(self, old: str, new: str) -> None:
        """Rename a file; object stores copy it, and remove the old one."""
        with self._using():
            retried(lambda: self._files.move(self._path(old), self._path(new)))
        if self.is_local:
            sync_folder(os.path.dirname(self._path(new)))

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        with self._using(), ThreadPoolExecutor(_REQUESTS) as threads:
            list(threads.map(lambda name: self._files.delete_file(self._path(name)), names))

    def remove_folder(self, name: str) -> None:
        """Remove a folder and what is in it, if it is there."""
        with self._using():
            try:
                self._files.delete_dir(self._path(name))
            except FileNotFoundError:
                return

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of a local folder; object stores have no locks.

        Raises
        ------
        OptionError
            If another run is writing to it.
        """
        if not self.is_local:
            yield
            return
        from filelock import FileLock, Timeout

        with self._using():
            os.makedirs(self._top, exist_ok=True)
            lock = FileLock(self._path("_lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise OptionError(
                    f"{self.location}: another run is writing it; wait for it, or write somewhere else"
                ) from None
        try:
            yield
        finally:
            lock.release()

    def _get(self, name: str) -> bytes:
        def read() -> bytes:
            with self._files.open_input_stream(self._path(name)) as file:
                return bytes(file.read())

        with self._using():
            return retried(read)

    def _path(self, name: str) -> str:
        return f"{self._top}/{name}" if name else self._top

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Turn a failure of the file system into one line that names the folder."""
        try:
            yield
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"{self.location}: cannot be used ({reason_of(error)})") from error
