"""Single files, named by a path or a URL: opened, fetched, looked up; errors in a few words."""

import errno
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote

from zsaudio.audio.sources import Source, is_url
from zsaudio.errors import AudioError, MissingExtraError, OptionError, install_command

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

T = TypeVar("T")
TRIES = 4
_FIRST_WAIT_S = 0.5
_MOST_S = 20  # of retries inside a file system
_FOR_GOOD = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_REFUSED = (
    "access_denied",
    "access denied",
    "credential",
    "access token",
    "forbidden",
    "invalid_access_key",
    "unauthorized",
)


def require_pyarrow(what: str) -> None:
    """Raise MissingExtraError, which says what needs it, where pyarrow or filelock is not installed."""
    try:
        import filelock  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"{what} need pyarrow: {install_command('archive')}") from error


def open_location(location: str | os.PathLike[str]) -> tuple["FileSystem", str]:
    """Return the file system of a path or URL, and the path on it.

    Raises
    ------
    OptionError
        If there is no such file system.
    """
    require_pyarrow("URLs")
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem, LocalFileSystem

    text = os.fspath(location)
    if "://" not in text:
        return LocalFileSystem(), os.path.abspath(text).replace(os.sep, "/")
    try:
        files, path = FileSystem.from_uri(_with_limit(quote(text, safe="%/:@?=&")))
    except (ArrowException, OSError) as error:
        other = _of_fsspec(text)
        if other is None:
            raise OptionError(f"{text}: cannot be opened ({reason_of(error)})") from error
        files, path = other
    return files, path.rstrip("/")


def _with_limit(url: str) -> str:
    """Return a URL with a limit on retries where pyarrow would go on for a quarter of an hour."""
    if not url.startswith(("gs://", "gcs://")) or "retry_limit_seconds" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}retry_limit_seconds={_MOST_S}"


def _of_fsspec(url: str) -> tuple["FileSystem", str] | None:
    """Return what ``fsspec`` knows by a URL that pyarrow does not know; None: nothing."""
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(url)
    except (ImportError, OSError, ValueError):
        return None
    return PyFileSystem(FSSpecHandler(files)), path


@lru_cache(maxsize=256)
def _open_folder(url: str) -> tuple["FileSystem", str]:
    return open_location(url)


def open_file(url: str) -> tuple["FileSystem", str]:
    """Return what ``open_location`` does for a file; connections are kept for the files of a folder.

    A name of a file may be written as it is, or as in a URL, with ``%20`` for a space.
    """
    if "://" not in url:
        return open_location(url)
    whole, mark, query = url.partition("?")
    folder, _, name = whole.rpartition("/")
    files, path = _open_folder(folder + mark + query)
    return files, f"{path}/{unquote(name)}"


def fetch(url: str) -> bytes:
    """Return the content of a file; what fails for a moment only is tried again.

    Raises
    ------
    AudioError
        If it cannot be read.
    """
    try:
        files, path = open_file(url)

        def read() -> bytes:
            with files.open_input_stream(path) as file:
                return bytes(file.read())

        return retried(read)
    except FileNotFoundError as error:
        raise AudioError(f"{url}: no such file") from error
    except OSError as error:
        raise AudioError(f"{url}: cannot be read ({reason_of(error)})") from error
    except OptionError as error:
        raise AudioError(str(error)) from error


@dataclass(frozen=True)
class Remote:
    """A recording behind a URL, as a source: it is fetched where it is read, in the thread that reads it."""

    name: str

    def __call__(self) -> Source:
        """Return its content."""
        return {"bytes": fetch(self.name), "path": self.name}


def source_at(location: str) -> Source:
    """Return a recording as a source, whether a path or a URL names it."""
    return Remote(location) if is_url(location) else location


def state_of(location: str) -> tuple[int, int]:
    """Return size and time of change of a file in ns, by which a change is noticed; zeros if it has none."""
    try:
        if not is_url(location):
            status = os.stat(location)
            return status.st_size, status.st_mtime_ns
        files, path = open_file(location)
        info = files.get_file_info(path)
    except (OSError, ValueError):  # reading it says why
        return 0, 0
    return info.size or 0, info.mtime_ns or 0


def exists(location: str) -> bool:
    """Return whether there is a file.

    Raises
    ------
    AudioError
        If that cannot be found out.
    """
    if not is_url(location):
        return os.path.exists(location)
    from pyarrow.fs import FileType

    try:
        files, path = open_file(location)
        return bool(retried(lambda: files.get_file_info(path)).type != FileType.NotFound)
    except (OSError, OptionError) as error:
        raise AudioError(f"{location}: cannot be looked up ({reason_of(error)})") from error


def retried(do: Callable[[], T], tries: int = TRIES) -> T:
    """Return what ``do`` returns; after an error of the file system that may pass, wait and do it again.

    The waits double, with some chance in them, so that many processes do not all come back at once.
    """
    for number in range(tries):
        try:
            return do()
        except OSError as error:
            passes = not isinstance(error, _FOR_GOOD) and not is_refused(error)
            if number + 1 == tries or not passes:
                raise
            time.sleep(_FIRST_WAIT_S * 2**number * random.uniform(0.5, 1.5))
    raise AssertionError("tries must be at least 1")


def is_refused(error: Exception) -> bool:
    """Return whether an error means that credentials are missing or not accepted."""
    return isinstance(error, PermissionError) or any(word in str(error).lower() for word in _REFUSED)


def reason_of(error: Exception) -> str:
    """Return an error of a file system as a few words, and what to do where that is known."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    if isinstance(error, PermissionError) and error.strerror:
        return error.strerror  # of this computer
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return "the disk is full; free some space and run it again: what was stored stays"
    if is_refused(error):
        return (
            "access denied: give credentials, for s3:// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "for gs:// GOOGLE_APPLICATION_CREDENTIALS"
        )
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:200] + "..."
