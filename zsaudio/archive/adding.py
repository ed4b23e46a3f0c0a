"""Recordings into an archive: listening, and committing what was heard."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from zsaudio.archive.shards import NewRecording, Stored
from zsaudio.archive.store import Store
from zsaudio.audio.start_time import time_in_name
from zsaudio.errors import has_result
from zsaudio.results import Embeddings
from zsaudio.storage.folder import REQUESTS
from zsaudio.storage.locations import state_of

_SHARD_BYTES = 64 * 2**20
_COMMIT_S = 20.0  # at least so often, so that little is lost when a run is killed
_ASKED_TOGETHER = 256  # files behind URLs


@dataclass(frozen=True)
class Added:
    """What became of a recording: added, updated, unchanged, removed or failed.

    ``error`` says why it failed; or, if it was added, why only a part of it was.
    """

    clip: str
    status: str
    duration_s: float = 0.0
    error: Exception | None = None


Hear = Callable[[Sequence[str]], Iterator[Embeddings]]  # recordings as vectors, in their order


def listen(
    store: Store,
    hear: Hear,
    paths: Sequence[str],
    states: Mapping[str, tuple[int, int]],
    relative: Callable[[str], str],
    known: Collection[str],
) -> Iterator[Added]:
    """Listen to recordings and store them; yield what became of each.

    ``states`` are sizes and times of change that are known; ``relative`` returns the path that a recording is
    stored under; ``known`` are those in the archive.
    """
    waiting: list[NewRecording] = []
    n_bytes, last = 0, time.monotonic()
    try:
        for path, state, clip in zip(paths, _states(paths, states), hear(paths), strict=True):
            if not has_result(clip.error):
                yield Added(path, "failed", error=clip.error)
                continue
            name = relative(path)
            waiting.append(_new(clip, name, state))
            n_bytes += clip.vectors.nbytes
            if n_bytes >= _SHARD_BYTES or time.monotonic() - last >= _COMMIT_S:
                store.append(waiting)
                waiting, n_bytes, last = [], 0, time.monotonic()
            yield Added(path, "updated" if name in known else "added", clip.duration_s, clip.error)
    finally:
        if waiting:
            store.append(waiting)


def _new(clip: Embeddings, path: str, state: tuple[int, int]) -> NewRecording:
    started = time_in_name(clip.clip)
    stored = Stored(
        path,
        *state,
        len(clip.vectors),
        clip.duration_s,
        clip.sample_rate,
        started.isoformat() if started else None,
    )
    return NewRecording(stored, clip.onsets, clip.offsets, clip.loudness, clip.vectors, clip.speech)


def _states(paths: Sequence[str], known: Mapping[str, tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the states of recordings, asked for some at a time before these are heard."""
    with ThreadPoolExecutor(REQUESTS) as threads:
        for start in range(0, len(paths), _ASKED_TOGETHER):
            some = paths[start : start + _ASKED_TOGETHER]
            yield from list(threads.map(lambda path: known.get(path) or state_of(path), some))
