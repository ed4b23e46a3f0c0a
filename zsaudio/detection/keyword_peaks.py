"""Scores of keywords -> events.

An event is a peak of a keyword's score at or above its threshold; it lasts from the start of the alignment to
its end. It is reported when the score has not risen for ``SETTLE_S`` seconds. By then it is known whether a
pause follows: the lack of one lowers the score, as does the lack of a pause before the keyword, since a word
may be the beginning of a longer one. After an event, the same keyword can be detected again. An alignment
that overlaps it counts only if its score is higher.

The keywords of a label set compete: what shares half of its time with a keyword that fits better is not
reported. One whose words are among the other's is: "hey computer" is heard as "computer", too.

Conventions: frames are ``frame_s`` long and counted from the start of the stream; times are seconds.
"""

from collections.abc import Sequence

import numpy as np

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.labels import KEYWORD_PREFIX, Label
from zsaudio.models.speech.alignment import AlignmentScoring, Spotted
from zsaudio.results import Event

SETTLE_S = 0.09


class KeywordDetector:
    """Turn the scores of keywords, frame by frame, into events.

    Parameters
    ----------
    labels
        The keywords.
    options
        ``threshold``, ``sensitivity`` and ``min_duration_s`` apply; the other options are for the
        events of sounds.
    scoring, frame_s
        The model's.
    compete
        Whether the keywords compete.
    """

    def __init__(
        self,
        labels: Sequence[Label],
        options: DetectionOptions,
        scoring: AlignmentScoring,
        frame_s: float,
        compete: bool = False,
    ) -> None:
        self._labels = [label.name for label in labels]
        thresholds, _ = options.thresholds(labels)
        with np.errstate(divide="ignore"):
            self._least = np.log(thresholds) - np.log1p(-thresholds)
        self._shortest_s = options.min_duration_s
        self._scoring, self._frame_s = scoring, frame_s
        self._settle = max(1, round(SETTLE_S / frame_s))
        self._frame = 0
        n = len(labels)
        self._best = np.full(n, -np.inf)  # the peak that may still be topped
        self._best_start, self._best_end = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._blank = np.zeros(n)  # log-likelihood ratio that all was blank since
        # the last event: its score, its first frame, and the first after it
        self._reported = np.full(n, np.inf)
        self._reported_start, self._free_from = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._compete = compete
        self._words = [f" {name.casefold().removeprefix(KEYWORD_PREFIX).strip()} " for name in self._labels]

    def push(self, spotted: Spotted) -> list[Event]:
        """Take the next frames; return the events that are final."""
        events = []
        heard = spotted.logits >= self._least
        pending = np.isfinite(self._best).any()
        for t in range(len(spotted.logits)) if pending or heard.any() else ():
            frame = self._frame + t
            logits, start = spotted.logits[t], spotted.start[t]
            # what shares frames with the last event counts only if it fits better: that one was a part of it
            free = (start >= self._free_from) | (logits > self._reported)
            better = heard[t] & (logits > self._best) & free
            self._best = np.where(better, logits, self._best)
            self._best_start = np.where(better, start, self._best_start)
            self._best_end = np.where(better, frame, self._best_end)
            self._blank = np.where(better, 0.0, self._blank + spotted.blank[t])
            settled = np.isfinite(self._best) & (frame - self._best_end >= self._settle)
            events += [event for k in np.flatnonzero(settled) for event in self._close(int(k))]
        self._frame += len(spotted.logits)
        return events

    def flush(self) -> list[Event]:
        """End the stream; return the events that were not final yet."""
        return [event for k in np.flatnonzero(np.isfinite(self._best)) for event in self._close(int(k))]

    def _close(self, k: int) -> list[Event]:
        how, frame_s = self._scoring, self._frame_s
        onset = max(0.0, float(self._best_start[k]) * frame_s - how.lead_s)
        offset = (float(self._best_end[k]) + 1) * frame_s + how.tail_s
        peak, self._best[k] = self._best[k], -np.inf
        log_odds = float(how.followed(peak, self._blank[k]))
        if log_odds < self._least[k] or (self._compete and self._outdone(k, peak)):
            return []
        self._reported[k] = peak
        self._reported_start[k], self._free_from[k] = self._best_start[k], self._best_end[k] + 1
        if offset - onset < self._shortest_s:
            return []
        return [Event(onset, offset, self._labels[k], float(1 / (1 + np.exp(-log_odds))))]

    def _outdone(self, k: int, peak: float) -> bool:
        """Whether a rival with a higher score shares half of the frames of a keyword's peak."""
        first, end = self._best_start[k], self._best_end[k] + 1
        for scores, starts, ends in (
            (self._best, self._best_start, self._best_end + 1),
            (self._reported, self._reported_start, self._free_from),
        ):
            shared = np.minimum(ends, end) - np.maximum(starts, first)
            better = np.flatnonzero((scores > peak) & (2 * shared >= end - first))
            if any(self._words[k] not in self._words[other] for other in better):
                return True
        return False
