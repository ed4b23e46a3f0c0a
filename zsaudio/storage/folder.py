"""A folder that results are written to, on any file system: whole files, moved, listed and removed."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zsaudio.errors import OptionError, OutputError, ZsaudioError
from zsaudio.files import PARTIAL, sync_folder, write_atomically
from zsaudio.storage.locations import open_location, reason_of, retried

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

REQUESTS = 16  # at a time


class Folder:
    """A folder of results.

    Parameters
    ----------
    location
        A local folder, or a URL that ``pyarrow.fs`` or ``fsspec`` takes.
    error
        What is raised where the file system fails.

    Raises
    ------
    OptionError
        If there is no such file system.
    """

    def __init__(self, location: str, error: type[ZsaudioError] = OutputError) -> None:
        self.location, self._error = location, error
        self._files, self._top = open_location(location)
        from pyarrow.fs import LocalFileSystem

        self.is_local = isinstance(self._files, LocalFileSystem)

    def names(self, under: str = "") -> list[str]:
        """Return the names of the files in a folder in it, in order; none where there is no such folder."""
        names = (info.base_name for info in self._infos(under))
        return sorted(name for name in names if not name.endswith(PARTIAL))

    def n_bytes(self, under: str = "") -> int:
        """Return how much the files in a folder in it take."""
        return sum(info.size or 0 for info in self._infos(under))

    def has(self, name: str) -> bool:
        """Return whether there is a file."""
        from pyarrow.fs import FileType

        with self._using():
            info = retried(lambda: self._files.get_file_info(self.path_of(name)))
        return bool(info.type == FileType.File)

    def read(self, name: str) -> bytes:
        """Return the content of a file."""

        def get() -> bytes:
            with self._files.open_input_stream(self.path_of(name)) as file:
                return bytes(file.read())

        with self._using():
            return retried(get)

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yield the content of files, several of which are read at a time."""
        with ThreadPoolExecutor(REQUESTS) as threads:
            yield from threads.map(self.read, names)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        with self._using():
            if self.is_local:
                write_atomically(Path(self.path_of(name)), content, durable=True)
                return

            def put() -> None:  # an object appears when its upload is complete
                with self._files.open_output_stream(self.path_of(name)) as file:
                    file.write(content)

            retried(put)

    def move(self, old: str, new: str) -> None:
        """Rename a file; object stores copy it, and remove the old one."""
        with self._using():
            retried(lambda: self._files.move(self.path_of(old), self.path_of(new)))
        if self.is_local:
            sync_folder(os.path.dirname(self.path_of(new)))

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        with self._using(), ThreadPoolExecutor(REQUESTS) as threads:
            list(threads.map(lambda name: self._files.delete_file(self.path_of(name)), names))

    def remove_partial(self, under: str = "") -> None:
        """Remove what writers that were killed left in a folder in it."""
        names = (info.base_name for info in self._infos(under))
        self.remove(f"{under}/{name}".lstrip("/") for name in names if name.endswith(PARTIAL))

    def remove_folder(self, name: str) -> None:
        """Remove a folder and what is in it, if it is there."""
        with self._using():
            try:
                self._files.delete_dir(self.path_of(name))
            except FileNotFoundError:
                return

    @contextmanager
    def locked(self, name: str = "_lock") -> Iterator[None]:
        """Keep other runs out of a local folder, by a file in it; object stores have no locks.

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
            lock = FileLock(self.path_of(name))
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

    def path_of(self, name: str) -> str:
        """Return where a file is on the file system."""
        return f"{self._top}/{name}" if name else self._top

    def _infos(self, under: str) -> "list[FileInfo]":
        """Return the files in a folder in it."""
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self.path_of(under), allow_not_found=True)
        with self._using():
            infos = retried(lambda: self._files.get_file_info(selector))
        return [info for info in infos if info.type == FileType.File]

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Turn a failure of the file system into one line that names the folder."""
        try:
            yield
        except ZsaudioError:
            raise
        except OSError as error:
            raise self._error(f"{self.location}: cannot be used ({reason_of(error)})") from error
