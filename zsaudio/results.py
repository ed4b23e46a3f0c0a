"""Results: the tags of a clip, the events of a recording, the scores of a frame, a model's outputs.

Tags and events are shown as tables in a notebook, and become DataFrames by ``to_frame()``.

Conventions: times are in seconds from the start of the recording; scores are in [0, 1].
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from zsaudio.audio.sources import Source
from zsaudio.tables import Table

TAG_COLUMNS = ("file", "label", "score")
EVENT_COLUMNS = ("file", "onset", "offset", "label", "score")
CLOCK_COLUMNS = ("onset_time", "offset_time")


@dataclass(frozen=True)
class Tag:
    """A label and its score in [0, 1] for a whole clip."""

    label: str
    score: float

    def __repr__(self) -> str:
        """Return the fields, rounded."""
        return f"Tag(label={self.label!r}, score={round(self.score, 4)})"


class Tags(list[Tag], Table):
    """The tags of one clip, best first.

    Parameters
    ----------
    tags
        The tags.
    clip
        The clip's path or name.

    Examples
    --------
    >>> Tags([Tag("siren", 0.91234)], "a.wav")
    [Tag(label='siren', score=0.9123)]
    """

    def __init__(self, tags: Iterable[Tag] = (), clip: str = "") -> None:
        super().__init__(tags)
        self.clip = clip

    def _columns(self) -> Sequence[str]:
        return TAG_COLUMNS

    def _rows(self) -> Iterator[tuple[str, str, float]]:
        return ((self.clip, tag.label, tag.score) for tag in self)

    def _title(self) -> str:
        return self.clip


@dataclass(frozen=True)
class ClipTags(Table):
    """The tags of one clip, best first, or the reason why there are none.

    ``clip`` is the clip's path or name, ``duration_s`` its length in seconds. A damaged clip has both: the
    tags of the part that can be decoded, ``duration_s`` long, and a ``DamagedAudioError``.
    """

    clip: str
    duration_s: float
    tags: tuple[Tag, ...] = ()
    error: Exception | None = None

    def _columns(self) -> Sequence[str]:
        return TAG_COLUMNS

    def _rows(self) -> Iterator[tuple[str, str, float]]:
        return ((self.clip, tag.label, tag.score) for tag in self.tags)

    def _title(self) -> str:
        return _titled(self.clip, self.duration_s, self.error)


@dataclass(frozen=True, order=True)
class Event:
    """A label from ``onset`` to ``offset``, in seconds from the start; ``score`` is its best score."""

    onset: float
    offset: float
    label: str
    score: float

    def clip(
        self, source: Source, sample_rate: int | None = None, *, margin_s: float = 0.0
    ) -> tuple[np.ndarray, int]:
        """Return the audio of the event, for example to play it.

        In a notebook::

            samples, rate = event.clip("night.flac", margin_s=1)
            IPython.display.Audio(samples, rate=rate)

        Parameters
        ----------
        source
            The recording in which the event was detected.
        sample_rate
            Rate of an array, in Hz.
        margin_s
            How much audio before and after the event is added, in seconds.

        Returns
        -------
        samples, sample_rate
            float32 mono ``(n_samples,)`` at the recording's own rate, and the rate in Hz. The samples end
            where the recording ends.

        Raises
        ------
        AudioError
            If the recording cannot be read, or is shorter than the onset.
        """
        from zsaudio.audio.span import read_span  # results alone need no decoder

        samples, rate, _ = read_span(source, self.onset - margin_s, self.offset + margin_s, sample_rate)
        return samples.mean(axis=1), rate

    def __repr__(self) -> str:
        """Return the fields, rounded."""
        times = f"onset={round(self.onset, 3)}, offset={round(self.offset, 3)}"
        return f"Event({times}, label={self.label!r}, score={round(self.score, 4)})"


class Events(list[Event], Table):
    """The events of one recording, by onset.

    Parameters
    ----------
    events
        The events.
    clip
        The recording's path or name.
    """

    def __init__(self, events: Iterable[Event] = (), clip: str = "") -> None:
        super().__init__(events)
        self.clip = clip

    def _columns(self) -> Sequence[str]:
        return EVENT_COLUMNS

    def _rows(self) -> Iterator[tuple[str, float, float, str, float]]:
        return ((self.clip, event.onset, event.offset, event.label, event.score) for event in self)

    def _title(self) -> str:
        return self.clip


@dataclass(frozen=True)
class ClipEvents(Table):
    """The events of one recording, by onset, or the reason why there are none.

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

    def _columns(self) -> Sequence[str]:
        return EVENT_COLUMNS if self.started is None else EVENT_COLUMNS + CLOCK_COLUMNS

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for event in self.events:
            times = (event.onset, event.offset)
            clock = () if self.started is None else (self.started + timedelta(seconds=s) for s in times)
            yield (self.clip, *times, event.label, event.score, *clock)

    def _title(self) -> str:
        return _titled(self.clip, self.duration_s, self.error)


def _titled(clip: str, duration_s: float, error: Exception | None) -> str:
    return f"{clip}, {duration_s:.1f} s" if error is None else str(error)


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
    speech
        ``(n_frames, n_symbols)``, uint8: what a speech model heard (``zsaudio.models.speech.codes``), where
        that is asked for.
    """

    clip: str
    duration_s: float
    sample_rate: int
    onsets: np.ndarray = field(default_factory=_none)
    offsets: np.ndarray = field(default_factory=_none)
    loudness: np.ndarray = field(default_factory=_none)
    vectors: np.ndarray = field(default_factory=_none)
    error: Exception | None = None
    speech: np.ndarray | None = None


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
