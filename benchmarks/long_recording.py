"""Detect events in recordings of one hour and of a day: peak memory, and speed as a multiple of real time.

    python benchmarks/long_recording.py
    python benchmarks/long_recording.py --hours 0.1 0.5      # shorter

It makes 48 kHz FLAC files (about 5 GB for a day) in a temporary folder, runs ``zsaudio detect`` on each as a
process of its own, and reads the memory and time that it used from the system. It fails where the longest
recording takes over 10 % more memory than the shortest, or over 700 MB, or less than 200 times real time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 48_000
MOST_MB, MOST_GROWTH, LEAST_SPEED = 700.0, 1.10, 200.0
LABELS = "dog barking, siren, rain, speech, bird singing, car horn, footsteps, glass breaking"


def make_recording(path: Path, hours: float) -> None:
    """Write quiet noise with occasional sounds: one minute, repeated."""
    random = np.random.default_rng(0)
    minute = 0.002 * random.standard_normal(60 * RATE)
    for start_s in range(5, 60, 10):
        frequency, length = random.uniform(200, 4000), int(random.uniform(0.2, 4) * RATE)
        time_s = np.arange(length) / RATE
        sweep = np.sin(2 * np.pi * frequency * (1 + 0.2 * np.sin(2 * np.pi * 3 * time_s)) * time_s)
        minute[start_s * RATE : start_s * RATE + length] += 0.2 * sweep * np.hanning(length)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16", compression_level=0.0) as file:
        left = round(hours * 3600 * RATE)
        while left > 0:
            file.write(minute[:left])
            left -= len(minute)


def run(path: Path, model: str) -> tuple[float, float]:
    """Return the seconds that ``zsaudio detect`` took, and its peak memory in MB."""
    command = [sys.executable, "-m", "zsaudio", "detect", str(path), "--labels", LABELS, "--model", model]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--format", "csv", "-o", str(path.with_suffix(".csv")), "-q"])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - started, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0, 24.0])
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()
    print(f"{len(LABELS.split(','))} labels, {arguments.model}, {os.cpu_count()} cores\n")
    print("| recording | time | x real time | peak memory |")
    print("|---|---|---|---|")
    speeds, peaks = [], []
    with tempfile.TemporaryDirectory() as folder:
        for hours in arguments.hours:
            path = Path(folder) / f"{hours:g}h.flac"
            make_recording(path, hours)
            seconds, peak = run(path, arguments.model)
            speeds.append(hours * 3600 / seconds)
            peaks.append(peak)
            print(f"| {hours:g} h | {seconds:.1f} s | {speeds[-1]:.0f} | {peak:.0f} MB |", flush=True)
            path.unlink()
    kept = peaks[-1] <= MOST_GROWTH * peaks[0] and max(peaks) < MOST_MB and speeds[-1] >= LEAST_SPEED
    print(f"\nmemory grew {peaks[-1] / peaks[0]:.2f} times; limits {'kept' if kept else 'NOT KEPT'}")
    sys.exit(not kept)


if __name__ == "__main__":
    main()
