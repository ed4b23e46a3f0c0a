"""Mistreat zsaudio with material that this script makes, and count what goes wrong; exit 1 on any fault.

    python benchmarks/torture.py --minutes 5                              # a share of each part
    python benchmarks/torture.py --files 10000 --kills 100 --hours 72     # all of it, for a night

- *files*: seeded mutations (bits flipped, bytes cut, doubled, zeroed, headers exchanged) of 98 small
  recordings in ten formats, through ``zsaudio detect``. A fault is a traceback, an exit code above 1, a score
  outside [0, 1], or a batch that takes too long; the batch is kept then.
- *kills*: ``detect`` killed at a random moment, in every format, to one file and to a folder, then resumed.
  A fault is an output that differs from that of a run that was not killed.
- *models*, *labels*, *caches*: files that commands read, mutated or hostile. A fault is a traceback, more
  than a line or two, an exit code above 2, or NaN in a result; for a cache, a result that changed.
- *live*: hours of stubbed sound pushed through a session. A fault is memory that grows.
"""

import argparse
import csv
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from zsaudio import Recognizer
from zsaudio.models import registry
from zsaudio.output.event_writers import EVENT_FORMATS

LABELS = "dog barking, siren, music"
BATCH = 200  # files of a run of zsaudio
SECONDS_PER_FILE = 3.0  # more is a hang, even on a machine that has other work
START_S = 60.0
GROWTH_MB = 64  # that live sound may take beyond its first hour
HOSTILE_LABELS = (
    "labels: [&a [x], *a, *a]",
    "a: &a [x,x]\nb: &b [*a,*a]\nlabels: [*b,*b]",
    "[" * 5_000,
    "labels: {a: 1}",
    "labels: [{name: 3.5}]",
    "labels: [{name: dog, threshold: 2}]",
    "labels: [{name: dog, threshold: .nan}]",
    "labels: [2026-99-99]",
    '{"labels": ["\\ud800"]}',
    "!!python/object/apply:os.system [true]",
    "\x00\x01\x02",
    "",
)


