"""Find events in a recording of any length, and keep them as they come.

    python examples/long_recording.py night.flac "dog barking, siren"

The recording is read block by block and its events are written as they close, so neither its length nor the
number of events costs memory. Without arguments, it listens to two minutes of sound that it makes itself.
"""

import csv
import sys
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import soundfile

import zsaudio

AUDIO = Path(__file__).parent / "audio"


def blocks_of(path: str) -> tuple[Iterator[np.ndarray], int]:
    """Return a file's samples, mono, ten seconds at a time, and their rate."""
    rate = soundfile.info(path).samplerate
    blocks = soundfile.blocks(path, blocksize=10 * rate, dtype="float32", always_2d=True)
    return (block.mean(axis=1) for block in blocks), rate


def made_up_night() -> tuple[Iterator[np.ndarray], int]:
    """Return two minutes of near silence with a siren, a smoke alarm and a voice in it."""
    rate, random = 16_000, np.random.default_rng(0)
    quiet = (0.001 * random.standard_normal(20 * rate)).astype(np.float32)
    names = ("siren.mp3", "smoke_alarm.wav", "speech.flac", "siren.mp3")
    sounds = (zsaudio.load_audio(AUDIO / name, rate)[0] for name in names)
    return chain.from_iterable(zip(repeat(quiet), sounds)), rate  # quiet is endless


def main() -> None:
    """Write the events to stdout as CSV."""
    blocks, rate = blocks_of(sys.argv[1]) if len(sys.argv) > 1 else made_up_night()
    labels = sys.argv[2] if len(sys.argv) > 2 else "siren, smoke alarm, speech"
    recognizer = zsaudio.Recognizer(labels)
    rows = csv.writer(sys.stdout)
    rows.writerow(["onset", "offset", "label", "score"])
    unhurried = zsaudio.DetectionOptions(hop_s=30)  # long stretches cost least; the events are the same
    for event in recognizer.stream(blocks, rate, options=unhurried):
        rows.writerow([f"{event.onset:.2f}", f"{event.offset:.2f}", event.label, f"{event.score:.2f}"])
        sys.stdout.flush()


if __name__ == "__main__":
    main()
