"""What one process does: a table of recordings in, a table of results out. Knows nothing of Ray.

A recording is a row with a ``path`` (a file, or a URL that ``pyarrow.fs`` takes) or with ``bytes``, and may
have ``start`` and ``end``, in seconds: then only this part counts. All other columns are kept. A recording
that cannot be read has a row with an ``error``; one without any events, a row without a label. So every
recording has a row.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from zsaudio.archive.words import SPEECH_TOLERANCE, speech_header
from zsaudio.audio.sources import Source, is_url
from zsaudio.audio.span import read_span
from zsaudio.detection.parts import PartHeard
from zsaudio.errors import OptionError, has_result
from zsaudio.labels import LabelSet
from zsaudio.models.base import Encoder
from zsaudio.models.identity import probe, same_encoder
from zsaudio.results import ClipEvents, ClipTags, Embeddings
from zsaudio.storage.locations import fetch

if TYPE_CHECKING:
    import pyarrow as pa

    from zsaudio.recognizer import Recognizer

Kind = Literal["tag", "detect", "embed"]
GIVEN = ("bytes", "start", "end")  # columns that say what to read; with the path, which is kept
_FOREVER_S = 1e9
_RESULTS: Mapping[Kind, tuple[str, ...]] = {
    "tag": ("duration_s", "tags", "error"),
    "detect": ("duration_s", "onset", "offset", "label", "score", "error"),
    "embed": ("duration_s", "onset", "offset", "loudness", "vector", "error"),
}


@dataclass(frozen=True)
class Work:
    """What is to be done with each recording; it is sent to the processes.

    Parameters
    ----------
    kind
        Tags, events or embeddings.
    labels
        What ``Recognizer`` takes.
    recognizer
        Its other arguments.
    options
        Those of ``tag_batch``, ``detect_batch`` or ``embed``.
    """

    kind: Kind
    labels: LabelSet | str = "@everyday"
    recognizer: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> "Recognizer":
        """Return the recogniser."""
        from zsaudio.recognizer import Recognizer

        return Recognizer(self.labels, **self.recognizer)


class Worker:
    """Loads the models once, and does the work for tables of recordings.

    Parameters
    ----------
    work
        What is to be done.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.recognizer = work.load()

    def __call__(self, table: "pa.Table") -> "pa.Table":
        """Return the results of recordings, in the order of their rows."""
        check_columns(table.column_names, self.work.kind)
        given = table.select([name for name in table.column_names if name in ("path", *GIVEN)]).to_pylist()
        clips = zip(given, self._results(map(source_of, given)), strict=True)
        return self._with_results(
            table, (_rows_of(clip, float(row.get("start") or 0.0)) for row, clip in clips)
        )

    def _with_results(self, table: "pa.Table", clips: Iterable[list[dict[str, Any]]]) -> "pa.Table":
        """Return recordings with the rows of their results."""
        import pyarrow as pa

        rows: list[dict[str, Any]] = []
        owners: list[int] = []
        for number, own in enumerate(clips):
            rows += own
            owners += [number] * len(own)
        kept = table.select(kept_columns(table.column_names)).take(pa.array(owners, pa.int64()))
        results = pa.Table.from_pylist(rows, schema=self.schema())
        for name in results.column_names:
            kept = kept.append_column(results.schema.field(name), results.column(name))
        return kept

    def joined(self, table: "pa.Table", parts: Sequence[PartHeard]) -> "pa.Table":
        """Return the events of one long recording, the only row, from what was heard in its parts."""
        clip = self.recognizer.join_parts(parts, options=self.work.options.get("options"))
        return self._with_results(table, [_rows_of(clip, 0.0)])

    def failed(self, table: "pa.Table", error: str) -> "pa.Table":
        """Return the rows of recordings that are not read, because of an error."""
        return self._with_results(table, [[{"error": error}]] * len(table))

    def identity(self) -> dict[str, Any]:
        """Return what tells the loaded models from others, to be compared by ``same_models``."""
        found: dict[str, Any] = {}
        model: Any = self.recognizer.model
        if model is not None:
            found["model"] = model.name
        if hasattr(model, "encode_audio"):
            found["probe"] = [round(float(value), 6) for value in probe(model)]
        if self.recognizer.keyword_model is not None:
            speech = self.recognizer.keyword_model
            found["speech"] = speech_header(speech, speech.name)
        return found

    def schema(self) -> "pa.Schema":
        """Return the columns of the results, which follow those that are kept."""
        import pyarrow as pa

        vector = (
            pa.list_(pa.float16(), cast(Encoder, self.recognizer.model).dim)
            if self.work.kind == "embed"
            else None
        )
        types = {
            "duration_s": pa.float64(),
            "tags": pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())])),
            "onset": pa.float64(),
            "offset": pa.float64(),
            "label": pa.string(),
            "score": pa.float32(),
            "loudness": pa.float32(),
            "vector": vector,
            "error": pa.string(),
        }
        return pa.schema([(name, types[name]) for name in _RESULTS[self.work.kind]])

    def _results(self, sources: Iterable[Source]) -> Iterator[ClipTags | ClipEvents | Embeddings]:
        options = dict(self.work.options)
        if self.work.kind == "tag":
            return self.recognizer.tag_batch(sources, **options)
        if self.work.kind == "detect":
            return self.recognizer.detect_batch(sources, **options)
        return self.recognizer.embed_batch(sources, **options)


