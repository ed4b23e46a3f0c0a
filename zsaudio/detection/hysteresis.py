"""Scores over time -> events, by thresholds with hysteresis.

Conventions: times are in seconds from the start of the recording; scores are in [0, 1]. A *frame* is a span
of time with one score per label. Frames follow each other without gaps and may differ in length.

1. Scores are smoothed over neighbouring frames (``DetectionOptions.smooth_s``), since a single frame is
   uncertain.
2. An event starts at the first frame at or above the label's threshold, and ends where the score falls below
   a lower threshold. A score that wavers around the threshold so gives one event, not many.
3. Events of a label that are close together are joined. Then events that are too short are dropped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zsaudio.errors import OptionError
from zsaudio.labels import Label
from zsaudio.results import Event

if TYPE_CHECKING:
    from zsaudio.models.base import Model

_EPSILON_S = 1e-6  # differences of times are not exact
_LIVE_WINDOW_S = 3.0  # for models that score whole windows
OWN_SHARE = 0.05  # of the threshold: what a frame itself must score to be in an event


@dataclass(frozen=True, kw_only=True)
class DetectionOptions:
    """How events are found.

    Parameters
    ----------
    window_s
        Length of a window; None: what suits the model.
    hop_s
        Distance between windows; None: half a window, or what the model's context leaves of it.
    overlap_s
        What neighbouring windows share; the other way to set ``hop_s``.
    lookahead_s
        Audio after a frame that its scores wait for; None: all that they depend on. A smaller value gives
        earlier, slightly different scores, for live use.
    threshold
        Lowest score at which an event starts, for labels without a threshold of their own.
    off_ratio
        An event lasts while the score is at least this fraction of its label's threshold.
    sensitivity
        0 keeps the thresholds. Each step up divides the odds of the threshold by three, each step down
        multiplies them by three.
    smooth_s
        The odds of a frame are averaged over a stretch of this length around it; 0: no smoothing. A frame
        whose own score is close to 0 is never part of an event, so that onsets and offsets stay sharp.
    median_s
        Length of a median filter over the scores, applied first; 0: none.
    merge_gap_s
        Events of a label that are no further apart are joined.
    min_duration_s
        Shorter events are dropped.

    Raises
    ------
    OptionError
        If a value is out of its range.
    """

    # windows
    window_s: float | None = None
    hop_s: float | None = None
    overlap_s: float | None = None
    lookahead_s: float | None = None
    # thresholds
    threshold: float = 0.5
    off_ratio: float = 0.5
    sensitivity: float = 0.0
    # shape of events
    smooth_s: float = 3.0
    median_s: float = 0.0
    merge_gap_s: float = 1.0
    min_duration_s: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.threshold < 1:
            raise OptionError(f"threshold must be above 0 and below 1, not {self.threshold}")
        if not 0 < self.off_ratio <= 1:
            raise OptionError(f"off_ratio must be above 0 and at most 1, not {self.off_ratio}")
        if self.hop_s is not None and self.overlap_s is not None:
            raise OptionError("hop_s and overlap_s say the same; give one of them")
        for name in ("window_s", "hop_s"):
            if (value := getattr(self, name)) is not None and not 0 < value < np.inf:
                raise OptionError(f"{name} must be above 0, not {value}")
        for name in ("overlap_s", "lookahead_s", "smooth_s", "median_s", "merge_gap_s", "min_duration_s"):
            if (value := getattr(self, name)) is not None and not 0 <= value < np.inf:
                raise OptionError(f"{name} must be 0 or more, not {value}")
        if not abs(self.sensitivity) <= 10:
            raise OptionError(f"sensitivity must be between -10 and 10, not {self.sensitivity}")

    @classmethod
    def live(cls, model: "Model | None", **changes: float | None) -> "DetectionOptions":
        """Return options for live audio: events are reported within a second.

        Scores then wait for less audio than they depend on, and differ slightly from those of ``detect``.

        Parameters
        ----------
        model
            The model for sounds; None where all labels are keywords.
        changes
            Options that are to have other values.

        Examples
        --------
        >>> DetectionOptions.live(None, threshold=0.7).threshold
        0.7
        """
        options: dict[str, float | None]
        if model is None or model.context_s:
            options = {"hop_s": 0.16, "lookahead_s": 0.32, "smooth_s": 0.48}
        else:  # a model with one score for a whole window
            window_s = min(_LIVE_WINDOW_S, model.window_s)
            options = {"window_s": window_s, "hop_s": window_s / 3, "smooth_s": 0.0}
        return cls(**(options | changes))  # type: ignore[arg-type]  # None only where it is allowed

    def thresholds(self, labels: Sequence[Label]) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores at which events of each label open, and below which they end."""
        on = np.array([self.threshold if label.threshold is None else label.threshold for label in labels])
        # odds divided by 3 ** sensitivity; a threshold of 0 or 1 stays what it is
        on = on / (on + (1 - on) * 3.0**self.sensitivity)
        return on, on * self.off_ratio


