"""Where the results of many recordings go: a stream, one file, or a folder that mirrors theirs; what failed.

An output is opened, then started, then written recording by recording, then closed. Opening checks and locks
it and changes nothing, so that a run that cannot begin leaves everything as it was.
"""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Generic, TextIO

from zsaudio.errors import OptionError, OutputError
from zsaudio.files import write_atomically
from zsaudio.output.formats import Clip, Format, Place, n_items
from zsaudio.output.journal import Entry, Journal, append, writing
from zsaudio.output.text import encoded, table_rows

JOURNAL = "journal.jsonl"  # in an output folder
FAILURES = "failures.csv"
_FAILURES_HEADER = "file,error\n"


class Output(Generic[Clip]):
    """What all outputs have in common."""

    def earlier(self, path: str) -> Entry | None:
        """Return what an earlier run that goes on noted of a recording; None if it is to be done."""
        return None

    def start(self) -> None:
        """Begin to write."""
        raise NotImplementedError

    def write(self, path: str, clip: Clip) -> None:
        """Write the results of one recording, as far as it could be read."""
        raise NotImplementedError

    def fail(self, clip: Clip) -> None:
        """Note a recording without results, in the formats that name it."""

    def close(self) -> None:
        """End the output; it is complete with what was written so far."""
        raise NotImplementedError


class StreamOutput(Output[Clip]):
    """The results of all recordings on an open text stream, such as stdout.

    Parameters
    ----------
    file
        The stream; it is left open.
    form, place
        The format, and how it is written.
    name
        What messages call the stream.
    """

    def __init__(self, file: TextIO, form: Format[Clip], place: Place, name: str = "standard output") -> None:
        self._file, self._form, self._place, self._name = file, form, place, name
        self._started = False

    def start(self) -> None:
        """Write the header."""
        self._started = True
        self._write(self._form.header(self._place))

    def write(self, path: str, clip: Clip) -> None:
        """Write the results of one recording."""
        self._write(self._form.write(clip, self._place))
        self._place = place_after(self._place, clip)

    def fail(self, clip: Clip) -> None:
        """Note a recording without results."""
        if self._form.failure:
            self._write(self._form.failure(clip, self._place))
            self._place = place_after(self._place, clip)

    def close(self) -> None:
        """Write the footer."""
        if self._started:
            self._started = False
            self._write(self._form.footer(self._place))

    def _write(self, text: str) -> None:
        try:
            with writing(self._name):
                self._file.write(text)
                self._file.flush()
        except OutputError:
            self._started = False  # no footer after what is missing
            raise


