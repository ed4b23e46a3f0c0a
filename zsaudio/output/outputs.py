"""Where the events of many recordings go: one file, or a folder that mirrors theirs; and what failed."""

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from zsaudio.errors import OptionError
from zsaudio.output.event_writers import EventFormat, Place
from zsaudio.output.journal import Entry, Journal, replace_file, to_disk
from zsaudio.results import ClipEvents

_FAILURES_HEADER = "file,error\n"


class StreamOutput:
    """The events of all recordings on an open text stream, such as stdout."""

    def __init__(self, file: TextIO, form: EventFormat, clock: bool) -> None:
        self._file, self._form, self._place = file, form, Place(clock=clock)
        file.write(form.header(self._place))

    def is_done(self, path: str) -> bool:
        """Tell whether an earlier run did this recording: what streams is not kept."""
        return False

    def write(self, path: str, clip: ClipEvents) -> None:
        """Write the events of one recording."""
        self._file.write(self._form.write(clip, self._place))
        self._file.flush()
        n_events, seconds = self._place.n_events + len(clip.events), self._place.seconds + clip.duration_s
        self._place = replace(self._place, n_events=n_events, seconds=seconds)

    def close(self) -> None:
        """Leave the stream open: it belongs to the caller."""
        self._file.flush()


class CombinedOutput:
    """One file for the events of all recordings, which grows by whole recordings.

    Parameters
    ----------
    path, form, clock
        Where to write, in what format, and whether with times of day.
    settings, resume
        See ``Journal``; it lies beside the file, under its name and ``.journal``.

    Raises
    ------
    OptionError
        If the file cannot be written, or does not belong to its journal.
    """

    def __init__(
        self, path: Path, form: EventFormat, clock: bool, settings: dict[str, Any], resume: bool
    ) -> None:
        journal_path = path.with_name(path.name + ".journal")
        self._form, self._clock = form, clock
        with _naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(journal_path, settings, resume)
            last = self._journal.last
            if last is None:
                journal_path.unlink(missing_ok=True)  # first, so that it never speaks of another file
                path.write_bytes(form.header(Place(clock=clock)).encode())
            elif not path.exists() or path.stat().st_size < last.n_bytes:
                raise OptionError(f"{path}: is shorter than its journal says; start again without --resume")
            else:
                os.truncate(path, last.n_bytes)
            self._file = path.open("ab")
            self._journal.start()

    def is_done(self, path: str) -> bool:
        """Tell whether an earlier run did this recording."""
        if self._journal.is_changed(path):
            raise OptionError(f"{path}: has changed since its events were written; start without --resume")
        return self._journal.is_done(path)

    def write(self, path: str, clip: ClipEvents) -> None:
        """Write the events of one recording."""
        last = self._journal.last or Entry("", 0, 0)
        place = Place(last.n_events, last.seconds, self._clock)
        self._file.write(self._form.write(clip, place).encode())
        to_disk(self._file)
        self._journal.add(
            path, self._file.tell(), last.n_events + len(clip.events), last.seconds + clip.duration_s
        )

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        self._journal.close()


class FolderOutput:
    """A file of events for each recording, in a folder that mirrors theirs.

    Parameters
    ----------
    folder, form, clock
        Where to write, in what format, and whether with times of day.
    targets
        File of each recording, relative to the folder.
    settings, resume
        See ``Journal``; it is the folder's ``journal.jsonl``.
    """

    def __init__(
        self,
        folder: Path,
        form: EventFormat,
        clock: bool,
        targets: dict[str, Path],
        settings: dict[str, Any],
        resume: bool,
    ) -> None:
        self._folder, self._form, self._place, self._targets = folder, form, Place(clock=clock), targets
        with _naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(folder / "journal.jsonl", settings, resume)
            self._journal.start()

    def is_done(self, path: str) -> bool:
        """Tell whether an earlier run did this recording."""
        return self._journal.is_done(path) and (self._folder / self._targets[path]).exists()

    def write(self, path: str, clip: ClipEvents) -> None:
        """Write the events of one recording."""
        target = self._folder / self._targets[path]
        with _naming(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, self._form.header(self._place) + self._form.write(clip, self._place))
        self._journal.add(path)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


class Failures:
    """``failures.csv``: the recordings that failed and why, each named as soon as it fails.

    There is such a file only where something failed; one that an earlier run left is removed.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "failures.csv"
        try:
            with self._path.open(encoding="utf-8") as file:
                stale = file.readline() == _FAILURES_HEADER
        except (OSError, UnicodeDecodeError):
            stale = False
        if stale:
            self._path.unlink()

    def add(self, path: str, reason: str) -> None:
        """Name a recording that failed."""
        with _naming(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = not self._path.exists()
            with self._path.open("a", encoding="utf-8", newline="") as file:
                if new:
                    file.write(_FAILURES_HEADER)
                csv.writer(file, lineterminator="\n").writerow([path, " ".join(reason.split())])
                to_disk(file)


def mirrored(paths: Sequence[str], folders: Sequence[str], suffix: str) -> dict[str, Path]:
    """Return for each recording the file of its events, in a tree that mirrors the recordings'.

    Parameters
    ----------
    paths
        The recordings, each once.
    folders
        The folders among what the user named: the tree begins at what they and the recordings have in common.
    suffix
        Of the files of events. It takes the place of the recording's own, unless two would then be the same.

    Examples
    --------
    >>> targets = mirrored(["in/a/x.wav", "in/b/x.wav", "in/b/x.mp3"], ["in"], ".csv")
    >>> [target.as_posix() for target in targets.values()]
    ['a/x.csv', 'b/x.wav.csv', 'b/x.mp3.csv']
    """
    roots = [os.path.abspath(folder) for folder in folders]
    roots += [os.path.dirname(os.path.abspath(path)) for path in paths]
    top = os.path.commonpath(roots)
    whole = {path: Path(os.path.relpath(os.path.abspath(path), top)) for path in paths}
    shared = Counter(target.with_suffix("") for target in whole.values())
    return {
        path: target.with_name((target.name if shared[target.with_suffix("")] > 1 else target.stem) + suffix)
        for path, target in whole.items()
    }


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what the system says of a file that cannot be written into one line."""
    try:
        yield
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror or error})") from error
