"""The recordings of a run: files and folders, lists of paths, and what lies under a URL; read bit by bit.

A list is a Parquet or CSV file with a column ``path``, which may have ``start`` and ``end``, in seconds, and
others, which are kept; or a text file with one path a line. Tables of recordings have the columns of the
list, and ``SIZE`` and ``MTIME`` of each file, null where that would have to be asked for file by file.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from zsaudio.audio.reader import AUDIO_SUFFIXES
from zsaudio.audio.sources import is_url
from zsaudio.errors import OptionError
from zsaudio.files import kind_of_list
from zsaudio.ray.shards import MTIME, SIZE
from zsaudio.storage.locations import open_file, open_location, reason_of, retried, state_of

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 4096  # that are read together


def read_inputs(found: Iterable[str]) -> tuple["pa.Schema", Iterator["pa.Table"]]:
    """Return the columns that results keep of their recordings, and the recordings, read as they are needed.

    Parameters
    ----------
    found
        Recordings, lists, and URLs of recordings, of lists and of folders.

    Raises
    ------
    OptionError
        If a list or a folder cannot be read or holds nothing, or one has other columns than the rest.
    """
    opened: list[tuple[str, pa.Schema, Iterator[pa.Table]]] = []
    plain: list[str] = []
    for text in found:
        if not kind_of_list(text) and not is_url(text):
            plain.append(text)
            continue
        with _reading(text):
            columns, tables = _list(text) if kind_of_list(text) else _under(text)
            first = next((table for table in tables if len(table)), None)
        if first is None:
            raise OptionError(f"{text}: lists no recordings")
        opened.append((text, columns, chain([first], tables)))
    if plain:
        opened.insert(0, (plain[0], _only_path(), _tables(plain)))
    name, schema, _ = opened[0]
    for other, columns, _ in opened[1:]:
        if columns != schema:
            raise OptionError(
                f"{other}: has the columns {_named(columns)}, and {name} has {_named(schema)}: "
                "give inputs with the same columns"
            )
    return schema, chain.from_iterable(_guarded(text, tables) for text, _, tables in opened)


def read_paths(found: Iterable[str]) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """Return the recordings alone, in their order, for results that keep no columns.

    Parameters
    ----------
    found
        As for ``read_inputs``. Recordings among them are returned as they are.

    Returns
    -------
    paths
        The recordings.
    states
        Sizes and times of change of those that lists and folders of URLs told.

    Raises
    ------
    OptionError
        Where ``read_inputs`` does, but for columns that differ; or if a list names parts of recordings.
    """
    paths: list[str] = []
    states: dict[str, tuple[int, int]] = {}
    for text in found:
        if not kind_of_list(text) and not is_url(text):
            paths.append(text)
            continue
        schema, tables = read_inputs([text])
        if parts := {"start", "end"}.intersection(schema.names):
            raise OptionError(
                f"{text}: has a column '{max(parts)}', and an archive stores whole recordings: "
                "leave out start and end"
            )
        for table in tables:
            for path, size, mtime in zip(
                *(table.column(n).to_pylist() for n in ("path", SIZE, MTIME)), strict=True
            ):
                paths.append(path)
                if size is not None:
                    states[path] = size, mtime
    return paths, states


def _list(text: str) -> tuple["pa.Schema", Iterator["pa.Table"]]:
    """Open a list of recordings."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    files, path = open_file(text)
    file = retried(lambda: files.open_input_file(path))
    suffix = kind_of_list(text)
    if suffix == ".txt":
        import io

        lines = (line.strip() for line in io.TextIOWrapper(file, encoding="utf-8-sig"))
        return _only_path(), _tables(line for line in lines if line)
    batches: Iterator[pa.RecordBatch]
    if suffix == ".parquet":
        parquet = pq.ParquetFile(file)
        columns, batches = parquet.schema_arrow.remove_metadata(), parquet.iter_batches(_ROWS)
    else:
        types = {"path": pa.string(), "start": pa.float64(), "end": pa.float64()}
        reader = pyarrow.csv.open_csv(
            file,
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t" if suffix == ".tsv" else ","),
            convert_options=pyarrow.csv.ConvertOptions(column_types=types),
        )
        columns, batches = reader.schema, iter(reader)
    if "path" not in columns.names:
        raise OptionError(f"{text}: needs a column 'path'; it has: {', '.join(columns.names)}")
    for name in ("start", "end"):
        if name in columns.names:
            columns = columns.set(columns.get_field_index(name), pa.field(name, pa.float64()))
    columns = columns.set(columns.get_field_index("path"), pa.field("path", pa.string()))

    def tables() -> Iterator[pa.Table]:
        n_rows = 0
        for batch in batches:
            table = pa.Table.from_batches([batch]).cast(columns)
            paths = [
                absolute(path) if path else f"<no path in row {number} of {text}>"
                for number, path in enumerate(table.column("path").to_pylist(), n_rows + 1)
            ]
            n_rows += len(table)
            table = table.set_column(columns.get_field_index("path"), "path", pa.array(paths, pa.string()))
            yield _with_states(table, map(_state, paths))

    return columns, tables()


