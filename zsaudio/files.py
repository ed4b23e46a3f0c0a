"""Files: written completely or not at all, tables of text, and the folder of caches."""

import csv
import os
import secrets
from pathlib import Path, PurePath

import platformdirs

from zsaudio.errors import DataError

_LISTS = (".parquet", ".csv", ".tsv", ".txt")
PARTIAL = ".partial"  # how the names of files end that are being written


def kind_of_list(name: str) -> str:
    """Return how the name of a list of recordings ends, a path's or a URL's; "" for anything else."""
    suffix = PurePath(name.partition("?")[0]).suffix.lower()
    return suffix if suffix in _LISTS else ""


def cache_folder() -> Path:
    """Return the folder of everything zsaudio caches: ``$ZSAUDIO_CACHE``, else the user's cache folder."""
    return Path(os.environ.get("ZSAUDIO_CACHE") or platformdirs.user_cache_dir("zsaudio"))


def write_atomically(path: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Write a file that always holds either its old content or all of the new one.

    Parameters
    ----------
    path
        The file; its folder is made if need be.
    content
        Bytes, or text that is written as UTF-8.
    durable
        Force the content, and the file's name, to disk, so that they survive a loss of power.

    Raises
    ------
    OSError
        If it cannot be written; the file then is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")  # other processes have their own
    try:
        with partial.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Force the names of a folder's files to disk, where folders can be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_table(path: str | os.PathLike[str]) -> list[list[str]]:
    """Return the rows of a CSV or TSV file, without blank ones; the first is the header.

    The separator is a tab if the first line has one, else a comma.

    Raises
    ------
    DataError
        If the file cannot be read, or is not a table of text in UTF-8.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            separator = "\t" if "\t" in file.readline() else ","
            file.seek(0)
            return [row for row in csv.reader(file, delimiter=separator) if any(cell.strip() for cell in row)]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a table of text, or not in UTF-8") from error
