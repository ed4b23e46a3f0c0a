"""Measure the delay of ``zsaudio listen``: from a sound to its line on the screen.

    apt-get install pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins
    pip install "zsaudio[mic]"
    python benchmarks/listen_delay.py examples/audio/siren.mp3 siren

The file is played several times into a null sink of PulseAudio. Its monitor is the microphone of a
``zsaudio listen`` on a terminal of its own, and of a second program (``parec``). The delay is the time from
when the sound reaches that program to when the terminal has been sent the line of an event that is going on.
It includes the time until the score reaches the threshold.
"""

import argparse
import os
import pty
import re
import select
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

from zsaudio import load_audio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from null_sink import NullSink, missing, null_sink

LOUD = 0.01  # of full scale
PAUSE_S = 3.0


class Terminal:
    """A program on a terminal of its own; remembers what it writes, and when."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)

    def read(self, wait_s: float) -> str:
        """Return what is written within ``wait_s``, without control sequences."""
        if not select.select([self._ours], [], [], wait_s)[0]:
            return ""
        try:
            text = os.read(self._ours, 1 << 16).decode(errors="replace")
        except OSError:  # the program has ended
            sys.exit("zsaudio listen has ended")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)

    def wait_for(self, pattern: str, wait_s: float) -> float | None:
        """Return when the pattern was written; None where it is not within ``wait_s``."""
        until, text = time.monotonic() + wait_s, ""
        while time.monotonic() < until:
            text += self.read(0.05)
            if re.search(pattern, text):
                return time.monotonic()
        return None

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def drain(self, seconds: float) -> None:
        """Keep reading for a while."""
        self.wait_for(r"(?!)", seconds)


class Ear:
    """Records when the monitor becomes loud."""

    def __init__(self, sink: NullSink) -> None:
        command = ["parec", "--raw", "--format=s16le", "--channels=1", "--rate=44100", "--latency-msec=10"]
        self._process = subprocess.Popen(command, env=sink.env, stdout=subprocess.PIPE)
        self.heard_at: float | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout
        while data := os.read(self._process.stdout.fileno(), 4096):
            now = time.monotonic()
            samples = np.frombuffer(data[: len(data) // 2 * 2], np.int16)
            loud = np.flatnonzero(np.abs(samples.astype(float)) >= LOUD * 32768)
            if len(loud) and self.heard_at is None:
                self.heard_at = now - (len(samples) - loud[0]) / 44_100

    def close(self) -> None:
        """Stop listening."""
        self._process.kill()
        self._process.wait()


def measure(sound: Path, label: str, options: list[str], times: int) -> list[float]:
    """Return the delay in seconds of each playback."""
    samples, rate = load_audio(sound)
    line = rf"s ●  \d\.\d\d  {re.escape(label.split(',', maxsplit=1)[0])}"
    delays: list[float] = []
    with tempfile.TemporaryDirectory() as folder, null_sink() as sink:
        wav = Path(folder) / "sound.wav"
        soundfile.write(wav, samples[: 3 * rate], rate)
        command = [sys.executable, "-m", "zsaudio", "listen", "--labels", label, *options]
        terminal = Terminal(command, sink.env | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"})
        ear = Ear(sink)
        if terminal.wait_for(r"0:00:03 ", 60) is None:
            sys.exit("zsaudio listen does not start")
        for number in range(times):
            ear.heard_at = None
            player = sink.play(wav)
            shown_at = terminal.wait_for(line, 6.0)
            player.wait()
            if shown_at is None or ear.heard_at is None:
                print(f"{number + 1}: not recognised")
            else:
                delays.append(shown_at - ear.heard_at)
                print(f"{number + 1}: {delays[-1]:.2f} s")
            terminal.drain(PAUSE_S + 0.037 * number)  # so that it meets every phase of the hop
        ear.close()
        terminal.close()
    return delays


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sound", type=Path, help="begins without a pause")
    parser.add_argument("label", help="the label that it gets; more labels may follow it, after commas")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument(
        "--option", action="append", default=[], help="for zsaudio listen, such as --option=--hop=1"
    )
    arguments = parser.parse_args()
    if lacks := missing():
        sys.exit(f"needs {', '.join(lacks)}")
    delays = measure(arguments.sound, arguments.label, arguments.option, arguments.times)
    if delays:
        print(
            f"{len(delays)} of {arguments.times} recognised; from sound to line: "
            f"median {statistics.median(delays):.2f} s, longest {max(delays):.2f} s; "
            f"load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
        )


if __name__ == "__main__":
    main()
