"""Mistreat zsaudio with material that this script makes, and count what goes wrong; exit 1 on any fault.

    python benchmarks/torture.py                 # 10,000 files, 100 kills, 72 hours of live sound, and more
    python benchmarks/torture.py --share 0.03    # three in a hundred of each
    python benchmarks/torture.py --only kills live --seed 7

Each case is a process of its own, which dies or hangs by itself. It is forked from this one, which has
imported PyTorch already, so it starts in no time. A fault in any part is: a traceback, an exit code that is
not documented, a line on stderr that is not zsaudio's, a process that hangs, one that takes more than
``MOST_MB`` of memory, and one that opens a connection or starts a program. Besides, by part:

- *files*: seeded mutations (bits flipped, bytes cut, doubled, zeroed, headers exchanged, wrong suffixes) of
  small recordings in every format, a hundred at a time, through ``tag`` and ``detect``. A fault is a file
  that is neither judged nor named, a score outside [0, 1], or an event outside its recording. Where a
  hundred fail, each is tried alone, so that the file is named; it is kept.
- *kills*: ``tag``, ``detect`` and ``index`` killed (SIGKILL) or ended (SIGTERM, SIGHUP, SIGINT) at random
  moments, in every format, to one file, to a folder, and with clips, then resumed. A fault is a file of a
  folder that is there half, a run that was ended and does not say so in its last line, and, after the end, a
  file of results that differs from that of a run that was not killed, or that is there besides.
- *models*, *labels*, *caches*, *journals*: what commands read, mutated or hostile. A fault is more than a
  few lines, NaN in a result, or, for caches and journals, a result that changed.
- *live*: hours of sound through a live session that keeps a clip of each event, with a model that hears
  tones in the place of nano. A fault is memory or open files that grow, or an event that is missing.
"""

import argparse
import hashlib
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile
from torture_material import HOSTILE_LABELS, Minutes, Tones, mutated, seed_files
from torture_process import ENDING, Ended, memory_mb, text_of, zsaudio_run

import zsaudio.recognizer
from zsaudio.audio.reader import AUDIO_SUFFIXES
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.listening.actions import ClipKeeper
from zsaudio.listening.session import ListenSession
from zsaudio.models import registry
from zsaudio.output.event_writers import EVENT_FORMATS
from zsaudio.output.tag_writers import TAG_FORMATS
from zsaudio.recognizer import Recognizer

LABELS = "dog barking, siren, music"
TOGETHER = 100  # files that a process gets
GROWTH_MB = 16  # of memory that live sound may take beyond its first hour