class CombinedOutput(Output[Clip]):
    """One file for the results of all recordings, which grows by whole recordings.

    Parameters
    ----------
    path
        The file. Its journal lies beside it, under its name and ``.journal``.
    form, place
        The format, and how it is written.
    settings, resume, overwrite
        See ``Journal``. Without ``overwrite``, a file that no journal belongs to is not replaced either.

    Raises
    ------
    OptionError
        If there is a file and no word on what to do with it, another run is writing it, it does not belong to
        its journal, or it cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        form: Format[Clip],
        place: Place,
        settings: dict[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self._path, self._form, self._place = path, form, place
        self._file: IO[bytes] | None = None
        self._failed: list[Clip] = []
        with writing(path, OptionError):
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise OptionError(f"{path}: is a folder; name a file")
        journal = path.with_name(path.name + ".journal")
        self._journal = Journal(journal, path, settings, resume=resume, overwrite=overwrite)
        try:
            size = path.stat().st_size if path.exists() else 0
            last = self._journal.last
            if last is not None and size < last.n_bytes:
                raise OptionError(f"{path}: is shorter than its journal says; start again with --overwrite")
            if size and not overwrite and not self._journal.exists:
                raise OptionError(f"{path}: exists; --overwrite replaces it")
        except BaseException:
            self._journal.close()
            raise

    def earlier(self, path: str) -> Entry | None:
        """Return what an earlier run noted of this recording."""
        if self._journal.is_changed(path):
            raise OptionError(
                f"{path}: has changed since its results were written; start again with --overwrite"
            )
        return self._journal.entry(path)

    def start(self) -> None:
        """Write the header, or cut off what the journal does not name."""
        self._journal.start()  # first: a new journal names nothing, whatever the file still holds
        last = self._journal.last
        with writing(self._path):
            self._file = self._path.open("ab", buffering=0)
            self._file.truncate(last.n_bytes if last else 0)
            if last is None:
                append(self._file, encoded(self._form.header(self._place)))

    def write(self, path: str, clip: Clip) -> None:
        """Write the results of one recording."""
        assert self._file is not None
        place = self._now()
        with writing(self._path):
            append(self._file, encoded(self._form.write(clip, place)))
        after = place_after(place, clip)
        error = str(clip.error) if clip.error is not None else ""
        self._journal.add(path, self._file.tell(), after.n_items, after.seconds, error=error)

    def fail(self, clip: Clip) -> None:
        """Note a recording without results; it is named at the end, so that a resumed run can retry it."""
        if self._form.failure:
            self._failed.append(clip)

    def close(self) -> None:
        """Cut off what is not complete, write the end, and close the files."""
        try:
            if self._file is not None:
                with self._file, writing(self._path):
                    self._end(self._file)
        finally:
            self._file = None
            self._journal.close()

    def _end(self, file: IO[bytes]) -> None:
        if (last := self._journal.last) is not None:
            file.truncate(last.n_bytes)
        place, text = self._now(), ""
        for clip in self._failed:
            assert self._form.failure is not None
            text += self._form.failure(clip, place)
            place = place_after(place, clip)
        append(file, encoded(text + self._form.footer(place)))

    def _now(self) -> Place:
        last = self._journal.last or Entry("", 0, 0)
        n_clips = len(self._journal.entries)
        return replace(self._place, n_clips=n_clips, n_items=last.n_items, seconds=last.seconds)


class FolderOutput(Output[Clip]):
    """A file of results for each recording, in a folder that mirrors theirs.

    Parameters
    ----------
    folder
        The folder. Its journal is ``journal.jsonl`` in it.
    form, place
        The format, and how it is written.
    paths, folders
        The recordings, and the folders among the inputs; see ``mirrored``.
    settings, resume, overwrite
        See ``Journal``. Without ``overwrite``, files that no journal belongs to are not replaced either.
    """

    def __init__(
        self,
        folder: Path,
        form: Format[Clip],
        place: Place,
        paths: Sequence[str],
        folders: Sequence[str],
        settings: dict[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self._folder, self._form, self._place = folder, form, place
        with writing(folder, OptionError):
            folder.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(folder / JOURNAL, folder, settings, resume=resume, overwrite=overwrite)
        try:
            known = {entry.path: Path(entry.target) for entry in self._journal.entries.values()}
            new = [path for path in paths if os.path.abspath(path) not in known]
            taken = {JOURNAL, FAILURES, *(target.as_posix() for target in known.values())}
            self._targets = {path: known[os.path.abspath(path)] for path in paths if path not in new}
            self._targets |= mirrored(new, folders, form.suffix, taken)
            inputs = set(map(os.path.abspath, paths))
            for path in new:
                self._check_new(self._folder / self._targets[path], inputs, overwrite)
        except BaseException:
            self._journal.close()
            raise

    def earlier(self, path: str) -> Entry | None:
        """Return what an earlier run noted of this recording, if its file is still there."""
        entry = self._journal.entry(path)
        return entry if entry and (self._folder / self._targets[path]).exists() else None

    def start(self) -> None:
        """Write the journal, and remove what a run that was killed left half written."""
        self._journal.start()
        targets = {self._folder / target for target in self._targets.values()}
        for partial in self._folder.rglob("*.????????.partial"):
            if partial.with_suffix("").with_suffix("") in targets:
                partial.unlink(missing_ok=True)

    def write(self, path: str, clip: Clip) -> None:
        """Write the results of one recording."""
        target = self._folder / self._targets[path]
        place = replace(self._place, n_clips=0)
        with writing(target):
            text = self._form.header(place) + self._form.write(clip, place)
            text += self._form.footer(place_after(place, clip))
            write_atomically(target, encoded(text), durable=True)
        error = str(clip.error) if clip.error is not None else ""
        self._journal.add(path, target=self._targets[path].as_posix(), error=error)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _check_new(self, target: Path, inputs: set[str], overwrite: bool) -> None:
        if not target.exists():
            return
        if not overwrite and not self._journal.exists:
            raise OptionError(f"{target}: exists; --overwrite replaces it")
        if os.path.abspath(target) in inputs:
            raise OptionError(f"{target}: is one of the inputs; choose another folder for --output-dir")


class Failures:
    """A table of the recordings that failed and why, each named as soon as it fails.

    The file is there only where something failed; one that an earlier run left is removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open(encoding="utf-8") as file:
                stale = file.readline() == _FAILURES_HEADER
        except (OSError, UnicodeDecodeError):
            stale = False
        if stale:
            path.unlink()

    def add(self, path: str, reason: str) -> None:
        """Name a recording that failed."""
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                header = "" if file.seek(0, os.SEEK_END) else _FAILURES_HEADER
                append(file, encoded(header + table_rows([[path, " ".join(reason.split())]], ",")))


