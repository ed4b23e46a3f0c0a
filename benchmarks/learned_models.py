"""Do learned models help? nano against what ``zsaudio train`` and ``adapt`` make of it, on small data sets.

    python benchmarks/learned_models.py --data ../shared/data

Every model is made by the command line with its default settings but for ``--method``, from a folder per
class, and tested on clips of other recordings. Test clips are ones that the shipped weights of nano did not
learn from: of ESC-50 the 230 with licences CC BY-NC and CC Sampling+, of the instruments every third, all
drones.
Data sets, with what they are learned from:

    few            the 230 themselves, each of the five folds in turn from the other four, about 4 a class
    no names       the same; the classes are called "sound 1", "sound 2" and so on
    silent tails   the same clips, cut to the loudest 1.2 s; 3.8 s of zeros follow, or of noise at -75 dBFS
    ten classes    ten classes, 15 clips each, which nano learned from; four draws of classes
    many           all classes that can be tested, 30 clips each, which nano learned from
    unbalanced     ten classes with 2 to 30 clips, which nano learned from; four draws of classes
    instruments    ten instruments, 20 recordings each, which nano learned from
    few instruments    the third that it did not learn from, five parts in turn, 8 recordings each
    drones         two small drones, by names that nano knows nothing about; the first third of the recordings

``silence`` is the highest score that any class gets for half a minute of digital silence.
"""

import argparse
import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from zsaudio.cli import app
from zsaudio.detection.scoring import to_scores
from zsaudio.evaluation import metrics
from zsaudio.evaluation.clips import evaluate
from zsaudio.evaluation.datasets import read_dataset
from zsaudio.labels import LabelSet
from zsaudio.models.registry import load_model
from zsaudio.recognizer import Recognizer

FREE = ("CC0", "CC-BY")
METHODS = {
    "train": ["train", "{train}", "-o", "{model}"],
    "train ranking": ["train", "{train}", "-o", "{model}", "--method", "ranking"],
    "train contrastive": ["train", "{train}", "-o", "{model}", "--method", "contrastive"],
    "adapt": ["adapt", "nano", "{train}", "-o", "{model}"],
    "adapt, 20 epochs": ["adapt", "nano", "{train}", "-o", "{model}", "--fine-tune", "20"],
}


@dataclass(frozen=True)
class Clip:
    """A recording, its class, the part of its data set, and whether nano learned from it."""

    path: Path
    label: str
    part: int
    learned: bool


@dataclass(frozen=True)
class Part:
    """What is learned from and what is tested, once."""

    train: list[Clip]
    test: list[Clip]


def data_sets(data: Path, made: Path) -> dict[str, list[Part]]:
    """Return the data sets by name; clips that must be made are written to ``made``."""
    clips = esc50(data)
    new = [clip for clip in clips if not clip.learned]
    names = sorted({clip.label for clip in new})
    nameless = [renamed(clip, f"sound {names.index(clip.label) + 1}") for clip in new]
    tails = [with_tail(clip, made, number) for number, clip in enumerate(new)]
    draws = [np.random.default_rng(seed).permutation(names)[:10].tolist() for seed in range(4)]
    uneven = [2, 3, 4, 6, 8, 10, 13, 17, 22, 30]
    music = instruments(data)
    return {
        "few": in_turn(new),
        "no names": in_turn(nameless),
        "silent tails": in_turn(tails),
        "ten classes": [drawn(clips, dict.fromkeys(draw, 15)) for draw in draws],
        "many": [drawn(clips, dict.fromkeys(names, 30))],
        "unbalanced": [drawn(clips, dict(zip(draw, uneven, strict=True))) for draw in draws],
        "instruments": [drawn(music, dict.fromkeys(sorted({c.label for c in music}), 20))],
        "few instruments": in_turn([clip for clip in music if not clip.learned]),
        "drones": [drones(data)],
    }


def esc50(data: Path) -> list[Clip]:
    """Return the clips of ESC-50; folds never share a recording, nor do learned clips and others."""
    with (data / "esc50" / "esc50.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Clip(data / "esc50" / row["file"], row["category"], int(row["fold"]), row["licence"] in FREE)
        for row in rows
    ]


def instruments(data: Path) -> list[Clip]:
    """Return the recordings of instruments; nano learned from two of three."""
    with (data / "instruments" / "instruments.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Clip(data / "instruments" / row["file"], row["category"], number // 3 % 5, number % 3 < 2)
        for number, row in enumerate(rows)
    ]


