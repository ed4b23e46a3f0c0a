"""What ``zsaudio listen`` prints without a screen: JSON lines, or lines of text."""

import json
import time
from pathlib import Path

import numpy as np

from zsaudio.audio.live import LiveBlocks
from zsaudio.cli.common import message
from zsaudio.listening.session import View
from zsaudio.results import Event

_REPORT_S = 10.0  # from one message on lost audio to the next


class TerminalView(View):
    """A view that reports lost audio on stderr."""

    def __init__(self, source: LiveBlocks) -> None:
        self._source, self._clock = source, source.clock
        self._reported, self._reported_at = 0, float("-inf")

    def block(self, block: np.ndarray) -> None:
        """Report audio that was lost."""
        if self._source.overruns > self._reported and time.monotonic() - self._reported_at > _REPORT_S:
            self._reported, self._reported_at = self._source.overruns, time.monotonic()
            message(f"audio is lost, since this computer does not keep up: {overruns(self._source)}")


class JsonLines(TerminalView):
    """One JSON object per event and line, for other programs."""

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


class TextLines(TerminalView):
    """One line per event: time of day, length, score, label."""

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
    """Return how much audio was lost, in words."""
    lost = f" ({source.lost_s:.1f} s lost)" if source.lost_s else ""
    return counted(source.overruns, "overrun") + lost
