"""Knowledge about classes from files: attribute tables, taxonomies, descriptions.

Conventions: names are in plain words (underscores become spaces); attributes are in [0, 1], NaN where a
table has a gap.
"""

import csv
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from zsaudio.errors import DataError
from zsaudio.files import read_table
from zsaudio.labels import plain_name


@dataclass(frozen=True)
class AttributeTable:
    """Classes x attributes; ``values`` are in [0, 1], NaN where the table has a gap."""

    names: tuple[str, ...]
    attributes: tuple[str, ...]
    values: np.ndarray

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "AttributeTable":
        """Read a CSV: a header with the attributes' names, a row a class, its name first."""
        rows = read_table(path)
        if len(rows) < 2 or len(rows[0]) < 2:
            raise DataError(f"{path}: must hold a header with attributes, and a row for each class")
        names = [plain_name(row[0]) for row in rows[1:]]
        for number, (name, row) in enumerate(zip(names, rows[1:], strict=True), start=2):
            if len(row) != len(rows[0]):
                raise DataError(f"{path}: row {number} has {len(row)} cells, the header {len(rows[0])}")
            if names.index(name) != number - 2:
                raise DataError(f"{path}: '{name}' has two rows")
        return cls(tuple(names), tuple(rows[0][1:]), np.array([_cells(row, path) for row in rows[1:]]))

    @classmethod
    def builtin(cls) -> "AttributeTable":
        """Return the bundled table of 300 everyday sounds."""
        return cls.read(Path(str(files("zsaudio.configs") / "attributes.csv")))

    def write(self, path: Path) -> None:
        """Write the table as ``read`` takes it."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["label", *self.attributes])
            for name, row in zip(self.names, self.values, strict=True):
                writer.writerow([name, *("" if np.isnan(value) else f"{value:g}" for value in row)])


@dataclass(frozen=True)
class Taxonomy:
    """A tree of sounds; ``parents[i]`` and ``siblings(i)`` are numbers of nodes."""

    names: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    children: tuple[tuple[int, ...], ...]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Taxonomy":
        """Read JSON in the form of the AudioSet ontology: ``id``, ``name`` and ``child_ids`` of each node."""
        try:
            nodes = json.loads(Path(path).read_text(encoding="utf-8"))
            number = {node["id"]: i for i, node in enumerate(nodes)}
            children = tuple(tuple(number[child] for child in node.get("child_ids", ())) for node in nodes)
            names = tuple(str(node["name"]) for node in nodes)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        except KeyError as error:
            raise DataError(
                f"{path}: {error} is missing: every node needs id, name, and known children"
            ) from error
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: is not a list of nodes in JSON") from error
        if not names:
            raise DataError(f"{path}: holds no nodes")
        parents: list[list[int]] = [[] for _ in names]
        for i, own in enumerate(children):
            for child in own:
                parents[child].append(i)
        return cls(names, tuple(map(tuple, parents)), children)

    @cached_property
    def by_name(self) -> dict[str, int]:
        """Node numbers by every name that a node has: ``Baby cry, infant cry`` has two, and itself."""
        found: dict[str, int] = {}
        for i, name in enumerate(self.names):
            for part in (name, *name.split(",")):
                found.setdefault(plain_name(part).casefold(), i)
        return found

    def siblings(self, node: int) -> list[int]:
        """Return the other children of a node's parents."""
        return [c for parent in self.parents[node] for c in self.children[parent] if c != node]

    def write(self, path: Path) -> None:
        """Write the taxonomy as ``read`` takes it."""
        nodes = [
            {"id": str(i), "name": name, "child_ids": [str(child) for child in self.children[i]]}
            for i, name in enumerate(self.names)
        ]
        path.write_text(json.dumps(nodes, indent=0), encoding="utf-8")


def read_descriptions(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read a CSV of ``label,description``, with a header."""
    found: dict[str, str] = {}
    for number, row in enumerate(read_table(path)[1:], start=2):
        if len(row) < 2:
            raise DataError(f"{path}: row {number} must hold a label and its description")
        if row[1].strip():
            found[plain_name(row[0])] = " ".join(row[1].split())
    if not found:
        raise DataError(f"{path}: holds no descriptions")
    return found


def builtin_descriptions() -> dict[str, str]:
    """Return the bundled descriptions of how the classes of ESC-50 sound."""
    return read_descriptions(Path(str(files("zsaudio.configs") / "descriptions.csv")))


def write_descriptions(descriptions: Mapping[str, str], path: Path) -> None:
    """Write a CSV as ``read_descriptions`` takes it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", "description"])
        writer.writerows(descriptions.items())


def _cells(row: list[str], path: Any) -> list[float]:
    values = []
    for cell in row[1:]:
        try:
            value = float(cell) if cell.strip() else float("nan")
        except ValueError as error:
            raise DataError(f"{path}: {cell!r} of '{row[0]}' is not a number") from error
        if cell.strip() and not 0 <= value <= 1:
            raise DataError(f"{path}: {cell} of '{row[0]}' is outside 0 to 1")
        values.append(value)
    return values
