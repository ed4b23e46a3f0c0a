"""Labelled recordings: a CSV, a folder per class, or a public data set as downloaded from its makers.

Conventions: a ``Dataset`` holds one ``Recording`` a file, in the order of its table; class names are in
plain words (underscores become spaces); times are in seconds. Files that are missing and classes without a
recording are left out and listed in ``problems``, a line each. Labels that differ only in case are an error.

A CSV (or TSV) has a header, with a column for the file (``file``, ``filename``, ``path`` or ``fname``,
relative to the table) and one for the label (``label``, ``labels``, ``category``, ``class`` or
``event_label``). A file with several labels has them separated by ``;``, or a row each. ``split`` or
``fold``, ``onset`` and ``offset`` are optional.
"""

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from zsaudio.audio.reader import AUDIO_SUFFIXES
from zsaudio.errors import DataError
from zsaudio.files import read_table
from zsaudio.labels import plain_name

_FILE = ("file", "filename", "path", "fname")
_LABEL = ("label", "labels", "category", "class", "event_label")
_SPLIT = ("split", "fold")
_LISTED = 5  # missing files named one by one before "and N more"


@dataclass(frozen=True)
class Recording:
    """One file and what is heard in it.

    ``split`` is the part of the data set that it belongs to, as text; ``events`` are
    ``(onset, offset, label)`` where the data set knows them.
    """

    path: Path
    labels: tuple[str, ...]
    split: str = ""
    events: tuple[tuple[float, float, str], ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Labelled recordings; ``classes`` are all of its class names, also those without a recording."""

    name: str
    recordings: tuple[Recording, ...]
    classes: tuple[str, ...]
    problems: tuple[str, ...] = ()

    @property
    def is_multi_label(self) -> bool:
        """Whether some recording has not exactly one label."""
        return any(len(recording.labels) != 1 for recording in self.recordings)

    @property
    def has_events(self) -> bool:
        """Whether it is known from when to when something is heard."""
        return any(recording.events for recording in self.recordings)

    def split(self, *names: str) -> "Dataset":
        """Return the recordings of some splits only; all classes stay."""
        known = sorted({recording.split for recording in self.recordings})
        for name in names:
            if name not in known:
                has = "no splits" if known == [""] else f"the splits {', '.join(known)}"
                raise DataError(f"{self.name}: no split '{name}'; it has {has}")
        return replace(self, recordings=tuple(r for r in self.recordings if r.split in names))

    def only(self, classes: Collection[str]) -> "Dataset":
        """Return the recordings whose labels are all among ``classes``, and these classes."""
        return replace(
            self,
            recordings=tuple(r for r in self.recordings if r.labels and set(r.labels) <= set(classes)),
            classes=tuple(name for name in self.classes if name in classes),
        )

    def pick(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the data set's own spelling of class names, or raise ``DataError`` for one it lacks."""
        own = {name.casefold(): name for name in self.classes}
        picked = []
        for name in names:
            if (key := plain_name(name).casefold()) not in own:
                raise DataError(f"{self.name}: no class '{name}'; it has {', '.join(self.classes)}")
            picked.append(own[key])
        return tuple(dict.fromkeys(picked))


def read_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Read a table, a folder per class, or the folder of ESC-50, UrbanSound8K, FSD50K or Speech Commands.

    Raises
    ------
    DataError
        If there is nothing to read, a table lacks a column, or labels differ only in case.
    """
    path = Path(path)
    if path.is_file():
        return _read_table(path)
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder")
    for is_it, read in _MAKERS:
        if is_it(path):
            return read(path)
    return _read_folder(path)


def _read_table(path: Path) -> Dataset:
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path}: holds no rows")
    file, label = _column(rows[0], _FILE, path), _column(rows[0], _LABEL, path)
    split = next((name for name in _SPLIT if name in rows[0]), None)
    timed = "onset" in rows[0] and "offset" in rows[0]
    recordings = []
    for number, row in enumerate(rows, start=2):
        labels = tuple(plain_name(part) for part in (row[label] or "").split(";") if part.strip())
        if not row[file]:
            raise DataError(f"{path}: row {number} names no file")
        events = tuple((*_times(row, path, number), name) for name in labels) if timed else ()
        where = path.parent / row[file]
        recordings.append(Recording(where, labels, (row[split] or "") if split else "", events))
    if not timed and all(not r.labels for r in recordings):
        raise DataError(f"{path}: no row has a label")
    return _dataset(str(path), recordings)


def _times(row: dict[str, str], path: Path, number: int) -> tuple[float, float]:
    try:
        onset, offset = float(row["onset"]), float(row["offset"])
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: row {number}: onset and offset must be seconds") from error
    if not 0 <= onset < offset < float("inf"):
        raise DataError(f"{path}: row {number}: offset {offset:g} must be after onset {onset:g}")
    return onset, offset


def _read_folder(path: Path) -> Dataset:
    recordings, classes, problems = [], [], []
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir() and _shown(entry)):
        files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in AUDIO_SUFFIXES and _shown(f))
        recordings += [Recording(file, (plain_name(folder.name),)) for file in files]
        classes.append(plain_name(folder.name))
        if not files:
            problems.append(f"{folder}: class '{plain_name(folder.name)}' has no recordings")
    if not recordings:
        raise DataError(f"{path}: neither a folder per class with recordings in it, nor a known data set")
    return _dataset(str(path), recordings, classes, problems)


def _read_esc50(path: Path) -> Dataset:
    rows = _rows(path / "meta" / "esc50.csv")
    return _dataset(
        "ESC-50",
        [Recording(path / "audio" / r["filename"], (plain_name(r["category"]),), r["fold"]) for r in rows],
    )


def _read_urbansound8k(path: Path) -> Dataset:
    recordings = []
    for row in _rows(path / "metadata" / "UrbanSound8K.csv"):
        file = path / "audio" / f"fold{row['fold']}" / row["slice_file_name"]
        recordings.append(Recording(file, (plain_name(row["class"]),), row["fold"]))
    return _dataset("UrbanSound8K", recordings)


def _read_fsd50k(path: Path) -> Dataset:
    recordings = []
    for part in ("dev", "eval"):
        table = path / "FSD50K.ground_truth" / f"{part}.csv"
        for row in _rows(table) if table.exists() else []:
            file = path / f"FSD50K.{part}_audio" / f"{row['fname']}.wav"
            labels = tuple(plain_name(name) for name in row["labels"].split(","))
            recordings.append(Recording(file, labels, row.get("split") or "test"))
    return _dataset("FSD50K", recordings)


def _read_speech_commands(path: Path) -> Dataset:
    listed = {}
    for split in ("validation", "testing"):
        lines = (path / f"{split}_list.txt").read_text(encoding="utf-8").split()
        listed.update(dict.fromkeys(lines, split))
    recordings = [
        Recording(file, (folder.name,), listed.get(f"{folder.name}/{file.name}", "training"))
        for folder in sorted(path.iterdir())
        if folder.is_dir() and not folder.name.startswith(("_", "."))
        for file in sorted(folder.glob("*.wav"))
    ]
    return _dataset("Speech Commands", recordings)


# How to tell each public data set by the files that its makers deliver, and its reader.
_MAKERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Dataset]], ...] = (
    (lambda path: (path / "meta" / "esc50.csv").is_file(), _read_esc50),
    (lambda path: (path / "metadata" / "UrbanSound8K.csv").is_file(), _read_urbansound8k),
    (lambda path: (path / "FSD50K.ground_truth").is_dir(), _read_fsd50k),
    (
        lambda path: (path / "testing_list.txt").is_file() and (path / "validation_list.txt").is_file(),
        _read_speech_commands,
    ),
)


def _dataset(
    name: str, recordings: list[Recording], classes: Iterable[str] = (), problems: Iterable[str] = ()
) -> Dataset:
    """Join rows of one file, leave out files that are missing, and check the labels."""
    joined: dict[Path, Recording] = {}
    for new in recordings:
        if (old := joined.get(new.path)) is not None:
            labels = tuple(dict.fromkeys(old.labels + new.labels))
            joined[new.path] = replace(old, labels=labels, events=old.events + new.events)
        else:
            joined[new.path] = new
    names = sorted({label for recording in recordings for label in recording.labels} | set(classes))
    _check_case(name, names)
    missing = [path for path in joined if not path.is_file()]
    lines = [f"{path}: no such file" for path in missing[:_LISTED]]
    if len(missing) > _LISTED:
        lines.append(f"{name}: {len(missing) - _LISTED} more files are missing, {len(missing)} in all")
    left = tuple(recording for path, recording in joined.items() if path not in set(missing))
    if not left:
        raise DataError(f"{name}: none of its {len(joined)} recordings is there, the first at {missing[0]}")
    heard = {label for recording in left for label in recording.labels}
    lines += [
        f"{name}: class '{label}' has no recordings"
        for label in names
        if label not in heard and label not in classes
    ]
    return Dataset(name, left, tuple(names), (*problems, *lines))


def _check_case(name: str, classes: Iterable[str]) -> None:
    first: dict[str, str] = {}
    for label in classes:
        if (other := first.setdefault(label.casefold(), label)) != label:
            raise DataError(f"{name}: the labels '{other}' and '{label}' differ only in case; make them one")


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table by the names of its columns; cells that a row lacks are empty."""
    header, *rows = read_table(path) or [[]]
    return [dict(zip(header, [*row, *[""] * len(header)], strict=False)) for row in rows]


def _column(row: dict[str, str], names: tuple[str, ...], path: Path) -> str:
    for name in names:
        if name in row:
            return name
    raise DataError(
        f"{path}: has no column {' or '.join(repr(name) for name in names)}; it has {', '.join(row)}"
    )


def _shown(path: Path) -> bool:
    return not path.name.startswith(".")