def drones(data: Path) -> Part:
    """Return seconds of two drones; the pieces of a flight follow each other, so the split is by time."""
    files = sorted((data / "drone" / "audio").iterdir())
    train: list[Clip] = []
    test: list[Clip] = []
    for letter, label in (("B_", "my first drone"), ("Membo", "my second drone")):
        own = [Clip(path, label, 0, False) for path in files if path.name.startswith(letter)]
        train += own[: len(own) // 3]
        test += own[len(own) // 3 + 5 :]
    return Part(train, test)


def in_turn(clips: Sequence[Clip]) -> list[Part]:
    """Test on each part with examples from the others; classes without an example elsewhere are left out."""
    parts = []
    for number in sorted({clip.part for clip in clips}):
        train = [clip for clip in clips if clip.part != number]
        known = {clip.label for clip in train}
        parts.append(Part(train, [clip for clip in clips if clip.part == number and clip.label in known]))
    return parts


def drawn(clips: Sequence[Clip], counts: dict[str, int]) -> Part:
    """Draw so many learned clips of each class; test on all others of these classes that are not learned."""
    rng = np.random.default_rng(0)
    train = []
    for label, count in counts.items():
        own = [clip for clip in clips if clip.label == label and clip.learned]
        train += [own[i] for i in sorted(rng.permutation(len(own))[:count])]
    return Part(train, [clip for clip in clips if clip.label in counts and not clip.learned])


def renamed(clip: Clip, label: str) -> Clip:
    return Clip(clip.path, label, clip.part, clip.learned)


def with_tail(clip: Clip, folder: Path, number: int) -> Clip:
    """Write the loudest 1.2 s of a clip with a tail of zeros, or of faint noise."""
    wave, rate = soundfile.read(clip.path, dtype="float32")
    length = int(1.2 * rate)
    energy = np.concatenate([[0.0], np.cumsum(wave.astype(np.float64) ** 2)])
    at = int((energy[length:] - energy[:-length]).argmax())
    noise = np.random.default_rng(number).normal(scale=10 ** (-75 / 20), size=int(3.8 * rate)) * (number % 2)
    path = folder / f"{clip.path.stem}.flac"
    soundfile.write(path, np.concatenate([wave[at : at + length], noise]), rate, subtype="PCM_24")
    return Clip(path, clip.label, clip.part, clip.learned)


def as_folder(clips: Sequence[Clip], folder: Path) -> Path:
    """Link clips into a folder per class."""
    for clip in clips:
        link = folder / clip.label / clip.path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(clip.path.resolve())
    return folder


@dataclass
class Result:
    """Log-odds of all classes for the test clips of each part, and the best score for silence."""

    logits: list[np.ndarray]
    truth: list[np.ndarray]
    silence: float

    def figures(self) -> tuple[float, float, float]:
        """Return accuracy, mAP and ECE in percent: of all clips, the mean over parts, of all scores."""
        parts = list(zip(self.logits, self.truth, strict=True))
        right = np.concatenate([logits.argmax(1) == truth.argmax(1) for logits, truth in parts])
        precision = [np.nanmean(metrics.average_precision(logits, truth)) for logits, truth in parts]
        scores = np.concatenate(
            [to_scores(logits, np.zeros(logits.shape[1], bool)).ravel() for logits, _ in parts]
        )
        ece = metrics.reliability(scores, np.concatenate([truth.ravel() for _, truth in parts])).ece
        return 100 * float(right.mean()), 100 * float(np.mean(precision)), 100 * ece


def measure(models: Iterator[tuple[str, Path]]) -> Result:
    """Test models, each on a folder of clips of its own."""
    result = Result([], [], 0.0)
    for source, folder in models:
        model, dataset = load_model(source, device="cpu"), read_dataset(folder)
        (found,) = evaluate(model, dataset)
        result.logits.append(found.logits)
        result.truth.append(found.truth)
        tags = Recognizer(LabelSet(dataset.classes), model).tag(np.zeros(30 * 16_000, np.float32), 16_000)
        result.silence = max(result.silence, tags[0].score)
    return result


def learn(arguments: Sequence[str], train: Path, model: Path) -> None:
    """Run a command of zsaudio, in this process: importing it anew would take most of the time."""
    filled = [argument.format(train=train, model=model) for argument in arguments]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        app(filled, standalone_mode=False)


def run(parts: Sequence[Part], methods: Sequence[str], work: Path) -> dict[str, Result]:
    """Return the results on one data set: of nano, and of each method."""
    folders = []
    for number, part in enumerate(parts):
        train = as_folder(part.train, work / f"{number}" / "clips to learn from")
        folders.append((train, as_folder(part.test, work / f"{number}" / "clips to test on")))
    results = {"nano": measure(("nano", test) for _, test in folders)}
    for method in methods:

        def models(method: str = method) -> Iterator[tuple[str, Path]]:
            for number, (train, test) in enumerate(folders):
                model = work / f"{number}" / method
                learn(METHODS[method], train, model)
                yield str(model), test

        results[method] = measure(models())
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with esc50, instruments and drone")
    parser.add_argument("--sets", help="these data sets only, a,b,c")
    parser.add_argument(
        "--methods", default="train,adapt", help=f"some of {', '.join(METHODS)}, without epochs: all"
    )
    options = parser.parse_args()
    methods = list(METHODS) if options.methods == "all" else options.methods.split(",")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["ZSAUDIO_CACHE"] = str(work / "cache")
        (work / "made").mkdir()
        sets = data_sets(options.data, work / "made")
        print("| data set | clips learned, tested | model | accuracy | mAP | ECE | silence |")
        print("|---|--:|---|--:|--:|--:|--:|")
        for name in options.sets.split(",") if options.sets else sets:
            parts = sets[name]
            n_learned = sum(len(part.train) for part in parts) // len(parts)
            counts = f"{n_learned}, {sum(len(part.test) for part in parts)}"
            for model, result in run(parts, methods, work / name).items():
                figures = " | ".join(f"{figure:.1f}" for figure in result.figures())
                print(f"| {name} | {counts} | {model} | {figures} | {result.silence:.2f} |", flush=True)


if __name__ == "__main__":
    main()
