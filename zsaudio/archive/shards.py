"""Shards of an archive: tables of stretches, and the recordings that they belong to.

A shard is an Arrow table with one row per stretch; its metadata names the recordings in it. A later shard
takes precedence (``live_recordings``).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Stored:
    """A recording in a shard.

    Parameters
    ----------
    path
        Relative to the archive's root, with ``/``; absolute where it cannot be relative; or a URL.
    size, mtime_ns
        Of the file when it was indexed; they tell whether it has changed.
    n_rows
        Stretches in it.
    duration_s, sample_rate
        Its length, and its own rate in Hz.
    started
        When it began (ISO 8601, local time), where its name says so.
    """

    path: str
    size: int
    mtime_ns: int
    n_rows: int
    duration_s: float
    sample_rate: int
    started: str | None = None


@dataclass
class Shard:
    """One shard, opened.

    Parameters
    ----------
    name
        Its file name.
    recordings
        Those in it, in the order of the rows.
    removed
        Paths of recordings that are gone from earlier shards.
    replaces
        Names of shards that this one takes the place of.
    table
        The rows.
    """

    name: str
    recordings: list[Stored]
    removed: list[str]
    replaces: list[str]
    table: "pa.Table" = field(repr=False)

    @property
    def n_rows(self) -> int:
        """Stretches in it, superseded ones included."""
        return int(self.table.num_rows)

    @cached_property
    def vectors(self) -> np.ndarray:
        """The vectors ``(n_rows, dim)``, float16, memory-mapped where the archive is a local folder."""
        dim = self.table.schema.field("vector").type.list_size
        return self._numpy("vector").reshape(-1, dim)

    @cached_property
    def onsets(self) -> np.ndarray:
        """``(n_rows,)``, seconds from the start of the recording."""
        return self._numpy("onset")

    @cached_property
    def offsets(self) -> np.ndarray:
        """``(n_rows,)``, seconds from the start of the recording."""
        return self._numpy("offset")

    @cached_property
    def loudness(self) -> np.ndarray:
        """``(n_rows,)``, dB of full scale."""
        return self._numpy("loudness")

    @cached_property
    def owner(self) -> np.ndarray:
        """``(n_rows,)``: the number of each row's recording."""
        return np.repeat(np.arange(len(self.recordings)), [each.n_rows for each in self.recordings])

    @cached_property
    def starts(self) -> np.ndarray:
        """``(n_recordings + 1,)``: the first row of each recording, and the end."""
        return np.concatenate([[0], np.cumsum([each.n_rows for each in self.recordings])]).astype(int)

    def speech(self, number: int, n_symbols: int) -> np.ndarray:
        """Return what a speech model heard in a recording, ``(n_frames, n_symbols)``, uint8."""
        column = self._column("speech")
        _, ends, values = column.buffers()
        places = np.frombuffer(ends, np.int64, len(column) + 1, 8 * column.offset)
        span = slice(*places[self.starts[number : number + 2]].tolist())
        return np.frombuffer(values, np.uint8)[span].reshape(-1, n_symbols)

    def _column(self, name: str) -> "pa.Array":
        column = self.table.column(name)
        # one chunk is used where it is, in the mapped file; combine_chunks would copy it
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    def _numpy(self, name: str) -> np.ndarray:
        column = self._column(name)
        if column.type.num_fields:
            column = column.flatten()
        return np.asarray(column.to_numpy(zero_copy_only=True))


@dataclass
class NewRecording:
    """A recording to be stored; the arrays are those of ``zsaudio.results.Embeddings``."""

    stored: Stored
    onsets: np.ndarray
    offsets: np.ndarray
    loudness: np.ndarray
    vectors: np.ndarray
    speech: np.ndarray | None = None


def live_recordings(shards: Sequence[Shard]) -> dict[str, list[int]]:
    """Return by shard the numbers of the recordings in it that no later shard supersedes or removes."""
    live: dict[str, list[int]] = {shard.name: [] for shard in shards}
    later: set[str] = set()
    for shard in reversed(shards):
        own = [number for number, each in enumerate(shard.recordings) if each.path not in later]
        live[shard.name] = own
        later |= {each.path for each in shard.recordings} | set(shard.removed)
    return live


def read_shard(name: str, source: Any) -> Shard:
    """Return a shard from a memory map or a buffer.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it is damaged.
    """
    import pyarrow as pa

    try:
        table = pa.ipc.open_file(source).read_all()
        about = json.loads(table.schema.metadata[b"zsaudio"])
        recordings = [Stored(**each) for each in about["recordings"]]
    except pa.ArrowInvalid as error:
        raise ValueError(str(error)) from error
    shard = Shard(name, recordings, about["removed"], about["replaces"], table)
    if shard.starts[-1] != shard.n_rows:
        raise ValueError("its rows are not those of its recordings")
    return shard


def shard_bytes(
    table: "pa.Table", recordings: Sequence[Stored], removed: Sequence[str], replaces: Sequence[str]
) -> bytes:
    """Return the file of a shard, for ``read_shard``."""
    import pyarrow as pa

    about = {
        "recordings": [asdict(each) for each in recordings],
        "removed": list(removed),
        "replaces": list(replaces),
    }
    table = (
        table.unify_dictionaries().combine_chunks().replace_schema_metadata({"zsaudio": json.dumps(about)})
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        # one batch, so that its vectors are one array; none would lose the schema's place
        writer.write_table(table, max_chunksize=max(1, table.num_rows))
    return bytes(sink.getvalue().to_pybytes())


def to_table(recordings: Sequence[NewRecording], dim: int) -> "pa.Table":
    """Return the rows of recordings, whose vectors are ``(n_rows, dim)``."""
    import pyarrow as pa

    def joined(name: str, kind: Any) -> np.ndarray:
        parts = [getattr(each, name) for each in recordings]
        return np.concatenate(parts).astype(kind) if parts else np.zeros(0, kind)

    counts = [each.stored.n_rows for each in recordings]
    paths = pa.array([each.stored.path for each in recordings], pa.string())
    numbers = pa.array(np.repeat(np.arange(len(recordings), dtype=np.int32), counts))
    onsets = joined("onsets", np.float64)
    started = np.array([each.stored.started or "NaT" for each in recordings], "datetime64[ms]")
    times = np.repeat(started, counts) + np.round(onsets * 1000).astype("timedelta64[ms]")
    vectors = [each.vectors for each in recordings]
    flat = np.concatenate(vectors).astype(np.float16).ravel() if vectors else np.zeros(0, np.float16)
    columns = {
        "path": pa.DictionaryArray.from_arrays(numbers, paths),
        "onset": pa.array(onsets),
        "offset": pa.array(joined("offsets", np.float64)),
        "time": pa.array(times, pa.timestamp("ms")),
        "loudness": pa.array(joined("loudness", np.float32)),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float16()), dim),
    }
    speech = [each.speech for each in recordings if each.speech is not None]
    if speech:  # all have it or none; its frames are shared out among the recording's rows
        sizes = [
            np.diff(np.arange(each.stored.n_rows + 1) * len(codes) // each.stored.n_rows) * codes.shape[1]
            for each, codes in zip(recordings, speech, strict=True)
        ]
        ends = np.cumsum(np.concatenate([[0], *sizes]), dtype=np.int64)
        values = np.concatenate([codes.ravel() for codes in speech])
        buffers = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(values.tobytes())]
        columns["speech"] = pa.Array.from_buffers(pa.large_binary(), len(ends) - 1, buffers)
    return pa.table(columns)
