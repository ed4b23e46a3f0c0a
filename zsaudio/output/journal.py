"""The journal of a long run, with which an interrupted run goes on.

When a recording is done, its text is written and forced to disk, and then a line of the journal is. Whenever
a run is killed, the journal names only recordings whose text is complete; what follows in a combined output
is cut off when the run goes on. So no result is lost and none is repeated.

The journal is JSON lines: first the settings of the run, which must be the same when it goes on, then one
line for each recording that is done. One that failed has none, so it is tried again.

The journal is also the lock of its output: a run holds a lock of the operating system on it, which ends with
the process however that ends.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from zsaudio.errors import OptionError, OutputError, ZsaudioError

_LOCKED_BYTE = 2**40  # on Windows a locked byte cannot be read: lock one far behind the text
_TYPES: dict[str, Any] = {"path": str, "target": str, "error": str, "seconds": (int, float)}  # others: int


@dataclass(frozen=True)
class Entry:
    """A recording that is done.

    Parameters
    ----------
    path
        Its absolute path.
    size, mtime_ns
        Its size and time of change, to know whether it has changed since.
    n_bytes, n_items, seconds
        Length of the combined output up to and with this recording, the number of events or tags in it, and
        the total length of its recordings.
    target
        File of its results, relative to the output folder.
    error
        What is missing of its results: why the recording could not be read to its end.
    """

    path: str
    size: int
    mtime_ns: int
    n_bytes: int = 0
    n_items: int = 0
    seconds: float = 0.0
    target: str = ""
    error: str = ""


class Journal:
    """What a run has done so far, and the lock on its output.

    Parameters
    ----------
    path
        The journal's file.
    output
        The file or folder that the journal belongs to; named in messages.
    settings
        Everything that the results depend on, besides the recordings.
    resume
        Go on where the journal of an earlier run ends, if there is one.
    overwrite
        Start anew although there is a journal.

    Attributes
    ----------
    exists
        Whether an earlier run left a journal.

    Raises
    ------
    OptionError
        If another run holds the lock; there is a journal, and neither ``resume`` nor ``overwrite`` says what
        to do with it; the earlier run had other settings; or the journal is damaged.
    OutputError
        If the journal cannot be written.
    """

    def __init__(
        self,
        path: Path,
        output: Path,
        settings: dict[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self._path, self._started = path, False
        self._settings = json.loads(json.dumps(settings))  # as read back: tuples become lists
        self._entries: dict[str, Entry] = {}
        with writing(output, OptionError):
            self._file = _open_locked(path, output)
        try:
            self.exists = os.fstat(self._file.fileno()).st_size > 0
            lines = [] if overwrite else self._read_lines()
            if lines and not resume:
                raise OptionError(
                    f"{output}: an earlier run wrote it; --resume goes on with it, --overwrite starts again"
                )
            if lines:
                self._go_on(lines)
        except BaseException:
            self._file.close()
            raise

    @property
    def entries(self) -> dict[str, Entry]:
        """The recordings that are done, by absolute path, in the order in which they were added."""
        return self._entries

    @property
    def last(self) -> Entry | None:
        """The entry that was added last."""
        return next(reversed(self._entries.values()), None)

    def start(self) -> None:
        """Bring the file up to date: settings and entries, without a line that was cut off."""
        self._started = True
        with writing(self._path):
            if not self._entries:
                self._file.truncate(0)
                append(self._file, (json.dumps(self._settings) + "\n").encode())
            else:
                self._file.truncate(self._whole)

    def close(self) -> None:
        """Release the lock; leave no file behind if the run never started."""
        if self._file.closed:
            return
        if not self._started and not self.exists:
            with suppress(OSError):  # Windows removes no open file; an empty one does no harm
                self._path.unlink()
        self._file.close()

    def entry(self, path: str) -> Entry | None:
        """Return the entry of a recording that is done and has not changed since."""
        entry = self._entries.get(os.path.abspath(path))
        return entry if entry and (entry.size, entry.mtime_ns) == _state(path) else None

    def is_changed(self, path: str) -> bool:
        """Return whether a recording is done, but has changed since."""
        return os.path.abspath(path) in self._entries and self.entry(path) is None

    def add(
        self,
        path: str,
        n_bytes: int = 0,
        n_items: int = 0,
        seconds: float = 0.0,
        target: str = "",
        error: str = "",
    ) -> None:
        """Note that a recording is done; its text must be on disk by now."""
        entry = Entry(os.path.abspath(path), *_state(path), n_bytes, n_items, seconds, target, error)
        with writing(self._path):
            append(self._file, (json.dumps(asdict(entry)) + "\n").encode())
        self._entries.pop(entry.path, None)
        self._entries[entry.path] = entry

    def _read_lines(self) -> list[Any]:
        """Return what the lines hold, and note where they end; a last line that was cut off is ignored."""
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        self._whole = 0
        parsed = []
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                parsed.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                if number == len(lines):
                    break
                raise self._damaged(number) from error
            self._whole += len(line)
        return parsed

    def _go_on(self, lines: list[Any]) -> None:
        """Take over the entries of an earlier run."""
        earlier, *entries = lines
        if not isinstance(earlier, dict):
            raise self._damaged(1)
        for name in sorted({*self._settings, *earlier}):
            if self._settings.get(name) != earlier.get(name):
                raise OptionError(
                    f"{self._path}: the earlier run had other settings ({name}): repeat them, or start again "
                    "with --overwrite"
                )
        n_bytes = 0
        for number, values in enumerate(entries, start=2):
            try:
                entry = Entry(**values)
            except TypeError as error:
                raise self._damaged(number) from error
            right = all(isinstance(value, _TYPES.get(name, int)) for name, value in asdict(entry).items())
            outside = Path(entry.target).is_absolute() or ".." in Path(entry.target).parts
            if not right or entry.n_bytes < n_bytes or outside:
                raise self._damaged(number)
            n_bytes = entry.n_bytes
            self._entries.pop(entry.path, None)
            self._entries[entry.path] = entry

    def _damaged(self, number: int) -> OptionError:
        return OptionError(f"{self._path}: line {number} is damaged; start again with --overwrite")


@contextmanager
def writing(path: Path | str, error_type: type[ZsaudioError] = OutputError) -> Iterator[None]:
    """Turn a failure to write into one line that names the file."""
    try:
        yield
    except (BrokenPipeError, ZsaudioError):  # a reader that has left is no failure
        raise
    except OSError as error:
        raise error_type(f"{path}: cannot be written ({error.strerror or error})") from error


def append(file: IO[bytes], data: bytes) -> None:
    """Append to an unbuffered file and force it to disk; append nothing if that fails."""
    size = file.seek(0, os.SEEK_END)
    try:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())
    except BaseException:
        file.truncate(size)
        raise


def _open_locked(path: Path, output: Path) -> IO[bytes]:
    """Open a file for reading and appending, as the only process that does."""
    while True:
        file = path.open("a+b", buffering=0)
        try:
            locked = _lock(file)
            if not locked:
                raise OptionError(
                    f"{output}: another run is writing it; wait for it, or write somewhere else"
                )
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # a run that ended just now has removed it


def _lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed; return False if another process has locked it."""
    try:
        import fcntl
    except ImportError:
        return _lock_windows(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _lock_windows(file: IO[bytes]) -> bool:
    import msvcrt

    file.seek(_LOCKED_BYTE)
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    return True


def _state(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:  # standard input
        return 0, 0
    return status.st_size, status.st_mtime_ns