class Torture:
    """Runs the parts, and counts cases and faults.

    Parameters
    ----------
    work
        A folder for everything that is made.
    seed
        Of all that is drawn.
    deadline
        When to stop, as ``time.monotonic`` has it.
    """

    def __init__(self, work: Path, seed: int, deadline: float) -> None:
        self.work, self.deadline = work, deadline
        self.rng = random.Random(seed)
        self.cases: dict[str, int] = {}
        self.faults: list[tuple[str, str]] = []

    def case(self, part: str, *faults: str) -> None:
        """Count a case and its faults."""
        self.cases[part] = self.cases.get(part, 0) + 1
        for fault in faults:
            self.faults.append((part, fault))
            print(f"FAULT {part}: {fault}", flush=True)

    def in_time(self) -> bool:
        """Return whether there is time for more."""
        return time.monotonic() < self.deadline

    # -- files

    def files(self, count: int, seeds: list[Path]) -> None:
        """Mutate recordings and give them to ``detect``, a few hundred at a time."""
        for first in range(0, count, BATCH):
            if not self.in_time():
                return
            folder = self.work / "files"
            folder.mkdir()
            for number in range(first, min(first + BATCH, count)):
                seed = self.rng.choice(seeds)
                path = folder / f"{number:05d}{seed.suffix}"
                path.write_bytes(mutated(seed.read_bytes(), self.rng, seeds))
            self._judge(folder)
            shutil.rmtree(folder)

    def _judge(self, folder: Path) -> None:
        names = sorted(path.name for path in folder.iterdir())
        table = self.work / "files.csv"
        limit = START_S + SECONDS_PER_FILE * len(names)
        started = time.monotonic()
        code, _, err = zsaudio(
            "detect",
            folder,
            "--labels",
            LABELS,
            "-t",
            "0.05",
            "-f",
            "csv",
            "-o",
            table,
            "--overwrite",
            limit_s=limit,
        )
        if code not in (0, 1) or "Traceback" in err:
            self.case("files", f"exit {code} after {time.monotonic() - started:.0f} s: {err.strip()[-300:]}")
            keep = self.work.parent / f"torture-{folder.name}-{names[0]}"
            shutil.copytree(folder, keep)
            print(f"the batch is kept in {keep}")
            return
        scores: dict[str, list[float]] = {}
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                scores.setdefault(Path(row["file"]).name, []).append(float(row["score"]))
        for name in names:
            wrong = [score for score in scores.get(name, []) if not 0 <= score <= 1]
            self.case("files", *(f"{name}: score {score}" for score in wrong))

    # -- kills

    def kills(self, count: int, seeds: list[Path]) -> None:
        """Kill ``detect`` at a random moment, resume it, and compare with a run that was not killed."""
        folder = self.work / "kills"
        folder.mkdir()
        for number in range(24):
            seed = seeds[number % len(seeds)]
            shutil.copy(seed, folder / f"{number:02d}{seed.suffix}")
        formats = sorted(EVENT_FORMATS)
        expected: dict[tuple[str, bool], object] = {}
        for number in range(count):
            if not self.in_time():
                return
            how = formats[number % len(formats)], bool(number // len(formats) % 2)
            if how not in expected:
                code, expected[how], _ = self._detect(folder, *how)
                if code == 2:  # a format that holds one recording, to one file
                    how = how[0], True
                    expected[how] = self._detect(folder, *how)[1]
            out = self._out(*how)
            command = self._command(folder, out, *how)
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(self.rng.uniform(0.5, 8))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            code, found, err = self._resume(folder, out, *how)
            faults = []
            if code not in (0, 1) or "Traceback" in err:
                faults.append(f"{how}: resumed with exit {code}: {err.strip()[-300:]}")
            elif found != expected[how]:
                faults.append(f"{how}: the output differs from that of a run that was not killed")
            self.case("kills", *faults)

    def _out(self, form: str, to_folder: bool) -> Path:
        out = self.work / f"killed-{form}{'-folder' if to_folder else ''}"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        return out

    @staticmethod
    def _command(folder: Path, out: Path, form: str, to_folder: bool, *more: str) -> list[str]:
        where = ["--output-dir", str(out / "o")] if to_folder else ["-o", str(out / "events")]
        what = ["detect", str(folder), "--labels", LABELS, "-t", "0.05", "-f", form, *where, *more]
        return [sys.executable, "-m", "zsaudio", *what]

    def _detect(self, folder: Path, form: str, to_folder: bool) -> tuple[int, object, str]:
        out = self._out(form, to_folder)
        return self._resume(folder, out, form, to_folder)

    def _resume(self, folder: Path, out: Path, form: str, to_folder: bool) -> tuple[int, object, str]:
        command = self._command(folder, out, form, to_folder, "--resume")
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        texts = {
            str(path.relative_to(out)): path.read_text(errors="replace")
            for path in sorted(out.rglob("*"))
            if path.is_file() and "journal" not in path.name and "lock" not in path.name
        }
        return done.returncode, texts, done.stderr

    # -- models, labels, caches

    def models(self, count: int, wave: Path) -> None:
        """Damage copies of the bundled model and of models made from it."""
        bundled = Path(registry.__file__).parent / "weights" / "nano"
        learned = self.work / "learned"
        examples = self.work / "examples"
        for number, label in enumerate(("one", "two")):
            (examples / label).mkdir(parents=True)
            for i in range(3):
                tone = np.sin(np.arange(16_000) * (0.1 + 0.2 * number + 0.01 * i))
                soundfile.write(examples / label / f"{i}.wav", 0.3 * tone, 16_000)
        zsaudio_ok("train", examples, "-o", learned / "trained")
        zsaudio_ok("adapt", "nano", examples, "-o", learned / "adapted")
        folders = [bundled, learned / "trained", learned / "adapted"]
        for number in range(count):
            if not self.in_time():
                return
            source = folders[number % len(folders)]
            copy = self.work / "damaged"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(source, copy)
            needed = [path for path in copy.iterdir() if path.suffix in (".json", ".safetensors", ".csv")]
            path = self.rng.choice(sorted(needed))
            path.write_bytes(mutated(path.read_bytes(), self.rng, [path]))
            code, out, err = zsaudio("tag", wave, "--labels", LABELS, "--model", copy, "-f", "json")
            self.case("models", *one_line(f"{source.name}/{path.name}", code, out, err))

    def labels(self, count: int, wave: Path) -> None:
        """Give hostile label files, and mutations of a good one."""
        good = (
            "description: x\ntemplates: ['the sound of {}']\nlabels:\n- dog\n- {name: rain, threshold: 0.3}\n"
        )
        for number in range(count):
            if not self.in_time():
                return
            path = self.work / ("labels.yaml" if number % 3 else "labels.csv")
            if number < len(HOSTILE_LABELS):
                path = self.work / "labels.yaml"
                path.write_text(HOSTILE_LABELS[number], encoding="utf-8", errors="surrogatepass")
            else:
                path.write_bytes(mutated(good.encode(), self.rng, [wave]))
            code, out, err = zsaudio("tag", wave, "--labels-file", path, "-f", "json")
            self.case("labels", *one_line(f"label file {number}", code, out, err, lines=3))

    def caches(self, count: int, wave: Path) -> None:
        """Damage stored embeddings between two evaluations of the same recordings."""
        data = self.work / "examples"
        cache = Path(os.environ["ZSAUDIO_CACHE"])
        _, expected, _ = zsaudio("evaluate", data, "-f", "json")
        for _ in range(count):
            if not self.in_time():
                return
            path = self.rng.choice(sorted(cache.rglob("*.npz")))
            path.write_bytes(mutated(path.read_bytes(), self.rng, [wave]))
            code, found, err = zsaudio("evaluate", data, "-f", "json")
            wrong = code != 0 or "Traceback" in err or found != expected
            self.case(
                "caches", *([f"{path.name}: exit {code}, other figures: {err[-200:]}"] if wrong else [])
            )

    # -- live sound

    def live(self, hours: float) -> None:
        """Push stubbed live sound through a session: noise, a siren each minute."""
        session = Recognizer(["siren", "rain"], "nano").session(16_000)
        generator = np.random.default_rng(0)
        noise = generator.normal(scale=0.002, size=60 * 16_000).astype(np.float32)
        t = np.arange(5 * 16_000) / 16_000
        noise[: len(t)] += 0.3 * np.sin(2 * np.pi * (800 * t + 150 * np.sin(2 * np.pi * 0.4 * t)) * 1).astype(
            np.float32
        )
        n_events, settled, minutes = 0, 0.0, 0
        for minute in range(round(hours * 60)):
            if not self.in_time():
                break
            for block in np.split(noise, 120):
                n_events += len(session.push(block))
            minutes += 1
            if minute == min(10, round(hours * 60) // 2):
                settled = memory_mb()
        grown = memory_mb() - settled
        faults = [f"memory grew by {grown:.0f} MB"] if settled and grown > GROWTH_MB else []
        self.cases["live"] = minutes
        for fault in faults:
            self.faults.append(("live", fault))
        print(f"live: {minutes / 60:.1f} h of sound, {n_events} events, memory +{grown:.0f} MB", flush=True)


def zsaudio(*arguments: object, limit_s: float = 300.0) -> tuple[int, str, str]:
    """Run a command; return its exit code, stdout and stderr. 124: it took too long."""
    command = [sys.executable, "-m", "zsaudio", *map(str, arguments)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        return 124, "", str(error.stderr or "")
    return done.returncode, done.stdout, done.stderr


def zsaudio_ok(*arguments: object) -> None:
    """Run a command that must succeed."""
    code, _, err = zsaudio(*arguments)
    if code:
        sys.exit(f"zsaudio {' '.join(map(str, arguments))}: exit {code}: {err}")


def one_line(what: str, code: int, out: str, err: str, lines: int = 2) -> list[str]:
    """Return what is wrong with an answer to bad input: no result, a line of error, or a good result."""
    faults = []
    if code not in (0, 1, 2):
        faults.append(f"{what}: exit {code}: {err.strip()[-300:]}")
    if "Traceback" in err or len(err.strip().splitlines()) > lines:
        faults.append(f"{what}: more than a line: {err.strip()[-500:]}")
    if code == 0 and "nan" in out.lower():
        faults.append(f"{what}: NaN in a result")
    return faults


def mutated(content: bytes, rng: random.Random, others: list[Path]) -> bytes:
    """Return bytes with one to four mutations."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        kind, size = rng.randrange(6), max(len(data), 1)
        at = rng.randrange(size) if rng.random() < 0.5 else rng.randrange(min(size, 64))
        length = rng.choice((1, 2, 4, 16, 256, 4096))
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data = data[:at]
        elif kind == 2:
            data[at : at + length] = bytes(length)
        elif kind == 3:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 4:
            data[at:at] = data[at : at + length]
        else:
            data[:at] = rng.choice(others).read_bytes()[:at]
    return bytes(data)


def seed_files(folder: Path) -> Iterator[Path]:
    """Write small recordings in every format that can be written here."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for rate in (8_000, 16_000, 44_100, 96_000):
        t = np.arange(int(0.8 * rate)) / rate
        wave = 0.2 * np.sin(2 * np.pi * 600 * t) + 0.02 * rng.normal(size=len(t))
        for channels in (1, 2):
            samples = np.column_stack([wave] * channels)
            for form, subtype in (
                ("wav", "PCM_16"),
                ("wav", "PCM_24"),
                ("wav", "FLOAT"),
                ("wav", "ULAW"),
                ("wav", "MS_ADPCM"),
                ("flac", "PCM_16"),
                ("ogg", "VORBIS"),
                ("ogg", "OPUS"),
                ("mp3", "MPEG_LAYER_III"),
                ("aiff", "PCM_16"),
                ("au", "PCM_16"),
                ("caf", "ALAC_16"),
                ("w64", "PCM_16"),
            ):
                path = folder / f"{form}-{subtype}-{rate}-{channels}.{form}"
                try:
                    soundfile.write(path, samples, rate, subtype=subtype, format=form.upper())
                except (ValueError, soundfile.LibsndfileError):  # not a rate of this format
                    path.unlink(missing_ok=True)
                    continue
                yield path


def memory_mb() -> float:
    """Return the resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    except OSError:  # not Linux: the highest so far
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, help="a share of each part that fits into so many minutes")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--models", type=int, default=66)
    parser.add_argument("--labels", type=int, default=37)
    parser.add_argument("--caches", type=int, default=23)
    parser.add_argument("--hours", type=float, default=72.0, help="of live sound")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    share = options.minutes * 60 / 6 if options.minutes else float("inf")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        work.mkdir()
        os.environ["ZSAUDIO_CACHE"] = str(work / "cache")
        torture = Torture(work, options.seed, 0.0)
        seeds = list(seed_files(work / "seeds"))
        wave = work / "seeds" / "wav-PCM_16-16000-1.wav"
        parts: list[tuple[str, Callable[[], None]]] = [
            ("models", lambda: torture.models(options.models, wave)),
            ("labels", lambda: torture.labels(options.labels, wave)),
            ("caches", lambda: torture.caches(options.caches, wave)),
            ("kills", lambda: torture.kills(options.kills, seeds)),
            ("files", lambda: torture.files(options.files, seeds)),
            ("live", lambda: torture.live(options.hours)),
        ]
        print(f"seed {options.seed}: {len(seeds)} recordings to start from", flush=True)
        print("| part | cases | faults | seconds |\n|---|--:|--:|--:|", flush=True)
        for name, run in parts:
            begun = time.monotonic()
            torture.deadline = begun + share
            run()
            n_faults = sum(part == name for part, _ in torture.faults)
            took = time.monotonic() - begun
            print(f"| {name} | {torture.cases.get(name, 0)} | {n_faults} | {took:.0f} |", flush=True)
    print(json.dumps({"cases": sum(torture.cases.values()), "faults": len(torture.faults)}))
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(1 if torture.faults else 0)


if __name__ == "__main__":
    main()
