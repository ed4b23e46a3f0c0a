"""Candidates to be judged by a person, in files of several programs.

| file | form |
|---|---|
| ``.csv`` | a table; the answer is the last column |
| ``.txt`` | a selection table of Raven; the answer is its column ``Answer`` |
| ``.json`` | tasks of Label Studio (audio, choices yes and no), and what it exports |
| a folder | a label track of Audacity for each recording; ``?`` after a label is replaced by the answer |

An answer is yes or no (also y, n, true, false, 1, 0), in any case; nothing, or ``?``, is no answer.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsaudio.archive.matches import Match
from zsaudio.errors import DataError, OptionError
from zsaudio.files import read_table, write_atomically
from zsaudio.output.event_writers import EVENT_FORMATS
from zsaudio.output.formats import Place
from zsaudio.output.outputs import mirrored
from zsaudio.results import ClipEvents, Event

USUAL_N = 20
LABEL_STUDIO_CONFIG = """<View>
  <Labels name="region" toName="audio"><Label value="candidate"/></Labels>
  <Audio name="audio" value="$audio"/>
  <Header value="$label, $onset to $offset s"/>
  <Choices name="answer" toName="audio" choice="single"><Choice value="yes"/><Choice value="no"/></Choices>
</View>
"""
_COLUMNS = ("file", "onset", "offset", "label", "score", "why", "answer")
_YES, _NO = ("yes", "y", "true", "1"), ("no", "n", "false", "0")


@dataclass(frozen=True)
class Candidate:
    """A stretch to be judged.

    Parameters
    ----------
    clip
        Path of the recording.
    onset, offset
        Seconds from its start.
    label
        What is asked: is it this?
    score
        What the model says, in [0, 1].
    why
        ``best`` or ``unsure``.
    answer
        What the person says; None: nothing yet.
    sample_rate
        The recording's, in Hz.
    """

    clip: str
    onset: float
    offset: float
    label: str
    score: float = 0.0
    why: str = ""
    answer: bool | None = None
    sample_rate: int = 0

    @classmethod
    def of(cls, match: Match, why: str) -> "Candidate":
        """Return a match as a candidate."""
        return cls(
            match.clip, match.onset, match.offset, match.label, match.score, why, None, match.sample_rate
        )


def write_candidates(candidates: Sequence[Candidate], path: Path) -> None:
    """Write candidates; the file's suffix says in which form.

    Raises
    ------
    OptionError
        If the suffix is none of these, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in ("", *_WRITERS):
        raise OptionError(
            f"{path}: give a review a name that ends in .csv, .txt (Raven) or .json (Label Studio), or the "
            "name of a folder (Audacity)"
        )
    try:
        if suffix:
            write_atomically(path, _WRITERS[suffix](candidates))
        else:
            _write_audacity(candidates, path)
        if suffix == ".json":
            write_atomically(path.with_suffix(".xml"), LABEL_STUDIO_CONFIG)
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror or error})") from error


def read_candidates(path: str | os.PathLike[str], recordings: Mapping[str, str]) -> list[Candidate]:
    """Read what ``write_candidates`` wrote, with answers.

    Parameters
    ----------
    path
        A file, or a folder of label tracks.
    recordings
        The stored paths of an archive's recordings, and where these are; a label track names its recording
        by its own name only.

    Raises
    ------
    DataError
        If it cannot be read; the message says where.
    """
    path = Path(path)
    if path.is_dir():
        tracks = sorted(path.rglob("*.txt"))
        if not tracks:
            raise DataError(f"{path}: a folder without label tracks (.txt)")
        return [each for track in tracks for each in _read_audacity(track, path, recordings)]
    if path.suffix.lower() == ".json":
        return list(_read_label_studio(path))
    rows = read_table(path)
    header = rows[0] if rows else []
    names = (
        {"file": "Begin Path", "onset": "File Offset (s)", "label": "Label", "answer": "Answer"}
        if "Selection" in header
        else {name: name for name in ("file", "onset", "offset", "label", "answer")}
    )
    if missing := [name for name in names.values() if name not in header]:
        raise DataError(f"{path}: has no column {', '.join(missing)}")
    raven = "Selection" in header
    found = []
    for number, row in enumerate(rows[1:], start=2):
        cells = dict(zip(header, row, strict=False))
        where = f"{path}: row {number}"
        onset = _number(cells.get(names["onset"], ""), where)
        if raven:
            begin, end = (_number(cells.get(f"{name} Time (s)", ""), where) for name in ("Begin", "End"))
            offset = onset + end - begin
        else:
            offset = _number(cells.get("offset", ""), where)
        answer = _answer(cells.get(names["answer"], ""), where)
        found.append(Candidate(cells[names["file"]], onset, offset, cells[names["label"]], answer=answer))
    return found