def _under(url: str) -> tuple["pa.Schema", Iterator["pa.Table"]]:
    """Return the recording that a URL names, or those in the folder that it names."""
    import pyarrow as pa
    from pyarrow.fs import FileSelector, FileType

    files, top = open_location(url)
    found = retried(lambda: files.get_file_info(top))
    if found.type == FileType.File:
        return _only_path(), _tables([url])
    infos = retried(lambda: files.get_file_info(FileSelector(top, recursive=True)))
    infos = [
        info
        for info in infos
        if info.type == FileType.File and PurePath(info.path).suffix.lower() in AUDIO_SUFFIXES
    ]
    if not infos:
        raise OptionError(f"{url}: a folder with no audio in it")
    infos.sort(key=lambda info: info.path)
    base, mark, query = url.partition("?")
    base = base.rstrip("/")

    def tables() -> Iterator[pa.Table]:
        for start in range(0, len(infos), _ROWS):
            some = infos[start : start + _ROWS]
            urls = [absolute(base + quote(info.path[len(top) :]) + mark + query) for info in some]
            table = pa.table({"path": pa.array(urls, pa.string())})
            yield _with_states(table, ((info.size, info.mtime_ns or 0) for info in some))

    return _only_path(), tables()


def _tables(paths: Iterable[str]) -> Iterator["pa.Table"]:
    import pyarrow as pa

    rest = iter(paths)
    while some := [absolute(path) for path in islice(rest, _ROWS)]:
        yield _with_states(pa.table({"path": pa.array(some, pa.string())}), map(_state, some))


def _with_states(table: "pa.Table", states: Iterable[tuple[int | None, int | None]]) -> "pa.Table":
    import pyarrow as pa

    sizes, times = zip(*states, strict=True)
    return table.append_column(SIZE, pa.array(sizes, pa.int64())).append_column(
        MTIME, pa.array(times, pa.int64())
    )


def absolute(path: str) -> str:
    """Return a local path as it is anywhere on this computer; a URL as it is."""
    if is_url(path) and not path.startswith("file://"):
        return path
    return str(open_file(path)[1]) if path.startswith("file://") else os.path.abspath(path)


def _state(path: str) -> tuple[int | None, int | None]:
    return (None, None) if is_url(path) else state_of(path)


def _only_path() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([("path", pa.string())])


def _guarded(text: str, tables: Iterator["pa.Table"]) -> Iterator["pa.Table"]:
    with _reading(text):
        yield from tables


class _reading:  # noqa: N801
    """Turn what goes wrong while a list or a folder is read into one line."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from pyarrow import ArrowException

        if isinstance(error, OptionError):
            return
        if isinstance(error, (OSError, ArrowException, UnicodeDecodeError)):
            raise OptionError(f"{self._text}: cannot be read ({reason_of(error)})") from error


def _named(columns: "pa.Schema") -> str:
    return ", ".join(f"{each.name} {each.type}" for each in columns)
