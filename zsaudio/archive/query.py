"""What an archive is asked: labels in words, sounds that the answer is like, and sounds that it is unlike.

A sound counts as an example does in a model that ``zsaudio adapt`` made
(``zsaudio.models.learned.adapted``): it adds ``STRENGTH * exp(-SHARPNESS * (1 - cosine))`` log-odds, with
the cosine of the stretch and the nearest example; a sound that the answer is unlike takes as much away.
Without words, log-odds start at minus half the strength. So a label, sounds, or both give a score in [0,
1]; of sounds alone it is a likeness, not a probability.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from zsaudio.detection.scoring import to_scores
from zsaudio.labels import Label, LabelSet
from zsaudio.models.base import EmbeddingBank, Encoder, LabelBank
from zsaudio.models.likeness import directions

STRENGTH, SHARPNESS = 10.0, 5.5
_CHUNK = 4096  # rows that are made float32 together: they stay in a CPU's cache


def _no_keys() -> np.ndarray:
    return np.zeros((0, 0), np.float32)


@dataclass
class Query:
    """A question to an archive.

    Parameters
    ----------
    labels
        What is asked in words; None: by sounds alone.
    like, unlike
        ``(n_sounds, dim)``: embeddings of sounds.
    name
        What results call a question without words.
    """

    labels: LabelSet | None = None
    like: np.ndarray = field(default_factory=_no_keys)
    unlike: np.ndarray = field(default_factory=_no_keys)
    name: str = "like the example"

    @property
    def keywords(self) -> list[Label]:
        """The labels that are spoken words."""
        return [label for label in self.labels or () if label.is_keyword]

    @property
    def of_sounds(self) -> "Query | None":
        """The question without keywords; None: nothing is left of it."""
        if self.labels is None or not self.keywords:
            return self
        sounds = [label for label in self.labels if not label.is_keyword]
        if any(not label.background for label in sounds):
            return replace(self, labels=LabelSet(sounds, self.labels.templates))
        return replace(self, labels=None) if len(self.like) else None

    @cached_property
    def reported(self) -> list[Label]:
        """The labels that results carry."""
        if self.labels is None:
            return [Label(self.name)]
        return [label for label in self.labels if not label.background]


class Scorer:
    """Scores stored vectors for a query.

    Parameters
    ----------
    model
        The encoder whose frames are the archive's stretches.
    query
        What is asked.
    by_recording
        Whether the model needs a recording's vectors together, since the scores of one depend on its
        neighbours.
    """

    def __init__(self, model: Encoder, query: Query, by_recording: bool = False) -> None:
        self._model, self._query, self._by_recording = model, query, by_recording
        self._bank: LabelBank | None = model.embed_labels(query.labels) if query.labels is not None else None
        self._background = np.array([label.background for label in query.labels or [Label("-")]])
        self._keys = [
            (directions(keys, model), sign)
            for keys, sign in ((query.like, 1), (query.unlike, -1))
            if len(keys)
        ]

    @property
    def bank(self) -> LabelBank | None:
        """The labels as the model sees them."""
        return self._bank

    @property
    def keys(self) -> list[tuple[np.ndarray, int]]:
        """The sounds as unit vectors, with 1 for like and -1 for unlike."""
        return self._keys

    def vectors(self) -> np.ndarray | None:
        """Return vectors whose inner product with a row says how good it is; None: there are none."""
        parts = [keys for keys, sign in self._keys if sign > 0]
        if self._bank is not None:
            if not isinstance(self._bank, EmbeddingBank):
                return None
            parts.append(self._bank.embeddings[~self._background])
        return np.concatenate(parts)

    def scores(self, vectors: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Return the scores ``(n_rows, n_reported)`` of vectors ``(n_rows, dim)``.

        ``starts`` are the first rows of recordings, and the end.
        """
        edges = starts if self._by_recording else np.arange(0, len(vectors) + _CHUNK, _CHUNK)
        chunks = [vectors[a:b] for a, b in pairwise(edges) if a < b]
        parts = list(threads().map(self._chunk, chunks))
        if not parts:
            return np.zeros((0, len(self._query.reported)), np.float32)
        return np.concatenate(parts)

    def _chunk(self, half: np.ndarray) -> np.ndarray:
        import torch  # converts float16 several times as fast as NumPy; a copy, since the file is read-only

        frames = torch.from_numpy(np.array(half)).float().numpy()
        if self._bank is None:
            logits = np.full((len(frames), 1), -STRENGTH / 2, np.float32)
        else:
            (logits,) = self._model.compare([frames], self._bank)
        if self._keys:
            unit = directions(frames, self._model)
            gain = sum(sign * likeness(unit, keys) for keys, sign in self._keys)
            logits = logits + np.where(self._background, 0.0, np.asarray(gain)[:, None])
        return to_scores(logits, self._background)[:, ~self._background]


def likeness(unit: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the log-odds that the nearest of some sounds adds to unit vectors, ``(n_rows,)``."""
    nearest = (unit @ keys.T).max(axis=1)
    return np.asarray(STRENGTH * np.exp(-SHARPNESS * (1 - nearest)))


_pool: list[ThreadPoolExecutor] = []


def threads() -> ThreadPoolExecutor:
    """Return threads beside the model's own, which these may wait for."""
    from zsaudio.models.threads import start_threads

    if not _pool:
        _pool.append(start_threads())
    return _pool[0]
