"""Keywords in an archive: what a speech model heard is stored, and words that come later are aligned with it.

The frames of a recording are those that ``Recognizer.detect`` aligns keywords with, in 8 bits
(``zsaudio.models.speech.codes``), and so are the events, but for the precision of the codes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zsaudio.archive.matches import Match, Matches, Where
from zsaudio.archive.shards import Shard, live_recordings
from zsaudio.archive.store import Store
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.keyword_peaks import KeywordDetector
from zsaudio.labels import Label, LabelSet
from zsaudio.models.base import KeywordBank, SpeechModel, own_bank
from zsaudio.models.speech.alignment import KeywordSpotter
from zsaudio.models.speech.codes import from_codes
from zsaudio.results import Event

FAINT = 0.01  # keywords that score less are not among the best
_CHUNK = 4096  # frames that are aligned together
SPEECH_TOLERANCE = 0.05  # between probes; another device or precision changes less


def speech_header(model: SpeechModel, name: str) -> dict[str, Any]:
    """Return what an archive notes of a speech model."""
    return {"model": name, "probe": [round(float(value), 4) for value in _probe(model)]}


def is_same(model: SpeechModel, header: dict[str, Any]) -> bool:
    """Return whether a model is the one that an archive's frames are of."""
    probe, noted = _probe(model), np.array(header["probe"])
    return probe.shape == noted.shape and bool(np.abs(probe - noted).max() < SPEECH_TOLERANCE)


def _probe(model: SpeechModel) -> np.ndarray:
    """Return the mean log-probabilities ``(n_symbols,)`` in one second of noise, always the same noise."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, model.sample_rate).astype(np.float32)
    (frames,) = model.log_probs([noise])
    return np.asarray(np.maximum(frames, -30.0).mean(axis=0), np.float32)


class WordSearch:
    """A search for keywords.

    Parameters
    ----------
    store
        The archive's files.
    model
        The speech model that the frames are of.
    labels
        The keywords.
    where
        Which stretches are searched: events whose middle is in one.
    options
        As in ``detect``; ``threshold`` and ``min_duration_s`` apply.
    n_symbols
        Of the model.
    """

    def __init__(
        self,
        store: Store,
        model: SpeechModel,
        labels: Sequence[Label],
        where: Where,
        options: DetectionOptions,
        n_symbols: int,
    ) -> None:
        self._store, self._model, self._labels, self._where = store, model, labels, where
        self._options, self._n_symbols = options, n_symbols
        self._keywords = own_bank(model.embed_labels(LabelSet(labels)), KeywordBank).keywords

    def best(self, k: int, path_of: Callable[[str], str]) -> Matches:
        """Return the ``k`` best events of each keyword that score ``FAINT`` or more and are apart."""
        faint = replace(self._options, threshold=FAINT)
        labels = [replace(label, threshold=None) for label in self._labels]
        return self._found(labels, faint, k, path_of, apart=True)

    def detected(self, k: int | None, path_of: Callable[[str], str]) -> Matches:
        """Return the events that ``detect`` reports, of each keyword all or the ``k`` best."""
        return self._found(self._labels, self._options, k, path_of)

    def _found(
        self,
        labels: Sequence[Label],
        options: DetectionOptions,
        k: int | None,
        path_of: Callable[[str], str],
        apart: bool = False,
    ) -> Matches:
        shards, damaged = self._store.shards()
        live = live_recordings(shards)
        found: dict[str, list[Match]] = {label.name: [] for label in labels}
        for shard in shards:
            rows = self._where.rows(shard, live[shard.name])
            for number in live[shard.name]:
                first, end = shard.starts[number : number + 2].tolist()
                if not rows[first:end].any():
                    continue
                events = self._events(shard, number, labels, options)
                for event in _apart(events) if apart else events:
                    middle = (event.onset + event.offset) / 2
                    row = first + int(np.searchsorted(shard.offsets[first : end - 1], middle))
                    if rows[row]:
                        found[event.label].append(Match.of(event, event.offset, shard, number, path_of))
        ranked = [sorted(own, key=lambda match: -match.score)[:k] for own in found.values()]
        return Matches(tuple(match for own in ranked for match in own), tuple(damaged))

    def _events(
        self, shard: Shard, number: int, labels: Sequence[Label], options: DetectionOptions
    ) -> list[Event]:
        model = self._model
        spotter = KeywordSpotter(self._keywords, model.scoring)
        detector = KeywordDetector(labels, options, model.scoring, model.frame_s)
        codes = shard.speech(number, self._n_symbols)
        events = []
        for start in range(0, len(codes), _CHUNK):
            events += detector.push(spotter.push(from_codes(codes[start : start + _CHUNK])))
        return events + detector.flush()


def _apart(events: Sequence[Event]) -> Iterator[Event]:
    """Yield the events, without those that overlap a better one of the same label."""
    kept: list[Event] = []
    for event in sorted(events, key=lambda event: -event.score):
        if all(
            other.label != event.label or event.onset >= other.offset or event.offset <= other.onset
            for other in kept
        ):
            kept.append(event)
            yield event
