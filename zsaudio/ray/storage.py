"""Files of any file system that pyarrow knows: local folders, ``s3://``, ``gs://`` and others."""

import os
import random
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote

from zsaudio.errors import AudioError, MissingExtraError, OptionError, install_command

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

T = TypeVar("T")
TRIES = 4
_FIRST_WAIT_S = 0.5
_MOST_S = 20  # of retries inside a file system
_FOR_GOOD = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
_REFUSED = (
    "access_denied",
    "access denied",
    "credential",
    "access token",
    "forbidden",
    "invalid_access_key",
    "unauthorized",
)


def open_location(location: str | os.PathLike[str]) -> tuple["FileSystem", str]:
    """Return the file system of a path or URL, and the path on it.

    Raises
    ------
    OptionError
        If there is no such file system.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.fs import FileSystem, LocalFileSystem
    except ImportError as error:
        raise MissingExtraError(f"URLs need pyarrow: {install_command('ray')}") from error

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
    if is_refused(error):
        return (
            "access denied: give credentials, for s3:// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "for gs:// GOOGLE_APPLICATION_CREDENTIALS"
        )
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:200] + "..."
