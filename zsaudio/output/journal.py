"""The journal of a long run, by which it goes on after it was interrupted.

As each recording ends, its text is written and forced to disk, and then a line of the journal is. Whatever
moment a run is killed at, the journal names only recordings whose text is whole; what follows in a combined
output is cut off when the run goes on. So no event is lost and none is repeated.

The journal is JSON lines: first the settings of the run, which must be the same when it goes on; then one
line for each recording. One that failed has none, so it is tried again.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from zsaudio.errors import OptionError


@dataclass(frozen=True)
class Entry:
    """A recording that is done.

    ``size`` and ``mtime_ns`` tell whether it has changed since; ``n_bytes`` is the length of the combined
    output with it, ``n_events`` and ``seconds`` what that output holds.
    """

    path: str
    size: int
    mtime_ns: int
    n_bytes: int = 0
    n_events: int = 0
    seconds: float = 0.0


class Journal:
    """What a run has done so far.

    Parameters
    ----------
    path
        The journal's file.
    settings
        All that the results depend on, besides the recordings.
    resume
        Go on where the journal of an earlier run ends, if there is one.

    Raises
    ------
    OptionError
        If the earlier run had other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any], resume: bool) -> None:
        self._path = path
        self._entries: dict[str, Entry] = {}
        self._settings = json.loads(json.dumps(settings))  # as read back: tuples become lists
        if resume and path.exists():
            earlier, *entries = _whole_lines(path) or [self._settings]
            for name in sorted({*self._settings, *earlier}):
                if self._settings.get(name) != earlier.get(name):
                    raise OptionError(
                        f"{path}: the interrupted run had other settings ({name}): "
                        "repeat them, or start again without --resume"
                    )
            self._entries = {entry["path"]: Entry(**entry) for entry in entries}

    @property
    def last(self) -> Entry | None:
        """The entry that was added last."""
        return next(reversed(self._entries.values()), None)

    def start(self) -> None:
        """Write the journal anew, without a line that was cut off, and keep it open for more."""
        lines = [self._settings, *map(asdict, self._entries.values())]
        replace_file(self._path, "".join(json.dumps(line) + "\n" for line in lines))
        self._file = self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def is_done(self, path: str) -> bool:
        """Tell whether a recording is done and has not changed since."""
        entry = self._entries.get(os.path.abspath(path))
        return entry is not None and (entry.size, entry.mtime_ns) == _state(path)

    def is_changed(self, path: str) -> bool:
        """Tell whether a recording is done, but has changed since."""
        return os.path.abspath(path) in self._entries and not self.is_done(path)

    def add(self, path: str, n_bytes: int = 0, n_events: int = 0, seconds: float = 0.0) -> None:
        """Note that a recording is done; its text must be on disk by now."""
        entry = Entry(os.path.abspath(path), *_state(path), n_bytes, n_events, seconds)
        self._entries.pop(entry.path, None)
        self._entries[entry.path] = entry
        self._file.write(json.dumps(asdict(entry)) + "\n")
        to_disk(self._file)


def replace_file(path: Path, text: str) -> None:
    """Write a file so that it is always either the old one or the new one, whole."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        to_disk(file)
    partial.replace(path)


def to_disk(file: IO[Any]) -> None:
    """Force what was written to disk."""
    file.flush()
    os.fsync(file.fileno())


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal, up to one that was cut off."""
    lines: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            if not line.endswith("\n"):
                break
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _state(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:  # standard input
        return 0, 0
    return status.st_size, status.st_mtime_ns
