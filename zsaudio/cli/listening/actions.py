"""What ``zsaudio listen`` does about an event: keep its sound, run a command."""

import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsaudio.audio.live import Clock
from zsaudio.cli.common import message
from zsaudio.errors import OptionError
from zsaudio.results import Event

_KEPT_S = 300.0  # sound that is remembered, so how much of a long event can be kept
_MOST_KEPT = 32_000_000  # samples, for devices of high rates
_MOST_COMMANDS = 16  # at a time


@dataclass(frozen=True)
class _Clip:
    """A stretch of the stream that is to be written, in samples from the start."""

    path: Path
    start: int
    end: int


class ClipKeeper:
    """Writes the sound around each event to a FLAC file of its own, from a memory of bounded length.

    Parameters
    ----------
    folder
        Where the files go; made where it is not there.
    sample_rate
        Rate of the stream, in Hz.
    clock
        Gives files their names: when they begin.
    before_s, after_s
        What to keep of the sound before and after an event.
    """

    def __init__(self, folder: Path, sample_rate: int, clock: Clock, before_s: float, after_s: float) -> None:
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
        self._end = 0  # position after the newest sample; sample p stands at p % len(memory)
        self._waiting: list[_Clip] = []

    def push(self, block: np.ndarray) -> None:
        """Remember a block; write what has all of its sound now."""
        samples = np.clip(np.rint(block * 32768.0), -32768, 32767).astype(np.int16)
        at = (self._end + np.arange(len(samples))) % len(self._memory)
        self._memory[at] = samples
        self._end += len(samples)
        for clip in [clip for clip in self._waiting if clip.end <= self._end]:
            self._waiting.remove(clip)
            self._write(clip)

    def keep(self, event: Event) -> Path:
        """Have the sound of an event written as soon as it is all there; return where to."""
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
        """Write what still waits for sound that will not come."""
        for clip in self._waiting:
            self._write(clip)
        self._waiting.clear()

    def _write(self, clip: _Clip) -> None:
        import soundfile

        end = min(clip.end, self._end)
        start = max(clip.start, self._end - len(self._memory))
        if start > clip.start:
            message(f"{clip.path}: the event is long; its last {(end - start) / self._rate:.0f} s are kept")
        samples = self._memory[np.arange(start, end) % len(self._memory)]
        try:
            soundfile.write(clip.path, samples, self._rate, format="FLAC", subtype="PCM_16")
        except (OSError, soundfile.LibsndfileError) as error:
            message(f"{clip.path}: cannot be written ({error})")


class CommandRunner:
    """Runs a command per event, without a shell and without waiting for it.

    Parameters
    ----------
    template
        The command, such as ``"notify-send {label} {score}"``; it is split into words first, so that what a
        label holds never becomes words or options of its own.
    clock
        Turns an event's onset into the time of day.
    show_output
        Whether what commands print goes to stderr, or nowhere.
    """

    def __init__(self, template: str, clock: Clock, show_output: bool) -> None:
        try:
            self._words = shlex.split(template)
        except ValueError as error:
            raise OptionError(f"--exec {template}: {str(error).lower()}") from error
        if not self._words:
            raise OptionError("--exec: names no command")
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
            # in a session of its own: Ctrl-C ends the listening, not what was started by it
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        except (OSError, ValueError) as error:
            self._complain(f"cannot be run ({getattr(error, 'strerror', None) or error})")
        else:
            self._running.append(process)

    def reap(self) -> None:
        """Take note of the commands that have ended."""
        for process in [process for process in self._running if process.poll() is not None]:
            self._running.remove(process)
            if process.returncode > 0:
                self._complain(f"failed with exit code {process.returncode}")
            elif process.returncode:
                self._complain(f"was ended by signal {-process.returncode}")

    def finish(self, wait_s: float = 2.0) -> None:
        """Give the last commands a moment to end; leave to themselves those that take longer."""
        until = time.monotonic() + wait_s
        while self._running and time.monotonic() < until:
            time.sleep(0.02)
            self.reap()

    def _complain(self, what: str) -> None:
        message(f"command '{self._words[0]}' {what}")


def _stderr() -> int:
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError):  # not a real file
        return subprocess.DEVNULL