def same_models(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two identities are of the same models; a device or precision makes no difference."""
    if one.get("model") != other.get("model"):
        return False
    probes = [np.array(each.get("probe", [1.0]), np.float32) for each in (one, other)]
    speeches = [each.get("speech", {}) for each in (one, other)]
    heard = [np.array(each.get("probe", []), np.float32) for each in speeches]
    return (
        same_encoder(probes[0], probes[1])
        and speeches[0].get("model") == speeches[1].get("model")
        and heard[0].shape == heard[1].shape
        and bool((np.abs(heard[0] - heard[1]) < SPEECH_TOLERANCE).all())
    )


def check_columns(names: Iterable[str], kind: Kind) -> None:
    """Raise OptionError where rows name no recordings, or have a column that would be one of the results."""
    names = list(names)
    if "path" not in names and "bytes" not in names:
        raise OptionError(f"rows need a column 'path' or 'bytes'; they have: {', '.join(names)}")
    for name in _RESULTS[kind]:
        if name in names:
            raise OptionError(f"a column is called '{name}', as one of the results is: rename it")


def kept_columns(names: Iterable[str]) -> list[str]:
    """Return the columns of recordings that results have, too; times become those of the results."""
    return [name for name in names if name != "bytes"]


def source_of(row: Mapping[str, Any]) -> Source:
    """Return what is read for a row, in the thread that reads it."""
    start, end = row.get("start"), row.get("end")
    path = row.get("path")
    whole: Source = row["bytes"] if row.get("bytes") is not None else str(path)
    if start is None and end is None and not (isinstance(whole, str) and is_url(whole)):
        return {"bytes": whole, "path": path} if path and isinstance(whole, bytes) else whole
    return _Lazy(str(path or "<bytes>"), whole, float(start or 0.0), end)


@dataclass
class _Lazy:
    """A recording that is fetched, or a part of one that is cut, when it is read."""

    name: str
    whole: Source
    start: float
    end: float | None

    def __call__(self) -> Source:
        source = self.whole
        if isinstance(source, str) and is_url(source):
            source = fetch(source)
        if not self.start and self.end is None:
            return {"bytes": source, "path": self.name}
        end = _FOREVER_S if self.end is None else self.end
        samples, rate, _ = read_span(source, self.start, end)
        return {"array": samples.T, "sampling_rate": rate, "path": self.name}


def _rows_of(clip: ClipTags | ClipEvents | Embeddings, start: float) -> list[dict[str, Any]]:
    """Return the rows of one recording, at least one; what was read of it began at ``start``."""
    error = None if clip.error is None else str(clip.error)
    shared: dict[str, Any] = {
        "duration_s": clip.duration_s if has_result(clip.error) else None,
        "error": error,
    }
    if isinstance(clip, ClipTags):
        tags = [{"label": tag.label, "score": tag.score} for tag in clip.tags]
        return [{**shared, "tags": tags if has_result(clip.error) else None}]
    if isinstance(clip, ClipEvents):
        found = [
            {
                "onset": start + each.onset,
                "offset": start + each.offset,
                "label": each.label,
                "score": each.score,
            }
            for each in clip.events
        ]
    else:
        columns = zip(clip.onsets, clip.offsets, clip.loudness, clip.vectors, strict=True)
        found = [
            {"onset": start + onset, "offset": start + offset, "loudness": loudness, "vector": vector}
            for onset, offset, loudness, vector in columns
        ]
    return [{**shared, **each} for each in found] or [shared]
