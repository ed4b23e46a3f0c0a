"""One search: shard by shard, from vectors to the matches of each label."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zsaudio.archive.matches import Match, Matches, Where
from zsaudio.archive.query import Query, Scorer
from zsaudio.archive.ranking import Span, best_spans, detected_spans, smooth
from zsaudio.archive.shards import Shard, live_recordings
from zsaudio.archive.sketch import Sketch
from zsaudio.archive.store import Store
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.results import Event

LIKELY = 2000  # rows that are scored with their neighbours for each label
CANDIDATES = 5  # times as many come from the index, which only estimates inner products
_EPSILON_S = 1e-6


class Search:
    """What is searched, and how.

    Parameters
    ----------
    store
        The archive's files.
    scorer, query
        What is asked, and what scores it.
    where
        Which stretches are searched.
    options
        How neighbours are smoothed and merged, and from which score an event is one.
    hop_s
        The distance between vectors.
    """

    def __init__(
        self,
        store: Store,
        scorer: Scorer,
        query: Query,
        where: Where,
        options: DetectionOptions,
        hop_s: float,
    ) -> None:
        self._store, self._scorer, self._labels, self._where = store, scorer, query.reported, where
        self._options = options
        self._half, self._gap = (
            int(seconds / hop_s + _EPSILON_S) for seconds in (options.smooth_s / 2, options.merge_gap_s)
        )
        self._on = options.thresholds(query.reported)[0]

    def best(self, k: int, path_of: Callable[[str], str]) -> Matches:
        """Return the ``k`` best events of each label, whatever they score; by the index, if there is one.

        ``path_of`` says where a recording is, from its stored path.
        """
        shards, damaged = self._store.shards()
        live = live_recordings(shards)
        likely = self._likely(shards, k)
        found: list[list[Match]] = [[] for _ in self._labels]
        for shard in _one_by_one(shards):
            rows = self._where.rows(shard, live[shard.name])
            part = Part(shard, rows)
            if shard.name in likely:
                part = Part.around(shard, likely[shard.name], rows, self._half, self._gap)
            for number, scores in self._columns(part):
                for span in best_spans(scores, part.owner, k, self._options.off_ratio, self._gap):
                    found[number].append(self._match(shard, part.in_shard(span), number, path_of))
                found[number] = sorted(found[number], key=lambda match: -match.score)[:k]
        return Matches(tuple(match for own in found for match in own), tuple(damaged))

    def detected(self, k: int | None, path_of: Callable[[str], str]) -> Matches:
        """Return the events that ``detect`` reports, of each label all or the ``k`` best."""
        shards, damaged = self._store.shards()
        live = live_recordings(shards)
        flat = replace(self._options, smooth_s=0.0, median_s=0.0)
        found: list[list[Match]] = [[] for _ in self._labels]
        for shard in _one_by_one(shards):
            part = Part(shard, self._where.rows(shard, live[shard.name]))
            for number, scores in self._columns(part):
                label = self._labels[number]
                times = shard.onsets, shard.offsets
                for span in detected_spans(scores, shard.owner, *times, label, flat, self._gap):
                    found[number].append(self._match(shard, span, number, path_of))
        ranked = [sorted(own, key=lambda match: -match.score)[:k] for own in found]
        return Matches(tuple(match for own in ranked for match in own), tuple(damaged))

    def _match(self, shard: Shard, span: Span, number: int, path_of: Callable[[str], str]) -> Match:
        onset, offset = float(shard.onsets[span.first]), float(shard.offsets[span.last])
        peak = float(shard.onsets[span.peak] + shard.offsets[span.peak]) / 2
        event = Event(onset, offset, self._labels[number].name, span.score)
        return Match.of(event, peak, shard, int(shard.owner[span.peak]), path_of)

    def _columns(self, part: "Part") -> list[tuple[int, np.ndarray]]:
        """Return for each label the smoothed scores of a part; 0 where it is not searched."""
        if not part.rows.any():
            return []
        smoothed = smooth(self._scorer.scores(part.vectors, part.starts), part.owner, self._half, self._on)
        smoothed[~part.rows] = 0.0
        return list(enumerate(np.ascontiguousarray(smoothed.T)))

    def _likely(self, shards: Sequence[Shard], k: int) -> dict[str, np.ndarray]:
        """Return the rows of shards that may be among the best, by the index; without one, of no shard."""
        queries = self._scorer.vectors()
        sketch = None if queries is None else Sketch.load(self._store, shards)
        if sketch is None or queries is None:
            return {}
        import torch  # converts float16 several times as fast as NumPy

        n = max(LIKELY, 50 * k)
        found = sketch.best_rows(queries, CANDIDATES * n)
        vectors = {shard.name: shard.vectors for shard in shards if shard.name in found}
        asked = torch.from_numpy(np.asarray(queries.T, np.float32))
        exact = {
            name: (torch.from_numpy(vectors[name][rows]).float() @ asked).numpy()
            for name, rows in found.items()
        }
        joined = np.concatenate(list(exact.values()))
        if len(joined) <= n:
            return found
        least = np.partition(joined, -n, axis=0)[-n]
        return {name: rows[(exact[name] >= least).any(axis=1)] for name, rows in found.items()}


@dataclass
class Part:
    """Rows of a shard that are scored together: by default all of them."""

    shard: Shard
    rows: np.ndarray  # (n,) booleans: which of them are searched
    numbers: np.ndarray | None = None  # (n,): their numbers in the shard
    _owner: np.ndarray | None = None

    @classmethod
    def around(cls, shard: Shard, likely: np.ndarray, rows: np.ndarray, half: int, gap: int) -> "Part":
        """Return some rows and their neighbours, by which they are judged and with which they merge."""
        reach = 2 * half + gap + 1
        near = (likely[:, None] + np.arange(-reach, reach + 1)).ravel()
        near = np.unique(near[(near >= 0) & (near < shard.n_rows)])
        near = near[np.isin(shard.owner[near], shard.owner[likely])]
        # a part of a recording counts as one of its own; at its ends, neighbours are missing
        cut = (np.diff(near) > 1) | (np.diff(shard.owner[near]) != 0)
        owner = np.concatenate([[0], np.cumsum(cut)]) if len(near) else np.zeros(0, int)
        searched = rows[near]
        for shift in (-half, half):
            other = np.clip(near + shift, 0, max(0, shard.n_rows - 1))
            in_recording = shard.owner[other] == shard.owner[near]
            searched &= ~in_recording | np.isin(other, near)
        return cls(shard, searched, near, owner)

    @property
    def vectors(self) -> np.ndarray:
        """``(n, dim)``, float16."""
        return self.shard.vectors if self.numbers is None else self.shard.vectors[self.numbers]

    @property
    def owner(self) -> np.ndarray:
        """``(n,)``: the number of each row's recording, or part of one."""
        return self.shard.owner if self._owner is None else self._owner

    @property
    def starts(self) -> np.ndarray:
        """The first row of each recording, and the end."""
        return self.shard.starts if self.numbers is None else np.array([0, len(self.numbers)])

    def in_shard(self, span: Span) -> Span:
        """Return a span with the numbers of its rows in the shard."""
        if self.numbers is None:
            return span
        first, last, peak = (int(self.numbers[at]) for at in (span.first, span.last, span.peak))
        return Span(first, last, peak, span.score)


def _one_by_one(shards: list[Shard]) -> Iterator[Shard]:
    """Yield shards and let go of each after it, so that no more than one takes memory."""
    shards.reverse()
    while shards:
        yield shards.pop()
