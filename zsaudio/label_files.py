"""Label files -> plain data: text, tables and YAML; ``zsaudio.labels`` makes labels of it.

A label file may come from anywhere, so reading one is bounded in time and memory, and builds nothing but
lists, dicts, text and ``Unquoted`` values: no YAML tags, no aliases, no dates. Each error is a ``LabelError``
of one line; the caller puts the file's name before it.
"""

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsaudio.errors import LabelError

MAX_BYTES = 16 * 2**20
MAX_VALUES = 500_000  # lines, cells, or values in YAML
_MAX_DEPTH = 8  # the deepest useful one: groups, a group, its list, a label, its prompts
_COLUMNS = ("label", "name", "prompts", "threshold", "group", "background", "false_alarms")
_TRUE, _FALSE = {"1", "true", "yes", "x"}, {"", "0", "false", "no"}


@dataclass(frozen=True)
class Unquoted:
    """A YAML value without quotes that is not text by YAML's rules: ``0.5``, ``yes``, ``2026-01-31``.

    It is kept as it is written; the user of a number converts it.
    """

    written: str

    def __repr__(self) -> str:
        """Return it as it is written."""
        return self.written


def read_label_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a label file, whose kind is known by its suffix.

    ``.yaml`` and ``.yml`` are YAML, ``.csv`` and ``.tsv`` tables with a line of column names, everything else
    is text with one label a line.

    Returns
    -------
    dict
        The sections of the file, as they would stand in YAML: ``labels`` and others.

    Raises
    ------
    LabelError
        If the file cannot be read, is too large, or is not of its kind.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise LabelError(f"cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise LabelError(f"is larger than {MAX_BYTES // 2**20} MiB, too large for a label file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError("is not a text file in UTF-8") from error
    suffix = Path(path).suffix.lower()
    if suffix in (".yaml", ".yml"):
        return parse_yaml(text)
    if text.count("\n") > MAX_VALUES:
        raise LabelError(f"has more than {MAX_VALUES:,} lines")
    return _parse_table(text, suffix) if suffix in (".csv", ".tsv") else _parse_lines(text)


def parse_yaml(text: str) -> dict[str, Any]:
    """Return the sections of a label file in YAML.

    Raises
    ------
    LabelError
        If the text is not valid YAML, or is neither a mapping nor a list.
    """
    import yaml

    try:
        (data,) = _build(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        hint = "; put quotes around what begins with @" if _begins_with_at(text, mark) else ""
        raise LabelError(f"is not valid YAML{where}{hint}") from error
    if isinstance(data, list):
        data = {"labels": data}
    if not isinstance(data, dict):
        raise LabelError("must hold a list of labels, or 'labels:' with a list under it")
    return data


def _build(text: str) -> list[Any]:
    """Return the value of a YAML text, in a list of one, without recursion, which could overflow."""
    import yaml

    document: list[Any] = []
    open_lists = [document]  # a mapping is a list of keys and values while it is open
    n_values = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.NodeEvent):
            n_values += 1
            if n_values > MAX_VALUES:
                raise LabelError(f"holds more than {MAX_VALUES:,} values")
            value = _value(event)
            open_lists[-1].append(value)
            if isinstance(event, yaml.CollectionStartEvent):
                open_lists.append(value)
                if len(open_lists) > _MAX_DEPTH:
                    raise LabelError(f"{_line(event)}: lists and mappings are nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = open_lists.pop()
            if isinstance(event, yaml.MappingEndEvent):
                open_lists[-1][-1] = _mapping(closed)
        elif isinstance(event, yaml.DocumentStartEvent) and document:
            raise LabelError(f"holds a second document from {_line(event)} on; only one is allowed")
    return document or [None]


def _value(event: Any) -> Any:
    """Return text, None or ``Unquoted`` for a scalar, and an empty list for what begins a collection."""
    import yaml

    if isinstance(event, yaml.AliasEvent):
        raise LabelError(f"{_line(event)}: an alias (*{str(event.anchor)[:60]}) is not allowed; write it out")
    if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
        raise LabelError(f"{_line(event)}: a tag ({event.tag[:60]}) is not allowed")
    if not isinstance(event, yaml.ScalarEvent):
        return []
    if not event.implicit[0]:  # in quotes
        return event.value
    written: str = event.value
    for tag, pattern in yaml.SafeLoader.yaml_implicit_resolvers.get(written[:1], ()):
        if pattern.match(written):
            return None if tag == "tag:yaml.org,2002:null" else Unquoted(written)
    return written


def _mapping(entries: list[Any]) -> dict[str, Any]:
    """Make a dict of keys and values that alternate."""
    mapping: dict[str, Any] = {}
    for key, value in zip(entries[::2], entries[1::2], strict=True):
        name = key.written if isinstance(key, Unquoted) else key
        if not isinstance(name, str):
            raise LabelError("a key must be text")
        if name in mapping:
            raise LabelError(f"'{name[:60]}' is given twice")
        mapping[name] = value
    return mapping


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"


def _begins_with_at(text: str, mark: Any) -> bool:
    if mark is None:
        return False
    line = text.split("\n")[mark.line] if mark.line <= text.count("\n") else ""
    return re.search(r"(^|[\s\[,{-])@", line) is not None


def _parse_lines(text: str) -> dict[str, Any]:
    """One label a line; blank lines and lines that start with # are skipped."""
    labels = []
    for number, line in enumerate(text.split("\n"), start=1):
        label = line.strip()
        if not label or label.startswith("#"):
            continue
        if "\t" in label:
            raise LabelError(
                f"line {number} holds a tab; write one label a line, or name a table with columns .tsv"
            )
        labels.append(label)
    return {"labels": labels}


def _parse_table(text: str, suffix: str) -> dict[str, Any]:
    """Rows with a column ``label``, and perhaps others; or one label a row, without a line of names."""
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    if not lines:
        return {"labels": []}
    separator = "\t" if suffix == ".tsv" else ";" if ";" in lines[0] and "," not in lines[0] else ","
    rows = _rows(lines, separator)
    first = next(rows, [""])
    header = [cell.casefold() for cell in first]
    labels: list[Any] = []
    background: list[Any] = []
    if not {"label", "name"} & set(header):
        if len(first) > 1:
            raise LabelError(f"the first line must name the columns: {', '.join(_COLUMNS)}")
        labels = [first[0], *(_only_cell(row) for row in rows)]
        return {"labels": labels}
    for name in header:
        if name not in _COLUMNS:
            raise LabelError(f"unknown column '{name[:60]}'; known are {', '.join(_COLUMNS)}")
        if header.count(name) > 1 or (name == "name" and "label" in header):
            raise LabelError(f"the column '{name}' is given twice")
    for row in rows:
        if len(row) > len(header):
            raise LabelError(f"'{row[0][:60]}' has {len(row)} cells under {len(header)} column names")
        cells = dict(zip(header, row, strict=False))
        label = {"name": cells.get("label", cells.get("name", ""))}
        label |= {key: cells[key] for key in ("threshold", "group", "false_alarms") if cells.get(key)}
        if prompts := [part.strip() for part in cells.get("prompts", "").split("|") if part.strip()]:
            label["prompts"] = prompts  # type: ignore[assignment]
        mark = cells.get("background", "").casefold()
        if mark not in _TRUE | _FALSE:
            raise LabelError(f"background of '{label['name'][:60]}' must be yes or no, not '{mark[:60]}'")
        (background if mark in _TRUE else labels).append(label)
    return {"labels": labels, "background": background}


def _rows(lines: list[str], separator: str) -> Iterator[list[str]]:
    """Yield the rows of a table, cells without the spaces around them, without empty cells at the end."""
    n_cells = 0
    try:
        for row in csv.reader((line + "\n" for line in lines), delimiter=separator, skipinitialspace=True):
            n_cells += len(row)
            if n_cells > MAX_VALUES:
                raise LabelError(f"has more than {MAX_VALUES:,} cells")
            cells = [cell.strip() for cell in row]
            while len(cells) > 1 and not cells[-1]:
                cells.pop()
            if any(cells):
                yield cells
    except csv.Error as error:
        raise LabelError(f"is not a table that can be read ({error})") from error


def _only_cell(row: list[str]) -> str:
    if len(row) > 1:
        raise LabelError(
            f"'{row[0][:60]}' has {len(row)} cells, the first line one; "
            "put quotes around a label with a comma"
        )
    return row[0]
