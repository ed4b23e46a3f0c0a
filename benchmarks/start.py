"""How long zsaudio takes to start, beside `import torch` alone.

    python benchmarks/start.py --rounds 8    # the figures of docs/architecture.md; a minute

Three processes take turns: one that imports torch and does nothing else, ``zsaudio tag`` with nano for a clip
of five seconds and five labels, and the same in Python. Each is timed to its first line of output and to its
end.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

CLIP = str(Path(__file__).resolve().parents[1] / "examples" / "audio" / "speech.flac")
LABELS = ["siren", "dog barking", "rain", "speech", "piano"]
PROCESSES = {
    "import torch": ["-c", "import torch; print(torch.__version__, flush=True)"],
    "zsaudio tag": ["-m", "zsaudio", "tag", CLIP, "--labels", ", ".join(LABELS), "--quiet"],
    "Recognizer.tag": [
        "-c",
        f"import zsaudio; print(zsaudio.Recognizer({LABELS}).tag({CLIP!r}), flush=True)",
    ],
}


def run(arguments: list[str]) -> tuple[float, float]:
    """Return after how many seconds a process wrote something, and had ended."""
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - started
        process.communicate()
    if process.returncode:
        sys.exit(f"python {' '.join(arguments)}: failed")
    return first, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in PROCESSES}
    for number in range(options.rounds + 1):
        for name, arguments in PROCESSES.items():
            times = run(arguments)
            if number:  # the first reads files that the others find in memory
                spent[name].append(times)
    print(f"seconds, least and median of {options.rounds}\n")
    print("| process | first result | | end | |")
    print("|---|---:|---:|---:|---:|")
    for name, rounds in spent.items():
        least, median = np.min(rounds, axis=0), np.median(rounds, axis=0)
        print(f"| {name} | {least[0]:.2f} | {median[0]:.2f} | {least[1]:.2f} | {median[1]:.2f} |")


if __name__ == "__main__":
    main()