class EventDetector:
    """Turn frames of scores, one by one, into events.

    Parameters
    ----------
    labels
        The labels that the scores are of, without background.
    options
        Thresholds and shape of events.
    frame_s
        Usual length of a frame, by which the lengths of filters in frames are known.

    Examples
    --------
    >>> detector = EventDetector([Label("dog")], DetectionOptions(smooth_s=0.0, merge_gap_s=0.0), frame_s=1.0)
    >>> events = [detector.push(t, t + 1.0, [score]) for t, score in enumerate([0.1, 0.9, 0.3, 0.1, 0.6])]
    >>> [event for closed in events for event in closed]
    [Event(onset=1.0, offset=3.0, label='dog', score=0.9)]
    >>> detector.flush()
    [Event(onset=4.0, offset=5.0, label='dog', score=0.6)]
    """

    def __init__(self, labels: Sequence[Label], options: DetectionOptions, frame_s: float) -> None:
        self._labels = [label.name for label in labels]
        self._on, self._off = options.thresholds(labels)
        self._options = options
        self._filters = [
            _Filter(options.median_s / frame_s, _median),
            _Filter(options.smooth_s / frame_s, self._smooth),
        ]
        self._open: dict[int, _Open] = {}

    @property
    def heard(self) -> np.ndarray:
        """``(n_labels,)`` booleans: the labels of which an event, long enough to count, is going on."""
        heard = np.zeros(len(self._labels), bool)
        for index, event in self._open.items():
            heard[index] = event.going_on and self._long_enough(event)
        return heard

    def push(self, onset: float, offset: float, scores: Sequence[float] | np.ndarray) -> list[Event]:
        """Take the next frame; return the events that can no longer grow."""
        (closed,) = self.push_all(np.array([[onset, offset]], np.float64), np.asarray(scores)[None])
        return closed

    def push_all(self, times: np.ndarray, scores: np.ndarray) -> Iterator[list[Event]]:
        """Take frames; yield for each the events that can no longer grow.

        Parameters
        ----------
        times
            Their onsets and offsets, ``(n_frames, 2)``.
        scores
            ``(n_frames, n_labels)``.
        """
        n_frames = len(times)
        for filter_ in self._filters:
            times, scores = filter_.push(times, scores)
        yield from ([] for _ in range(n_frames - len(times)))  # filters wait for the frames to come
        yield from self._steps(times, scores)

    def flush(self) -> list[Event]:
        """End the recording; return the events that were still open."""
        times, scores = np.zeros((0, 2)), np.zeros((0, len(self._labels)))
        for filter_ in self._filters:
            times, scores = filter_.push(times, scores, is_last=True)
        closed = [event for events in self._steps(times, scores) for event in events]
        return closed + [event for index in sorted(self._open) for event in self._close(index)]

    def _smooth(self, scores: np.ndarray, first: int, end: int, half: int) -> np.ndarray:
        """Return the mean of the odds of the frames around one; 0 where the frame itself hardly scores."""
        certain = np.minimum(scores.astype(np.float64), 1 - 1e-6)
        odds = np.zeros((len(scores) + 2 * half, scores.shape[1]))
        odds[half : half + len(scores)] = certain / (1 - certain)
        places = np.arange(first, end)
        n_near = np.minimum(places + half + 1, len(scores)) - np.maximum(places - half, 0)
        total = np.zeros((end - first, scores.shape[1]))
        for shift in range(2 * half + 1):  # a running sum would lose small odds beside large ones
            total += odds[first + shift : end + shift]
        mean = total / n_near[:, None]
        return np.where(scores[first:end] < OWN_SHARE * self._on, 0.0, mean / (1 + mean))

    def _steps(self, times: np.ndarray, scores: np.ndarray) -> Iterator[list[Event]]:
        """Yield for each frame the events that it closes."""
        loud = set(np.nonzero(scores >= self._on)[0].tolist())
        for number, (onset, offset) in enumerate(times.tolist()):
            is_quiet = not self._open and number not in loud
            yield [] if is_quiet else self._step(_Frame(onset, offset, scores[number]))

    def _step(self, frame: "_Frame") -> list[Event]:
        over = frame.scores >= self._on
        closed = []
        for index in sorted(self._open):
            event = self._open[index]
            near = frame.onset - event.offset <= self._options.merge_gap_s + _EPSILON_S
            if (event.going_on and frame.scores[index] >= self._off[index]) or (over[index] and near):
                event.extend(frame.offset, float(frame.scores[index]))
                continue
            event.going_on = False
            if frame.offset - event.offset > self._options.merge_gap_s + _EPSILON_S:  # no later frame is near
                closed += self._close(index)
        for index in map(int, np.flatnonzero(over)):
            if index not in self._open:
                self._open[index] = _Open(frame.onset, frame.offset, float(frame.scores[index]))
        return closed

    def _long_enough(self, event: "_Open") -> bool:
        return event.offset - event.onset >= self._options.min_duration_s - _EPSILON_S

    def _close(self, index: int) -> list[Event]:
        event = self._open.pop(index)
        if not self._long_enough(event):
            return []
        return [Event(event.onset, event.offset, self._labels[index], event.score)]


