"""What is to be done, unit by unit, as a list is read: what an earlier run committed is left out."""

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zsaudio.audio.sources import is_url
from zsaudio.detection.parts import Part, parts_of
from zsaudio.errors import OptionError
from zsaudio.ray.manifest import key_of
from zsaudio.ray.shards import MTIME, SIZE

if TYPE_CHECKING:
    import pyarrow as pa

UNIT_ROWS = 256
UNIT_BYTES = 128 * 2**20  # of the files, where their sizes are known
_FIRST_ROWS = 4  # each unit has twice as many as the one before, so that few recordings are shared, too
PART_S = 600.0
_LEAST_PART_BYTES = 10 * 2**20  # a smaller file is done in seconds


@dataclass(frozen=True)
class Unit:
    """Recordings that one process does together; or one that several do, in parts."""

    table: "pa.Table"
    parts: list[Part] = field(default_factory=list)


def plan_units(
    tables: Iterable["pa.Table"],
    done: MutableMapping[int, int],
    *,
    rows: int = UNIT_ROWS,
    part_s: float | None = PART_S,
    on_changed: Callable[[str], None] = lambda path: None,
) -> Iterator[Unit]:
    """Yield the units of work.

    Parameters
    ----------
    tables
        Of recordings, as ``read_inputs`` gives them.
    done
        What is committed; see ``Manifest``. Recordings are added when they are planned, so that one that is
        named twice is done once.
    rows
        Most recordings in a unit.
    part_s
        Length of the parts that long recordings are split into; None: they are not split.
    on_changed
        Called with the path of a recording that has changed since it was committed; it is left out.
    """
    import pyarrow as pa

    if rows < 1:
        raise OptionError(f"a unit has at least one recording, not {rows}")
    waiting: list[pa.Table] = []
    n_rows = n_bytes = 0
    most = min(rows, _FIRST_ROWS)
    for table in tables:
        first = 0  # of the rows that wait for the end of their unit
        kept = table.filter(pa.array(_new_rows(table, done, on_changed), pa.bool_()))
        for number, (path, size) in enumerate(_files(kept)):
            parts = parts_of(path, part_s) if part_s and _may_be_long(kept, path, size) else []
            if len(parts) > 1:
                waiting.append(kept.slice(first, number - first))
                first = number + 1
                yield Unit(kept.slice(number, 1), parts)
                continue
            n_rows, n_bytes = n_rows + 1, n_bytes + (size or 0)
            if n_rows == most or n_bytes >= UNIT_BYTES:
                yield Unit(pa.concat_tables([*waiting, kept.slice(first, number + 1 - first)]))
                waiting, first, n_rows, n_bytes = [], number + 1, 0, 0
                most = min(rows, 2 * most)
        waiting.append(kept.slice(first))
    if n_rows:
        yield Unit(pa.concat_tables(waiting))


def _new_rows(
    table: "pa.Table", done: MutableMapping[int, int], on_changed: Callable[[str], None]
) -> Iterator[bool]:
    names = [name for name in ("path", SIZE, MTIME, "start", "end") if name in table.column_names]
    for row in table.select(names).to_pylist():
        key = key_of(row["path"], row.get("start"), row.get("end"))
        state = hash((row[SIZE], row[MTIME])) if row[SIZE] is not None else None
        before = done.get(key)
        if before is None:
            done[key] = _PLANNED
        elif before != _PLANNED and state is not None and state != before:
            on_changed(row["path"])
        yield before is None


_PLANNED = hash((-1, -1))  # no file has this size


def _files(table: "pa.Table") -> Iterator[tuple[Any, Any]]:
    return zip(table.column("path").to_pylist(), table.column(SIZE).to_pylist(), strict=True)


def _may_be_long(table: "pa.Table", path: str, size: int | None) -> bool:
    spans = {"start", "end"} & set(table.column_names)
    return not spans and not is_url(path) and size is not None and size >= _LEAST_PART_BYTES
