"""What ``zsaudio listen`` prints where there is no screen: JSON lines, or lines of text."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsaudio.audio.live import LiveBlocks
from zsaudio.cli.common import message
from zsaudio.results import Event, FrameScores

_TELL_S = 10.0  # from one message on lost sound to the next


@dataclass
class Ongoing:
    """An event that is not over: since when, and its best score so far."""

    onset: float
    score: float


class View:
    """Where results go; this one says on stderr where sound was lost."""

    def __init__(self, source: LiveBlocks) -> None:
        self._source, self._clock = source, source.clock
        self._told, self._told_at = 0, float("-inf")

    def __enter__(self) -> "View":
        """Begin to show."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop showing."""

    def block(self, block: np.ndarray) -> None:
        """Take note of the sound; say where some was lost."""
        if self._source.overruns > self._told and time.monotonic() - self._told_at > _TELL_S:
            self._told, self._told_at = self._source.overruns, time.monotonic()
            message(f"sound is lost, since this computer does not keep up: {overruns(self._source)}")

    def scores(self, frame: FrameScores) -> None:
        """Take note of a frame's scores."""

    def event(self, event: Event, recording: Path | None) -> None:
        """Show an event that is over."""
        raise NotImplementedError


class JsonLines(View):
    """One JSON object an event and line, for other programs."""

    def event(self, event: Event, recording: Path | None) -> None:
        """Print an event."""
        record = {
            "onset": round(event.onset, 3),
            "offset": round(event.offset, 3),
            "label": event.label,
            "score": round(event.score, 4),
            "onset_time": self._clock.at(event.onset).isoformat(timespec="milliseconds"),
            "offset_time": self._clock.at(event.offset).isoformat(timespec="milliseconds"),
        }
        if recording:
            record["recording"] = str(recording)
        print(json.dumps(record, ensure_ascii=False), flush=True)


class TextLines(View):
    """One line an event: time of day, length, score, label."""

    def event(self, event: Event, recording: Path | None) -> None:
        """Print an event."""
        print(
            self.line(event.onset, f"{event.offset - event.onset:5.1f} s", event.score, event.label),
            flush=True,
        )

    def line(self, onset: float, length: str, score: float, label: str) -> str:
        """Return the line of an event."""
        return f"{self._clock.at(onset):%H:%M:%S}  {length:>9}  {score:.2f}  {label}"


def counted(number: int, what: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "event"), counted(2, "event")
    ('1 event', '2 events')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def overruns(source: LiveBlocks) -> str:
    """Say how much sound was lost."""
    lost = f" ({source.lost_s:.1f} s lost)" if source.lost_s else ""
    return counted(source.overruns, "overrun") + lost
