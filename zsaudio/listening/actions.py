"""What a live session does with an event: keep its audio, run a command.

What goes wrong is logged, and the session goes on.
"""

import logging
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsaudio.audio.encode import encoded
from zsaudio.audio.live import Clock
from zsaudio.errors import OptionError
from zsaudio.files import write_atomically
from zsaudio.results import Event

log = logging.getLogger("zsaudio")

_KEPT_S = 300.0  # of audio in memory: the longest clip
_MOST_KEPT = 32_000_000  # samples, for devices with high rates
_MOST_COMMANDS = 16  # at a time
_FIELD = re.compile(r"\{(\w+)\}")
_FIELDS = ("label", "score", "onset", "time")
_ABANDONED_S = 60.0  # age of an unfinished clip that no running session can be writing


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
        _remove_unfinished(folder)
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
        end = min(clip.end, self._end)
        start = max(clip.start, self._end - len(self._memory))
        if start > clip.start:
            seconds = (end - start) / self._rate
            log.warning("%s: the event is long; its last %.0f s are kept", clip.path, seconds)
        samples = self._memory[np.arange(start, end) % len(self._memory)]
        flac = encoded(samples, self._rate, format="FLAC", subtype="PCM_16")
        try:
            write_atomically(clip.path, flac)
        except OSError as error:
            log.error("%s: cannot be written (%s)", clip.path, error.strerror or error)


def _remove_unfinished(folder: Path) -> None:
    """Remove clips that a session did not finish because it was killed, and report it."""
    removed = 0
    for path in folder.glob("*.flac.*.partial"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()
                removed += 1
        except OSError:
            continue
    if removed:
        clips = "1 clip" if removed == 1 else f"{removed} clips"
        log.warning("%s: removed %s that an earlier session left unfinished", folder, clips)


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
        Show what commands print, on stderr; otherwise it is discarded.
    cooldown_s
        After a command for a label, run none for the same label until this many seconds later.

    Raises
    ------
    OptionError
        If the command is empty, lacks a closing quotation mark, has an unknown field or names no program.
    """

    def __init__(
        self, template: str, clock: Clock, show_output: bool = False, *, cooldown_s: float = 0.0
    ) -> None:
        try:
            self._words = shlex.split(template)
        except ValueError as error:
            raise OptionError(f"command {template}: {str(error).lower()}") from error
        if not self._words:
            raise OptionError("the command to run is empty")
        for field in _FIELD.findall(template):
            if field not in _FIELDS:
                known = ", ".join(f"{{{name}}}" for name in _FIELDS)
                raise OptionError(f"command {template}: unknown field {{{field}}}; known are {known}")
        program = self._words[0]
        if not _FIELD.search(program) and shutil.which(program) is None:
            raise OptionError(f"command {template}: there is no program '{program}'")
        self._clock, self._show_output, self._cooldown_s = clock, show_output, cooldown_s
        self._running: list[subprocess.Popen[bytes]] = []
        self._ran: dict[str, float] = {}  # onset of the last event with a command, by label

    def check(self, labels: Iterable[str]) -> None:
        """Raise OptionError for a label that the command would take for an option."""
        for label in labels:
            if self._is_option(label):
                raise OptionError(
                    f"label '{label}' would be an option of '{self._words[0]}': write -- before {{label}}"
                )

    def run(self, label: str, score: float, onset: float) -> None:
        """Start the command for an event."""
        self.reap()
        if onset - self._ran.get(label, -math.inf) < self._cooldown_s:
            return
        if self._is_option(label):
            self._complain(f"is not run for '{label}', which would be an option: write -- before {{label}}")
            return
        if len(self._running) >= _MOST_COMMANDS:
            self._complain(f"is not run for '{label}': {_MOST_COMMANDS} of them are still running")
            return
        values = {
            "label": label,
            "score": f"{score:.4f}",
            "onset": f"{onset:.3f}",
            "time": self._clock.at(onset).isoformat(timespec="milliseconds"),
        }
        words = [_FIELD.sub(lambda found: values[found.group(1)], word) for word in self._words]
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
            self._ran[label] = onset

    def reap(self) -> None:
        """Log the commands that have failed since the last call."""
        for process in [process for process in self._running if process.poll() is not None]:
            self._running.remove(process)
            if process.returncode > 0:
                self._complain(f"failed with exit code {process.returncode}")
            elif process.returncode:
                self._complain(f"was ended by signal {-process.returncode}")

    def finish(self, wait_s: float = 5.0) -> None:
        """Wait for the last commands; end those that take longer, with what they have started."""
        self._wait(wait_s)
        if not self._running:
            return
        n_left = len(self._running)
        for end in ("SIGTERM", "SIGKILL"):
            for process in self._running:
                _send(process, end)
            until = time.monotonic() + 1.0
            while any(process.poll() is None for process in self._running) and time.monotonic() < until:
                time.sleep(0.02)
        self._running.clear()
        self._complain(f"was still running {n_left} time{'s' * (n_left != 1)} at the end, and was ended")

    def _wait(self, wait_s: float) -> None:
        until = time.monotonic() + wait_s
        self.reap()
        while self._running and time.monotonic() < until:
            time.sleep(0.02)
            self.reap()

    def _is_option(self, label: str) -> bool:
        """Return whether a label begins an argument with ``-``, without a ``--`` before it."""
        before = self._words[: self._words.index("--")] if "--" in self._words else self._words
        return label.startswith("-") and any(word.startswith("{label}") for word in before[1:])

    def _complain(self, what: str) -> None:
        log.error("command '%s' %s", self._words[0], what)


def _send(process: "subprocess.Popen[bytes]", name: str) -> None:
    """Send a signal to a command and all that it has started."""
    try:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, getattr(signal, name))
    except OSError:  # it has ended by itself
        return


def _stderr() -> int:
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError):  # not a real file
        return subprocess.DEVNULL