def _csv(candidates: Iterable[Candidate]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for each in candidates:
        numbers = [f"{each.onset:.3f}", f"{each.offset:.3f}", each.label, f"{each.score:.4f}", each.why]
        writer.writerow([each.clip, *numbers, _said(each, "")])
    return text.getvalue()


def _raven(candidates: Sequence[Candidate]) -> str:
    form, place = EVENT_FORMATS["raven"], Place()
    lines = [form.header(place).rstrip("\n") + "\tAnswer"]
    for number, each in enumerate(candidates):
        event = Event(each.onset, each.offset, each.label, each.score)
        clip = ClipEvents(each.clip, 0.0, each.sample_rate or 48_000, (event,))
        lines.append(
            form.write(clip, Place(n_items=number, escape=False)).rstrip("\n") + f"\t{_said(each, '')}"
        )
    return "\n".join(lines) + "\n"


def _label_studio(candidates: Iterable[Candidate]) -> str:
    tasks = []
    for each in candidates:
        value = {"start": round(each.onset, 3), "end": round(each.offset, 3), "labels": ["candidate"]}
        region = {"from_name": "region", "to_name": "audio", "type": "labels", "value": value}
        data: dict[str, Any] = {"audio": each.clip, "onset": value["start"], "offset": value["end"]}
        data |= {"label": each.label, "score": round(each.score, 4), "why": each.why}
        task: dict[str, Any] = {"data": data, "predictions": [{"score": data["score"], "result": [region]}]}
        if each.answer is not None:
            choice = {"from_name": "answer", "to_name": "audio", "type": "choices"}
            task["annotations"] = [{"result": [{**choice, "value": {"choices": [_said(each, "")]}}]}]
        tasks.append(task)
    return json.dumps(tasks, indent=1, ensure_ascii=False) + "\n"


_WRITERS = {".csv": _csv, ".txt": _raven, ".json": _label_studio}


def _read_label_studio(path: Path) -> Iterator[Candidate]:
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is not a JSON file of Label Studio ({error})") from error
    if not isinstance(tasks, list):
        raise DataError(f"{path}: must hold a list of tasks; export as JSON, not as JSON-MIN")
    for number, task in enumerate(tasks, start=1):
        where = f"{path}: task {number}"
        try:
            data = task["data"]
            results = [
                result
                for annotation in task.get("annotations") or []
                if not annotation.get("was_cancelled")
                for result in annotation["result"]
            ]
            choices = [choice for result in results for choice in result["value"].get("choices", [])]
            onset, offset = float(data["onset"]), float(data["offset"])
            for result in results:  # a region that was moved
                if result.get("type") == "labels":
                    onset, offset = float(result["value"]["start"]), float(result["value"]["end"])
            clip, label = str(data["audio"]), str(data["label"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where}: is none of those that zsaudio wrote ({error!r})") from error
        answer = _answer(choices[-1] if choices else "", where)
        yield Candidate(clip, onset, offset, label, answer=answer)


def _write_audacity(candidates: Sequence[Candidate], folder: Path) -> None:
    tracks = mirrored(list(dict.fromkeys(each.clip for each in candidates)), [], ".txt") if candidates else {}
    for clip, target in tracks.items():
        lines = [
            f"{each.onset:.6f}\t{each.offset:.6f}\t{each.label} {_said(each, '?')}\n"
            for each in sorted(candidates, key=lambda each: each.onset)
            if each.clip == clip
        ]
        write_atomically(folder / target, "".join(lines))


def _read_audacity(track: Path, folder: Path, recordings: Mapping[str, str]) -> Iterator[Candidate]:
    name = track.relative_to(folder).as_posix().removesuffix(".txt")
    named = [
        place
        for stored, place in recordings.items()
        if f"/{stored}".endswith(f"/{name}") or f"/{os.path.splitext(stored)[0]}".endswith(f"/{name}")
    ]
    if len(named) != 1:
        raise DataError(f"{track}: {len(named) or 'no'} recordings of the archive have its name")
    for number, line in enumerate(track.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if line.startswith("\\") or not line.strip():  # frequencies of a spectral selection
            continue
        where = f"{track}: line {number}"
        found = re.fullmatch(r"([^\t]+)\t([^\t]+)\t(.*\S)\s+(\S+)\s*", line)
        if not found:
            raise DataError(f"{where}: must be start, end, and a label with its answer, separated by tabs")
        onset, offset = _number(found[1], where), _number(found[2], where)
        yield Candidate(named[0], onset, offset, found[3], answer=_answer(found[4], where))


def _said(candidate: Candidate, nothing: str) -> str:
    return nothing if candidate.answer is None else "yes" if candidate.answer else "no"


def _answer(text: str, where: str) -> bool | None:
    word = text.strip().casefold()
    if word in ("", "?"):
        return None
    if word not in (*_YES, *_NO):
        raise DataError(f"{where}: an answer must be yes or no, not '{text.strip()}'")
    return word in _YES


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{where}: '{text}' is not a time in seconds") from error
