"""What a live session does with an event: keep its audio, run a command.

What goes wrong is logged, and the session goes on.
"""

import logging
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsaudio.audio.live import Clock
from zsaudio.errors import OptionError
from zsaudio.results import Event

log = logging.getLogger("zsaudio")

_KEPT_S = 300.0  # of audio in memory: the longest clip
_MOST_KEPT = 32_000_000  # samples, for devices with high rates
_MOST_COMMANDS = 16  # at a time


@dataclass(frozen=True)
class _Clip:
    """A part of the stream that is to be written, in samples from the start."""

    path: Path
    start: int
    end: int


class ClipKeeper:
    """Writes the audio around each event to a FLAC file of its own, from a ring buffer of bounded length.

    Parameters
    ----------
    folder
        The folder for the files; it is made if it does not exist.
    sample_rate
        Rate of the stream, in Hz.
    clock
        Time of day, for the names of the files: when their audio starts.
    before_s, after_s
        How much audio before and after an event is kept, in seconds.

    Raises
    ------
    OptionError
        If the folder cannot be written to.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        sample_rate: int,
        clock: Clock,
        *,
        before_s: float = 2.0,
        after_s: float = 1.0,
    ) -> None:
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".zsaudio"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise OptionError(f"{folder}: cannot be written to ({error.strerror})") from error
        self._folder, self._rate, self._clock = folder, sample_rate, clock
        self._before, self._after = round(before_s * sample_rate), round(after_s * sample_rate)
        room = min(round(_KEPT_S * sample_rate), _MOST_KEPT)
        self._memory = np.zeros(room + self._before + self._after, np.int16)
        self._end = 0  # position after the newest sample; sample p is at p % len(memory)
        self._waiting: list[_Clip] = []

    def push(self, block: np.ndarray) -> None:
        """Take the next block of the stream; write the clips that are complete with it."""
        samples = np.clip(np.rint(block * 32768.0), -32768, 32767).astype(np.int16)
        at = (self._end + np.arange(len(samples))) % len(self._memory)
        self._memory[at] = samples
        self._end += len(samples)
        for clip in [clip for clip in self._waiting if clip.end <= self._end]:
            self._waiting.remove(clip)
            self._write(clip)

    def keep(self, event: Event) -> Path:
        """Return the file of an event; it is written as soon as its audio is complete."""
        start = max(0, round(event.onset * self._rate) - self._before)
        began = self._clock.at(start / self._rate)
        slug = re.sub(r"\W+", "-", event.label.casefold()).strip("-")[:60]
        stem = f"{began:%Y%m%dT%H%M%S}.{began.microsecond // 1000:03d}_{slug}"
        path, number = self._folder / f"{stem}.flac", 1
        while path.exists() or any(clip.path == path for clip in self._waiting):
            number += 1
            path = self._folder / f"{stem}_{number}.flac"
        self._waiting.append(_Clip(path, start, round(event.offset * self._rate) + self._after))
        return path

    def finish(self) -> None:
        """Write the clips that are not complete, at the end of the stream."""
        for clip in self._waiting:
            self._write(clip)
        self._waiting.clear()

    def _write(self, clip: _Clip) -> None:
        import soundfile

        end = min(clip.end, self._end)
        start = max(clip.start, self._end - len(self._memory))
        if start > clip.start:
            seconds = (end - start) / self._rate
            log.warning("%s: the event is long; its last %.0f s are kept", clip.path, seconds)
        samples = self._memory[np.arange(start, end) % len(self._memory)]
        try:
            soundfile.write(clip.path, samples, self._rate, format="FLAC", subtype="PCM_16")
        except (OSError, soundfile.LibsndfileError) as error:
            log.error("%s: cannot be written (%s)", clip.path, error)


class CommandRunner:
    """Runs a command for each event, without a shell and without waiting for it.

    Parameters
    ----------
    template
        The command, such as ``"notify-send {label} {score}"``, with ``{label}``, ``{score}``, ``{onset}``
        (seconds) and ``{time}`` (ISO 8601). It is split into words before these are filled in, so a label
        never adds words to it.
    clock
        Time of day of an event's onset.
    show_output
        Show what commands print, on stderr.

    Raises
    ------
    OptionError
        If the command is empty or lacks a closing quotation mark.
    """

    def __init__(self, template: str, clock: Clock, show_output: bool = False) -> None:
        try:
            self._words = shlex.split(template)
        except ValueError as error:
            raise OptionError(f"command {template}: {str(error).lower()}") from error
        if not self._words:
            raise OptionError("the command to run is empty")
        self._clock, self._show_output = clock, show_output
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, label: str, score: float, onset: float) -> None:
        """Start the command for an event."""
        self.reap()
        if len(self._running) >= _MOST_COMMANDS:
            self._complain(f"is not run for '{label}': {_MOST_COMMANDS} of them are still running")
            return
        values = {
            "{label}": label,
            "{score}": f"{score:.4f}",
            "{onset}": f"{onset:.3f}",
            "{time}": self._clock.at(onset).isoformat(timespec="milliseconds"),
        }
        pattern = re.compile("|".join(map(re.escape, values)))
        words = [pattern.sub(lambda found: values[found.group()], word) for word in self._words]
        output = _stderr() if self._show_output else subprocess.DEVNULL
        try:
            # in a process group of its own: Ctrl-C ends the session, not the commands that it started
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        except (OSError, ValueError) as error:
            self._complain(f"cannot be run ({getattr(error, 'strerror', None) or error})")
        else:
            self._running.append(process)

    def reap(self) -> None:
        """Log the commands that have failed since the last call."""
        for process in [process for process in self._running if process.poll() is not None]:
            self._running.remove(process)
            if process.returncode > 0:
                self._complain(f"failed with exit code {process.returncode}")
            elif process.returncode:
                self._complain(f"was ended by signal {-process.returncode}")

    def finish(self, wait_s: float = 2.0) -> None:
        """Wait a moment for the last commands; those that take longer go on by themselves."""
        until = time.monotonic() + wait_s
        while self._running and time.monotonic() < until:
            time.sleep(0.02)
            self.reap()

    def _complain(self, what: str) -> None:
        log.error("command '%s' %s", self._words[0], what)


def _stderr() -> int:
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError):  # not a real file
        return subprocess.DEVNULL
