"""Scores of stored stretches -> the best events.

Conventions: arrays are over the stretches of a shard in order, ``(n_rows,)`` or ``(n_rows, n_labels)``;
``owner`` gives the number of each row's recording, and rows of one recording follow each other in time.
Scores are smoothed as ``zsaudio.detection.hysteresis.EventDetector`` does, all rows at once.
"""

from dataclasses import dataclass

import numpy as np

from zsaudio.detection.hysteresis import OWN_SHARE, DetectionOptions, EventDetector
from zsaudio.labels import Label

_CERTAIN = 1 - 1e-6


@dataclass(frozen=True)
class Span:
    """An event in a shard: rows ``first`` to ``last``, and its peak."""

    first: int
    last: int
    peak: int
    score: float


def smooth(scores: np.ndarray, owner: np.ndarray, half: int, threshold: np.ndarray | float) -> np.ndarray:
    """Judge each row by the mean of the odds of up to ``half`` rows of its recording on either side.

    A row that hardly scores itself, next to ``threshold`` or to what this makes of it, becomes 0.
    """
    if not half:
        return scores
    certain = np.minimum(scores.astype(np.float64), _CERTAIN)
    odds = certain / (1 - certain)
    total, count = odds.copy(), np.ones((len(scores), *[1] * (scores.ndim - 1)))
    for step in range(1, min(half, len(scores) - 1) + 1):
        same = (owner[step:] == owner[:-step]).reshape(-1, *[1] * (scores.ndim - 1))
        total[:-step] += odds[step:] * same
        total[step:] += odds[:-step] * same
        count[:-step] += same
        count[step:] += same
    total /= count
    judged = total / (1 + total)
    return np.where(scores < OWN_SHARE * np.minimum(judged, threshold), 0.0, judged).astype(np.float32)


def best_spans(scores: np.ndarray, owner: np.ndarray, k: int, off_ratio: float, gap: int) -> list[Span]:
    """Return the ``k`` best events of one label, best first.

    An event is a peak and the rows about it that score at least ``off_ratio`` of it, up to ``gap`` lower rows
    between them. Rows of an event, and those within the gap of it, belong to no other.
    """
    spans: list[Span] = []
    taken = np.zeros(len(scores), bool)
    n_best = min(len(scores), max(64, 16 * k))
    while True:
        order = np.argpartition(-scores, n_best - 1)[:n_best] if n_best else np.zeros(0, int)
        spans.clear()
        taken[:] = False
        for peak in order[np.lexsort((order, -scores[order]))].tolist():
            if taken[peak] or scores[peak] <= 0:
                continue
            first, last = (
                _reach(scores, owner, taken, peak, step, off_ratio * scores[peak], gap) for step in (-1, 1)
            )
            taken[max(0, first - gap) : last + gap + 1] |= (
                owner[max(0, first - gap) : last + gap + 1] == owner[peak]
            )
            spans.append(Span(first, last, peak, float(scores[peak])))
            if len(spans) == k:
                return spans
        if n_best == len(scores):
            return spans
        n_best = min(len(scores), 8 * n_best)


def _reach(
    scores: np.ndarray, owner: np.ndarray, taken: np.ndarray, peak: int, step: int, least: float, gap: int
) -> int:
    """Return the last row on one side of a peak that belongs to it."""
    edge, row = peak, peak + step
    while 0 <= row < len(scores) and abs(row - edge) <= gap + 1:
        if owner[row] != owner[peak] or taken[row]:
            break
        if scores[row] >= least:
            edge = row
        row += step
    return edge


def detected_spans(
    scores: np.ndarray,
    owner: np.ndarray,
    onsets: np.ndarray,
    offsets: np.ndarray,
    label: Label,
    options: DetectionOptions,
    gap: int,
) -> list[Span]:
    """Return the events of one label that ``EventDetector`` finds in smoothed scores, in order.

    Only rows that can be in an event, and those about them, are looked at.
    """
    on, off = (float(value[0]) for value in options.thresholds([label]))
    rows = np.flatnonzero(scores >= off)
    if not len(rows):
        return []
    apart = (np.diff(rows) > gap + 1) | (np.diff(owner[rows]) != 0)
    spans = []
    for run in np.split(rows, np.flatnonzero(apart) + 1):
        if scores[run].max() < on:
            continue
        detector = EventDetector([label], options, 1.0)
        first, last = int(run[0]), int(run[-1])
        events = []
        for row in range(first, last + 1):
            events += detector.push(onsets[row], offsets[row], scores[row : row + 1])
        for event in events + detector.flush():
            inside = slice(*np.searchsorted(onsets[first : last + 1], (event.onset, event.offset)) + first)
            peak = inside.start + int(scores[inside].argmax())
            spans.append(Span(inside.start, inside.stop - 1, peak, event.score))
    return spans