@dataclass(frozen=True)
class _Frame:
    onset: float
    offset: float
    scores: np.ndarray


class _Filter:
    """A filter over time; at the ends of a recording it sees fewer frames.

    ``combine(scores, first, end, half)`` filters the frames from ``first`` up to ``end`` of scores
    ``(n_frames, n_labels)``; up to ``half`` frames on either side of each count.
    """

    def __init__(self, n_frames: float, combine: Callable[[np.ndarray, int, int, int], np.ndarray]) -> None:
        self._half = int(n_frames / 2 + _EPSILON_S)  # frames on either side
        self._combine = combine
        self._kept: tuple[np.ndarray, np.ndarray] | None = None
        self._first = 0  # of those kept, the first that is still to be returned

    def push(
        self, times: np.ndarray, scores: np.ndarray, is_last: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take frames; return those, filtered, of which all neighbours are known."""
        if not self._half:
            return times, scores
        if self._kept is not None:
            times, scores = np.concatenate([self._kept[0], times]), np.concatenate([self._kept[1], scores])
        first = self._first
        end = max(first, len(times) - self._half * (not is_last))
        drop = max(0, end - self._half)
        self._kept, self._first = (times[drop:], scores[drop:]), end - drop
        return times[first:end], self._combine(scores, first, end, self._half)


def _median(scores: np.ndarray, first: int, end: int, half: int) -> np.ndarray:
    medians = [np.median(scores[max(0, at - half) : at + half + 1], axis=0) for at in range(first, end)]
    return np.array(medians).reshape(end - first, scores.shape[1])


@dataclass
class _Open:
    """An event that may still grow: it goes on, or ended so recently that the next may join it."""

    onset: float
    offset: float
    score: float
    going_on: bool = True

    def extend(self, offset: float, score: float) -> None:
        self.offset, self.score, self.going_on = offset, max(self.score, score), True
