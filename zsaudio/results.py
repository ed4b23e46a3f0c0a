"""What comes out: the tags of a clip, the events of a recording, the scores of a frame, a model's outputs.

Conventions: times are in seconds from the start of the recording; scores are in [0, 1].
"""

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np


@dataclass(frozen=True)
class Tag:
    """A label and its score in [0, 1] for a whole clip."""

    label: str
    score: float


@dataclass(frozen=True)
class ClipTags:
    """What became of one clip: its tags, best first, or the reason why there are none.

    ``clip`` is the clip's path or name, ``duration_s`` its length in seconds. A damaged clip has both: the
    tags of the part that can be decoded, ``duration_s`` long, and a ``DamagedAudioError``.
    """

    clip: str
    duration_s: float
    tags: tuple[Tag, ...] = ()
    error: Exception | None = None


@dataclass(frozen=True, order=True)
class Event:
    """A label heard from ``onset`` to ``offset`` (seconds from the start); ``score`` is its peak."""

    onset: float
    offset: float
    label: str
    score: float


@dataclass(frozen=True)
class ClipEvents:
    """What became of one clip: its events by onset, or the reason why there are none.

    ``clip`` is the clip's path or name, ``duration_s`` its length, ``sample_rate`` its own rate in Hz and
    ``started`` when its recording began, where that is known. A damaged clip has both: the events of the part
    that can be decoded, ``duration_s`` long, and a ``DamagedAudioError``.
    """

    clip: str
    duration_s: float
    sample_rate: int
    events: tuple[Event, ...] = ()
    error: Exception | None = None
    started: datetime | None = None


@dataclass(frozen=True)
class FrameScores:
    """The scores of one frame, as they are computed.

    Parameters
    ----------
    onset, offset
        The frame's span, in seconds from the start.
    scores
        ``(n_labels,)``: independent scores of the labels that are not background, in the label set's order.
    heard
        ``(n_labels,)`` booleans: the labels of which an event is going on.
    """

    onset: float
    offset: float
    scores: np.ndarray
    heard: np.ndarray


def _none() -> np.ndarray:
    return np.zeros(0, np.float32)


@dataclass(frozen=True)
class Embeddings:
    """A recording as vectors, or the reason why there are none.

    Parameters
    ----------
    clip, duration_s, sample_rate
        As for ``ClipEvents``.
    onsets, offsets
        ``(n_stretches,)``: what each vector speaks for, in seconds from the start.
    loudness
        ``(n_stretches,)``: root mean square in dB of full scale.
    vectors
        ``(n_stretches, dim)``, float16.
    """

    clip: str
    duration_s: float
    sample_rate: int
    onsets: np.ndarray = field(default_factory=_none)
    offsets: np.ndarray = field(default_factory=_none)
    loudness: np.ndarray = field(default_factory=_none)
    vectors: np.ndarray = field(default_factory=_none)
    error: Exception | None = None


@dataclass
class ClipOutputs:
    """The outputs of a model for the windows of one clip, or why there are none.

    ``windows`` holds an output per window, ``(n_frames, ...)``, and ``durations_s`` how much of the clip each
    stands for, in seconds.
    """

    clip: str
    windows: list[np.ndarray] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)
    error: Exception | None = None

    def mean(self) -> np.ndarray:
        """Return the mean over the clip's frames; windows are weighted by what they stand for."""
        means = np.stack([window.mean(axis=0) for window in self.windows])
        return np.average(means, axis=0, weights=self.durations_s).astype(np.float32)