class Campaign:
    """Runs the parts, and counts cases and faults.

    Parameters
    ----------
    work
        A folder for everything that is made.
    kept
        A folder for recordings that make zsaudio fail.
    seed
        Of all that is drawn.
    """

    def __init__(self, work: Path, kept: Path, seed: int) -> None:
        self.work, self.kept = work, kept
        self.rng = random.Random(seed)
        self.seeds = list(seed_files(work / "seeds"))
        self.wave = work / "seeds" / "tone.wav"
        self.n_cases = self.n_faults = 0
        self.notes = ""

    def case(self, faults: Sequence[str]) -> None:
        """Count a case; print its faults."""
        self.n_cases += 1
        self.n_faults += bool(faults)
        for fault in faults:
            print(f"FAULT: {fault}", flush=True)

    # -- files

    def files(self, count: int) -> None:
        """Mutate recordings and have them judged."""
        for first in range(0, count, TOGETHER):
            folder = self._new("files")
            for number in range(first, min(first + TOGETHER, count)):
                seed = self.rng.choice(self.seeds)
                suffix = seed.suffix if self.rng.random() < 0.95 else self.rng.choice(sorted(AUDIO_SUFFIXES))
                data = mutated(seed.read_bytes(), self.rng, self.seeds)
                (folder / f"{number:05d}{suffix}").write_bytes(data)
            paths = sorted(folder.iterdir())
            command = "detect" if first // TOGETHER % 2 else "tag"
            if not self._judged(command, folder, paths):
                self.n_cases += len(paths)
                continue
            for path in paths:
                faults = self._judged(command, path, [path])
                self.case([f"{path.name}: {command}: {fault}" for fault in faults])
                if faults:
                    self.kept.mkdir(exist_ok=True)
                    shutil.copy(path, self.kept)

    def _judged(self, command: str, what: Path, paths: list[Path]) -> list[str]:
        """Return the faults of a run over recordings."""
        out = self._new("judged") / "out.jsonl"
        more = ["-t", "0.05"] if command == "detect" else []
        ended = zsaudio_run(command, what, "--labels", LABELS, "-f", "jsonl", "-o", out, *more)
        faults = ended.faults(0, 1)
        if faults:
            return faults
        journal = text_of(out.with_name("out.jsonl.journal"))
        faults += [
            f"{p.name} is neither judged nor named" for p in paths if p.name not in journal + ended.err
        ]
        for row in map(json.loads, text_of(out).splitlines()):
            tags = row.get("tags", [row])
            if not all(0 <= tag["score"] <= 1 for tag in tags if "score" in tag):
                faults.append(f"a score outside [0, 1]: {row}")
            if "onset" in row and not 0 <= row["onset"] <= row["offset"] < math.inf:
                faults.append(f"times that are none: {row}")
        return faults

    # -- kills

    def kills(self, count: int) -> None:
        """Kill a command at random moments, resume it, and compare with a run that was not killed.

        ``Tones`` takes the place of nano, so that most of the time goes into what a kill can damage.
        """
        load = lambda name, **how: Tones()  # noqa: E731
        with patch.object(registry, "load_model", load), patch.object(zsaudio.recognizer, "load_model", load):
            self._kill(count)

    def _kill(self, count: int) -> None:
        folder = self._new("recordings")
        for number, seed in enumerate(self.rng.sample(self.seeds, 24)):
            data = seed.read_bytes()
            cut = len(data) * 2 // 3 if number % 6 == 0 else len(data)
            (folder / f"{number:02d}{seed.suffix}").write_bytes(data[:cut])
        modes = [
            (f"detect {form}", ["detect", folder, "-t", "0.05", "-f", form, "-O", "o"])
            for form in EVENT_FORMATS
        ]
        modes += [
            (f"detect {form} to one file", ["detect", folder, "-t", "0.05", "-f", form, "-o", "o/x"])
            for form, how in EVENT_FORMATS.items()
            if how.combines
        ]
        modes += [(f"tag {form}", ["tag", folder, "-f", form, "-o", "o/x"]) for form in TAG_FORMATS]
        modes += [
            ("detect with clips", ["detect", folder, "-t", "0.05", "-f", "csv", "-o", "o/x", "--clips", "c"])
        ]
        modes += [("index", ["index", folder, "-a", "a"])]
        expected: dict[str, tuple[Any, float]] = {}
        self.rng.shuffle(modes)
        while self.n_cases < count:
            name, arguments = modes[self.n_cases % len(modes)]
            if name not in expected:
                started = time.monotonic()
                ended, result = self._resumed(arguments, self._new("unkilled"))
                expected[name] = result, time.monotonic() - started
                for fault in ended.faults(0, 1):
                    self.case([f"{name}: without a kill: {fault}"])
            out = self._new("killed")
            n_kills, faults = self.rng.choice((1, 1, 2)), []
            for _ in range(n_kills):
                by = self.rng.choice((signal.SIGKILL, *ENDING))
                after = self.rng.uniform(0, expected[name][1])
                ended = self._run(arguments, out, kill_after_s=after, by=by)
                faults += [f"{by.name}: {fault}" for fault in ended.faults(0, 1, 130, -by)]
                if ended.code == 130 and "zsaudio: interrupted" not in ended.err[-60:]:
                    faults.append(f"{by.name}: it does not say so: {ended.err}")
                if "-o" not in arguments and name != "index":
                    faults += self._halves(out, expected[name][0])
            ended, result = self._resumed(arguments, out)
            faults += ended.faults(0, 1)
            if not faults and result != expected[name][0]:
                faults.append("the results differ from those of a run that was not killed")
            self.n_cases += n_kills - 1  # each kill is one
            self.case([f"{name}: {fault}" for fault in faults])

    def _halves(self, out: Path, expected: dict[str, bytes]) -> list[str]:
        """Return the files of a folder that are there, but not as they are in the end."""
        return [
            f"{name} is there half"
            for name, content in self._results(out).items()
            if name in expected and content != expected[name] and not name.endswith("failures.csv")
        ]

    def _run(self, arguments: list[Any], out: Path, **how: Any) -> Ended:
        """Run a command whose results go into a folder."""
        os.chdir(out)
        more = [] if arguments[0] == "index" else ["--labels", "600, 1000", "--resume"]
        return zsaudio_run(*arguments, *more, **how)

    def _resumed(self, arguments: list[Any], out: Path) -> tuple[Ended, Any]:
        """Return how a command ended, and its results."""
        ended = self._run(arguments, out)
        if arguments[0] == "index":
            found = zsaudio_run("search", "a", "600", "-f", "csv")
            return ended, (found.out, found.faults(0, 1))
        return ended, self._results(out)

    def _results(self, out: Path) -> dict[str, bytes]:
        """Return what is in each file of results; failures, named as they occur, in any order."""
        own = ("journal", ".lock")
        found = {}
        for path in out.rglob("*"):
            if path.is_file() and not path.name.endswith(own) and path.name != "journal.jsonl":
                lines = path.read_bytes().splitlines(keepends=True)
                if path.name.endswith("failures.csv"):
                    lines.sort()
                found[str(path.relative_to(out))] = hashlib.sha256(b"".join(lines)).digest()
        return found

    # -- models, labels, caches, journals

    def models(self, count: int) -> None:
        """Damage copies of the bundled models and of models made from them."""
        examples, learned = self._examples(), self._new("learned")
        for arguments in (
            ("train", examples, "-o", learned / "a"),
            ("adapt", "nano", examples, "-o", learned / "b"),
        ):
            self._must(*arguments)
        weights = Path(registry.__file__).parent / "weights"
        sources = [(path, "--model") for path in (weights / "nano", learned / "a", learned / "b")]
        sources.append((weights / "nano-keyword", "--keyword-model"))
        for number in range(count):
            source, option = sources[number % len(sources)]
            copy = self._new("damaged") / "model"
            shutil.copytree(source, copy)
            path = self.rng.choice(sorted(path for path in copy.iterdir() if path.is_file()))
            path.write_bytes(mutated(path.read_bytes(), self.rng, [path]))
            label = "keyword: hello" if option == "--keyword-model" else LABELS
            ended = zsaudio_run("tag", self.wave, "--labels", label, option, copy, "-f", "json")
            self._answered(f"model {source.name}/{path.name}", ended)

    def labels(self, count: int) -> None:
        """Give hostile label files, and mutations of good ones."""
        goods = {
            "yaml": "templates: ['the sound of {}']\nlabels:\n- dog\n- {name: rain, threshold: 0.3}\n",
            "csv": "label,threshold,prompts\ndog,0.3,a dog barks\nrain,,it rains\n",
            "txt": "dog\nrain\n# a comment\n",
        }
        for number in range(count):
            suffix = "yaml" if number < len(HOSTILE_LABELS) else self.rng.choice(sorted(goods))
            path = self.work / f"labels.{suffix}"
            if number < len(HOSTILE_LABELS):
                path.write_text(HOSTILE_LABELS[number], encoding="utf-8", errors="surrogatepass")
            else:
                path.write_bytes(mutated(goods[suffix].encode(), self.rng, [self.wave]))
            ended = zsaudio_run("tag", self.wave, "--labels-file", path, "-f", "json")
            self._answered(f"label file {number} ({suffix})", ended)

    def caches(self, count: int) -> None:
        """Damage what is stored between two evaluations of the same recordings."""
        data, cache = self._examples(), Path(os.environ["ZSAUDIO_CACHE"])
        expected = self._must("evaluate", data, "-f", "json").out
        for _ in range(count):
            path = self.rng.choice(sorted(path for path in cache.rglob("*") if path.is_file()))
            path.write_bytes(mutated(path.read_bytes(), self.rng, [self.wave]))
            ended = zsaudio_run("evaluate", data, "-f", "json")
            changed = ["other figures"] if ended.out != expected else []
            self.case([f"cache {path.name}: {fault}" for fault in ended.faults(0) + changed])

    def journals(self, count: int) -> None:
        """Damage the journal of a run, and resume it: it goes on to the same results, or refuses."""
        folder, out = self._examples(), self._new("journals") / "out.csv"
        arguments = ("tag", folder, "--labels", LABELS, "-f", "csv", "-o", out)
        self._must(*arguments)
        journal = out.with_name("out.csv.journal")
        table, lines = out.read_bytes(), journal.read_bytes()
        for _ in range(count):
            out.write_bytes(table)
            journal.write_bytes(mutated(lines, self.rng, [self.wave]))
            ended = zsaudio_run(*arguments, "--resume")
            faults = ended.faults(0, 2, lines=2)
            if ended.code == 0 and sorted(out.read_bytes().splitlines()) != sorted(table.splitlines()):
                faults.append("other results")
            self.case([f"journal: {fault}" for fault in faults])

    def _answered(self, what: str, ended: Ended) -> None:
        """Count an answer to bad input: a result, or a few lines of warnings and errors."""
        faults = ended.faults(0, 1, 2, lines=4)
        if ended.code == 0 and "nan" in ended.out.lower():
            faults.append("NaN in a result")
        self.case([f"{what}: {fault}" for fault in faults])

    def _examples(self) -> Path:
        """Write two labels with three tones each."""
        folder = self._new("examples")
        for number, label in enumerate(("one", "two")):
            (folder / label).mkdir()
            for i in range(3):
                tone = np.sin(np.arange(16_000) * (0.1 + 0.2 * number + 0.01 * i))
                soundfile.write(folder / label / f"{i}.wav", 0.3 * tone, 16_000)
        return folder

    def _must(self, *arguments: object) -> Ended:
        """Run a command that must succeed."""
        ended = zsaudio_run(*arguments)
        if faults := ended.faults(0):
            sys.exit(f"zsaudio {' '.join(map(str, arguments))}: {faults[0]}")
        return ended

    def _new(self, name: str) -> Path:
        """Return an empty folder."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    # -- live sound

    def live(self, hours: int) -> None:
        """Let a session listen for hours to a tone each minute; watch what it takes after each hour."""
        clips = self._new("clips")
        settled: tuple[float, int] = 0.0, 0
        watched: list[tuple[float, int]] = []

        def hour_is_over() -> None:
            watched.append((memory_mb(), len(os.listdir("/dev/fd"))))
            n_clips = len(list(clips.iterdir()))
            self.case([f"live: {n_clips} clips in an hour, not 60"] if not 59 <= n_clips <= 60 else [])
            for path in clips.iterdir():
                path.unlink()

        source = Minutes(hours, hour_is_over)
        keeper = ClipKeeper(clips, source.sample_rate, source.clock, before_s=0.5, after_s=0.5)
        recognizer = Recognizer(["1000"], Tones())
        options = DetectionOptions.live(recognizer.model, hop_s=1.0)
        session = ListenSession(recognizer, source, options=options, keeper=keeper)
        session.run()
        settled, last = watched[0], watched[-1]
        grown = last[0] - settled[0]
        if grown > GROWTH_MB or last[1] > settled[1]:
            self.case([f"live: memory grew by {grown:.0f} MB, from {settled[1]} to {last[1]} open files"])
        self.notes = f"{session.n_events} events, memory {grown:+.1f} MB after the first hour"


WHOLE = {"models": 66, "labels": 60, "caches": 30, "journals": 30, "kills": 100, "files": 10_000, "live": 72}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the whole campaign, above 0")
    parser.add_argument("--only", nargs="+", choices=WHOLE, default=list(WHOLE), help="parts to run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kept = Path(f"torture-{options.seed}").absolute()
    n_cases = n_faults = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZSAUDIO_CACHE"] = str(Path(folder) / "cache")
        campaign = Campaign(Path(folder), kept, options.seed)
        print(f"seed {options.seed}: {len(campaign.seeds)} recordings to start from", flush=True)
        print("| part | cases | faults | seconds | |\n|---|--:|--:|--:|---|", flush=True)
        for part in options.only:
            campaign.n_cases, campaign.n_faults, campaign.notes = 0, 0, ""
            campaign.rng.seed(f"{options.seed} {part}")
            started = time.monotonic()
            try:
                getattr(campaign, part)(max(1, round(WHOLE[part] * options.share)))
            except KeyboardInterrupt:
                campaign.notes = "interrupted"
            counts = f"{campaign.n_cases:,} | {campaign.n_faults} | {time.monotonic() - started:.0f}"
            print(f"| {part} | {counts} | {campaign.notes} |", flush=True)
            n_cases, n_faults = n_cases + campaign.n_cases, n_faults + campaign.n_faults
            if campaign.notes == "interrupted":
                break
        os.chdir(kept.parent)
    print(f"{n_cases:,} cases, {n_faults} faults" + (f", their files in {kept}" if kept.exists() else ""))
    sys.exit(1 if n_faults else 0)


if __name__ == "__main__":
    main()