def mirrored(
    paths: Sequence[str], folders: Sequence[str], suffix: str, taken: Collection[str] = ()
) -> dict[str, Path]:
    """Return for each recording the file of its results, in a tree that mirrors the recordings'.

    Parameters
    ----------
    paths
        The recordings, each once.
    folders
        The folders among the inputs: the tree begins at what they and the recordings have in common.
    suffix
        Suffix of the files of results. It replaces the recording's own, unless two recordings, or a recording
        and a name that is taken, would then have the same file.
    taken
        Names that no recording may get, with ``/`` between folders.

    Examples
    --------
    >>> targets = mirrored(["in/a/x.wav", "in/b/x.wav", "in/b/x.mp3"], ["in"], ".csv")
    >>> [target.as_posix() for target in targets.values()]
    ['a/x.csv', 'b/x.wav.csv', 'b/x.mp3.csv']
    """
    if not paths:
        return {}
    roots = [os.path.abspath(folder) for folder in folders]
    roots += [os.path.dirname(os.path.abspath(path)) for path in paths]
    top = os.path.commonpath(roots)
    whole = {path: Path(os.path.relpath(os.path.abspath(path), top)) for path in paths}
    # Names that differ in case only are the same file on some systems.
    used = {name.casefold() for name in taken}
    long = {path: target.with_name(target.name + suffix) for path, target in whole.items()}
    short = {path: target.with_name(target.stem + suffix) for path, target in whole.items()}
    shared = Counter(_key(target) for target in short.values())
    long_names = Counter(_key(target) for target in long.values())
    targets = {}
    for path in paths:
        key = _key(short[path])
        is_free = shared[key] == 1 and key not in used and (not long_names[key] or key == _key(long[path]))
        target = short[path] if is_free else long[path]
        number = 1
        while _key(target) in used:
            number += 1
            target = long[path].with_name(f"{whole[path].name}~{number}{suffix}")
        used.add(_key(target))
        targets[path] = target
    return targets


def _key(target: Path) -> str:
    return target.as_posix().casefold()


def place_after(place: Place, clip: Clip) -> Place:
    """Return the place behind a recording."""
    return replace(
        place,
        n_clips=place.n_clips + 1,
        n_items=place.n_items + n_items(clip),
        seconds=place.seconds + clip.duration_s,
    )
