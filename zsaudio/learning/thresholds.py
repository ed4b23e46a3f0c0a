"""Thresholds for a target rate of false alarms, from background recordings.

The recordings need no annotation, but must not contain the labels: every event that is detected in them is a
false alarm. Each label gets the lowest threshold at which ``detect`` finds no more events of it than the
target allows.

Conventions: the target is in events per hour, for each label alone; thresholds are scores in [0, 1].
"""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zsaudio.audio.sources import Source
from zsaudio.detection.hysteresis import DetectionOptions, EventDetector
from zsaudio.errors import DataError, OptionError
from zsaudio.files import write_atomically
from zsaudio.labels import Label, LabelSet
from zsaudio.recognizer import Recognizer
from zsaudio.results import ClipEvents, FrameScores

# Log-odds of the thresholds 0.1 and 0.9999. A score below 0.1 means nothing, even in a quiet place.
_LOWEST, _HIGHEST = -2.2, 9.2
_LEAST_SCORE, _HIGHEST_SCORE = 0.1, 0.9999
_STEPS = 12  # of halving the interval: to 0.004 log-odds

Progress = Callable[[Iterable[ClipEvents]], Iterable[ClipEvents]]


@dataclass(frozen=True)
class Calibrated:
    """A label set with thresholds, and what they were computed from.

    Parameters
    ----------
    labels
        The labels with their thresholds.
    hours
        Length of the recordings that were used.
    allowed
        How many events of a label the target allows in that time.
    events
        How many events of each label that is not background are left with its threshold.
    failed
        Recordings that could not be used, each with the reason.
    """

    labels: LabelSet
    hours: float
    allowed: int
    events: tuple[int, ...]
    failed: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the labels to a file that ``LabelSet.from_file`` reads (YAML)."""
        write_atomically(Path(path), to_yaml(self.labels))


def calibrate(
    recognizer: Recognizer,
    sources: Iterable[Source],
    *,
    per_hour: float = 1.0,
    options: DetectionOptions | None = None,
    progress: Progress | None = None,
) -> Calibrated:
    """Find thresholds for a target rate of false alarms.

    Parameters
    ----------
    recognizer
        The models and the labels.
    sources
        Recordings without the labels. Rare false alarms need long recordings: their total length should be
        several times ``1 / per_hour`` hours.
    per_hour
        How many false alarms per hour each label may have.
    options
        The options with which events will be detected.
    progress
        Wraps the iterator over recordings.

    Returns
    -------
    Calibrated
        ``recognizer.with_labels(calibrated.labels)`` uses the thresholds; ``calibrated.save(path)`` writes
        them.

    Raises
    ------
    OptionError
        If the target is negative.
    DataError
        If no recording can be used.
    """
    if not 0 <= per_hour < float("inf"):
        raise OptionError(f"false alarms per hour must be 0 or more, not {per_hour}")
    options = options or DetectionOptions()
    frames: list[FrameScores] = []
    recordings: list[list[FrameScores]] = []
    scores: dict[str, list[float]] = {}  # of the events of each label
    seconds, failed = 0.0, []
    # At the lowest threshold every event of a keyword is found once. The events of sounds depend on the
    # threshold, so they are found below, from the scores of frames.
    everything = replace(options, threshold=_LEAST_SCORE)
    without = [replace(label, threshold=None, false_alarms=None) for label in recognizer.labels]
    lenient = recognizer.with_labels(LabelSet(without, recognizer.labels.templates))
    clips: Iterable[ClipEvents] = lenient.detect_batch(sources, options=everything, on_scores=frames.append)
    for clip in clips if progress is None else progress(clips):
        if clip.error is not None:
            failed.append((clip.clip, str(clip.error)))
        else:
            recordings.append(list(frames))
            for event in clip.events:
                scores.setdefault(event.label, []).append(event.score)
            seconds += clip.duration_s
        frames.clear()
    if not recordings:
        raise DataError(
            f"none of the recordings can be used; the first: {failed[0][1] if failed else 'none'}"
        )
    reported = [label for label in recognizer.labels if not label.background]
    allowed = int(per_hour * seconds / 3600)
    thresholds, events = _lowest(reported, recordings, options, allowed)
    for column, label in enumerate(reported):
        if label.is_keyword:
            thresholds[column], events[column] = _lowest_of_events(scores.get(label.name, []), allowed)
    by_name = {label.name: value for label, value in zip(reported, thresholds, strict=True)}
    labels = [
        replace(label, threshold=by_name.get(label.name), false_alarms=None) for label in recognizer.labels
    ]
    result = LabelSet(labels, recognizer.labels.templates, recognizer.labels.description)
    return Calibrated(result, seconds / 3600, allowed, tuple(events), tuple(failed))


def _lowest(
    labels: Sequence[Label], recordings: list[list[FrameScores]], options: DetectionOptions, allowed: int
) -> tuple[list[float], list[int]]:
    """Bisect, for all labels at once, for the lowest threshold with no more events than allowed."""
    low, high = np.full(len(labels), _LOWEST), np.full(len(labels), _HIGHEST)
    found = _count(labels, _thresholds(high), recordings, options)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        counts = _count(labels, _thresholds(middle), recordings, options)
        fine = counts <= allowed
        high, low = np.where(fine, middle, high), np.where(fine, low, middle)
        found = np.where(fine, counts, found)
    return _thresholds(high).tolist(), found.tolist()


def _lowest_of_events(scores: Sequence[float], allowed: int) -> tuple[float, int]:
    """Return the lowest threshold with no more events than allowed, and the number of events left."""
    ranked = sorted(scores, reverse=True)
    least = ranked[allowed] if len(ranked) > allowed else 0.0  # the best event that must be below it
    threshold = min(_HIGHEST_SCORE, max(_LEAST_SCORE, math.floor(least * 1e4 + 1) / 1e4))
    return threshold, sum(score >= threshold for score in ranked)


def _thresholds(log_odds: np.ndarray) -> np.ndarray:
    """Return scores, rounded up to the digits that a label file shows."""
    return np.asarray(np.ceil(1e4 / (1 + np.exp(-log_odds))) / 1e4)


def _count(
    labels: Sequence[Label],
    thresholds: np.ndarray,
    recordings: list[list[FrameScores]],
    options: DetectionOptions,
) -> np.ndarray:
    """Return the number of events of each label at its threshold."""
    placed = [replace(label, threshold=float(t)) for label, t in zip(labels, thresholds, strict=True)]
    counts = dict.fromkeys((label.name for label in labels), 0)
    for frames in recordings:
        frame_s = min((frame.offset - frame.onset for frame in frames[:1]), default=1.0)
        detector = EventDetector(placed, options, frame_s)
        events = [e for frame in frames for e in detector.push(frame.onset, frame.offset, frame.scores)]
        for event in (*events, *detector.flush()):
            counts[event.label] += 1
    return np.array(list(counts.values()))


def to_yaml(labels: LabelSet) -> str:
    """Return a label set as a file that ``LabelSet.from_file`` reads."""
    import yaml

    data: dict[str, Any] = {"description": labels.description} if labels.description else {}
    if labels.templates:
        data["templates"] = list(labels.templates)
    data["labels"] = [_entry(label) for label in labels if not label.background]
    if background := [_entry(label) for label in labels if label.background]:
        data["background"] = background
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def _entry(label: Label) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": label.name}
    if label.prompts:
        entry["prompts"] = list(label.prompts)
    if label.group:
        entry["group"] = label.group
    if label.threshold is not None:
        entry["threshold"] = label.threshold
    return entry
