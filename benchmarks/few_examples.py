"""Accuracy of nano on ESC-50 with a few examples per class (``zsaudio adapt``), and after fine-tuning.

    python benchmarks/few_examples.py --esc50 ../shared/data/esc50

Clips are the 230 whose licence (CC BY-NC, CC Sampling+) kept them out of the training of the shipped weights.
Each fold is the test set in turn, with examples from the other four, about four per class; all classes are
candidates. Lines of the table:

    names that nano knows      the classes' own names, which nano was trained on with other clips
    names that say nothing     the same clips, with the classes called "sound 1", "sound 2" and so on
    ..., 2 or 1 examples        at most two examples a class, or one; the mean of five draws
    half: with, without        examples of half of the classes under their own names, then of the other half:
                               clips of classes with examples, and of classes without

A clip whose class has no example in the other folds is left out, but for the last line. Columns are the
accuracy in percent of nano, of the adapted model with default options, and after 20 and 100 epochs of
fine-tuning.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from zsaudio import LabelSet
from zsaudio.detection.scoring import pool_frames
from zsaudio.evaluation.embeddings import embed_clips
from zsaudio.learning.fine_tuning import fine_tune
from zsaudio.models.base import LabelBank
from zsaudio.models.learned.adapted import Adapted
from zsaudio.models.nano.nano import Nano
from zsaudio.results import ClipOutputs

FREE = ("CC0", "CC-BY")
EPOCHS = (0, 20, 100)
DRAWS = 5


class Trials:
    """The clips and their embeddings."""

    def __init__(self, esc50: Path) -> None:
        with (esc50 / "esc50.csv").open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["licence"] not in FREE]
        self.nano = Nano()
        self.clips = list(embed_clips(self.nano, [esc50 / row["file"] for row in rows]))
        self.keys = np.stack([clip.mean() for clip in self.clips])
        self.keys /= np.linalg.norm(self.keys, axis=1, keepdims=True)
        self.names = sorted({row["category"] for row in rows})
        self.numbers = np.array([self.names.index(row["category"]) for row in rows])
        self.folds = np.array([int(row["fold"]) for row in rows])

    def right(self, names: list[str], examples: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
        """Return which clips of ``test`` are recognised, ``(1 + len(EPOCHS), n_test)``."""
        labels = tuple(names[number] for number in self.numbers[examples])
        adapted = Adapted(self.nano, "nano", self.keys[examples], labels)
        tuned = (fine_tune(adapted, epochs, seed=seed) for epochs in EPOCHS)
        models: list[Nano | Adapted] = [self.nano, *tuned]
        rows = []
        for model in models:
            bank = model.embed_labels(LabelSet(names))
            rows.append([self.best(model, self.clips[i], bank) == self.numbers[i] for i in test])
        return np.array(rows)

    @staticmethod
    def best(model: Nano | Adapted, clip: ClipOutputs, bank: LabelBank) -> int:
        """Return the number of the class with the highest score."""
        windows = [pool_frames(logits) for logits in model.compare(clip.windows, bank)]
        return int(np.max(windows, axis=0).argmax())

    def run(
        self, names: list[str], most: int, draws: int, among: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Return what is right in each fold and draw: clips with examples of their class, then without."""
        found: list[list[np.ndarray]] = [[], []]
        for fold in np.unique(self.folds):
            for seed in range(draws):
                rng = np.random.default_rng(seed)
                own = [np.flatnonzero((self.folds != fold) & (self.numbers == n)) for n in range(len(names))]
                if among is not None:
                    own = [clips if n in among else clips[:0] for n, clips in enumerate(own)]
                examples = np.concatenate([rng.permutation(clips)[:most] for clips in own])
                test = np.flatnonzero(self.folds == fold)
                has = np.isin(self.numbers[test], self.numbers[examples])
                right = self.right(names, examples, test, seed)
                found[0].append(right[:, has])
                found[1].append(right[:, ~has])
        return [np.concatenate(part, axis=1) for part in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--esc50", type=Path, required=True, help="folder with esc50.csv")
    trials = Trials(parser.parse_args().esc50)
    known, nothing = trials.names, [f"sound {n + 1}" for n in range(len(trials.names))]
    print(f"{'':34}clips  nano  adapt  " + "  ".join(f"{epochs:3} epochs" for epochs in EPOCHS[1:]))
    show("names that nano knows", trials.run(known, 32, 1)[0])
    show("names that say nothing", trials.run(nothing, 32, 1)[0])
    for most, what in ((2, "2 examples"), (1, "1 example")):
        show(f"names that say nothing, {what}", trials.run(nothing, most, DRAWS)[0])
    order = np.random.default_rng(0).permutation(len(known))
    halves = [trials.run(known, 32, 1, half) for half in np.array_split(order, 2)]
    show("half: with", np.concatenate([half[0] for half in halves], axis=1))
    show("half: without", np.concatenate([half[1] for half in halves], axis=1))
    keys = np.random.default_rng(0).normal(size=(320, trials.nano.dim)).astype(np.float32)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    many = Adapted(trials.nano, "nano", keys, tuple(known[i % 10] for i in range(320)))
    start = time.perf_counter()
    fine_tune(many, 20)
    print(f"32 examples of 10 classes, 20 epochs: {time.perf_counter() - start:.1f} s")


def show(what: str, right: np.ndarray) -> None:
    print(f"{what:34}{right.shape[1]:5}", *(f"{100 * share:6.1f}" for share in right.mean(axis=1)))


if __name__ == "__main__":
    main()
