"""Thresholds from background recordings: how high must a score be before it means something here.

Nobody says what is in the recordings; what matters is that the labels are not. Each label gets the lowest
threshold at which ``detect`` finds no more events of it than the target allows.

Conventions: the target is in events an hour, for each label alone; thresholds are scores in [0, 1].
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from zsaudio.audio.sources import Source
from zsaudio.detection.hysteresis import DetectionOptions, EventDetector
from zsaudio.errors import DataError, OptionError
from zsaudio.labels import Label, LabelSet
from zsaudio.recognizer import Recognizer
from zsaudio.results import ClipEvents, FrameScores

# Log-odds: thresholds of 0.1 and 0.9999. Even where all is quiet, less than 0.1 means nothing.
_LOWEST, _HIGHEST = -2.2, 9.2
_LEAST_SCORE, _HIGHEST_SCORE = 0.1, 0.9999
_STEPS = 12  # of halving the interval: to 0.004 log-odds

Progress = Callable[[Iterable[ClipEvents]], Iterable[ClipEvents]]


@dataclass(frozen=True)
class Calibrated:
    """The label set with its thresholds, and what they stand on.

    ``events`` are how many events of each label the recordings then have; ``failed`` are recordings that
    could not be used, and why.
    """

    labels: LabelSet
    hours: float
    allowed: int
    events: tuple[int, ...]
    failed: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def calibrate(
    recognizer: Recognizer,
    sources: Iterable[Source],
    per_hour: float,
    options: DetectionOptions | None = None,
    progress: Progress | None = None,
) -> Calibrated:
    """Find thresholds for a target rate of false alarms.

    Parameters
    ----------
    recognizer
        The model and the labels.
    sources
        Recordings without the sounds in question; the longer, the rarer the alarms that can be told.
    per_hour
        How many false alarms an hour each label may have.
    options
        How events will be found.
    progress
        Wraps the iterator over recordings.

    Raises
    ------
    OptionError
        If the target is negative.
    DataError
        If no recording can be used.
    """
    if not 0 <= per_hour < float("inf"):
        raise OptionError(f"false alarms an hour must be 0 or more, not {per_hour}")
    options = options or DetectionOptions()
    frames: list[FrameScores] = []
    recordings: list[list[FrameScores]] = []
    said: dict[str, list[float]] = {}  # the scores of keywords' events
    seconds, failed = 0.0, []
    # At the lowest threshold every event of a keyword is seen once; those of sounds are looked for below.
    everything = replace(options, threshold=_LEAST_SCORE)
    listening = Recognizer(
        LabelSet(
            [replace(label, threshold=None) for label in recognizer.labels], recognizer.labels.templates
        ),
        recognizer.model or "nano",
        keyword_model=recognizer.keyword_model or "nano-keyword",
        batch_size=recognizer.batch_size,
    )
    clips: Iterable[ClipEvents] = listening.detect_batch(sources, options=everything, on_scores=frames.append)
    for clip in clips if progress is None else progress(clips):
        if clip.error is not None:
            failed.append((clip.clip, str(clip.error)))
        else:
            recordings.append(list(frames))
            for event in clip.events:
                said.setdefault(event.label, []).append(event.score)
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
            thresholds[column], events[column] = _lowest_of_events(said.get(label.name, []), allowed)
    by_name = {label.name: value for label, value in zip(reported, thresholds, strict=True)}
    labels = [replace(label, threshold=by_name.get(label.name)) for label in recognizer.labels]
    result = LabelSet(labels, recognizer.labels.templates, recognizer.labels.description)
    return Calibrated(result, seconds / 3600, allowed, tuple(events), tuple(failed))


def _lowest(
    labels: Sequence[Label], recordings: list[list[FrameScores]], options: DetectionOptions, allowed: int
) -> tuple[list[float], list[int]]:
    """Halve, for all labels at once, the interval in which the lowest allowed threshold lies."""
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
    """Return the lowest threshold that leaves no more events than allowed, and how many it leaves."""
    ranked = sorted(scores, reverse=True)
    least = ranked[allowed] if len(ranked) > allowed else 0.0  # the first that must go
    threshold = min(_HIGHEST_SCORE, max(_LEAST_SCORE, math.floor(least * 1e4 + 1) / 1e4))
    return threshold, sum(score >= threshold for score in ranked)


def _thresholds(log_odds: np.ndarray) -> np.ndarray:
    """Scores, rounded up to what a file of labels shows."""
    return np.asarray(np.ceil(1e4 / (1 + np.exp(-log_odds))) / 1e4)


def _count(
    labels: Sequence[Label],
    thresholds: np.ndarray,
    recordings: list[list[FrameScores]],
    options: DetectionOptions,
) -> np.ndarray:
    """Return how many events of each label there are at its threshold."""
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
