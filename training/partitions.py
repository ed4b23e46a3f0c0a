"""Zero-shot learning on ESC-50's five class partitions: methods x semantics, in one table.

    python -m training.partitions train --partition 1 --work WORK    # and 2, 3, 4, 5
    python -m training.partitions table --work WORK

The audio encoder of a partition (nano's audio tower with its contrastive head) never heard the partition's
ten classes, nor fold 5 of the other forty. Compatibilities are learned on folds 1-4 of the forty.

- *unseen*: all clips of the ten classes, the ten names as candidates.
- *U*, *S*: all fifty names as candidates; U, all clips of the ten classes; S, fold 5 of the forty. *H* is
  their harmonic mean. The penalty of known classes (calibrated stacking) is the one that is best on the mean
  over the other partitions, never on the partition under test.

All accuracies are means over classes. The mean over partitions is followed by the standard deviation.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.data import Mels, esc50, partition
from training.nano_audio import Run, parse, train
from training.nano_network import TrainedAudio
from training.nano_text import load_text, sentences
from zsaudio.evaluation import metrics
from zsaudio.labels import Label
from zsaudio.models.learned.class_tables import Taxonomy
from zsaudio.models.learned.compatibility import METHODS
from zsaudio.models.learned.semantics import Semantics
from zsaudio.models.nano.tower import TowerConfig

SEMANTICS = (
    ("names",),
    ("descriptions",),
    ("attributes",),
    ("relations",),
    ("names", "attributes"),
    ("names", "descriptions", "attributes", "relations"),
)
PENALTIES = np.linspace(0, 3, 61)  # in standard deviations of a method's scores


def train_encoder(options: argparse.Namespace) -> None:
    """Train the audio tower without a partition and without fold 5."""
    settings = ["train", "--partition", str(options.partition), "--steps", str(options.steps)]
    settings += ["--data", str(options.data), "--work", str(options.work)]
    run = Run(name(options.partition), folds=(1, 2, 3, 4), unseen=tuple(partition(options.partition)))
    train(parse(settings), run)


def name(number: int) -> str:
    """Return what a partition's encoder is called."""
    return f"partition{number}-fold5"


@torch.inference_mode()
def embed(number: int, data: Path, work: Path) -> np.ndarray:
    """Return the mean embedding of each clip of ESC-50, from the work folder where it has been computed."""
    file, checkpoint = work / f"{name(number)}.npy", work / f"{name(number)}.pt"
    if file.exists() and file.stat().st_mtime > checkpoint.stat().st_mtime:
        return np.asarray(np.load(file))
    config, clips = TowerConfig(), esc50(data)
    audio = TrainedAudio().eval()
    audio.load_state_dict(torch.load(checkpoint)["audio"], strict=False)
    mels = Mels(work, clips, config)
    rows = [audio.embed(torch.from_numpy(mels[clip].astype(np.float32))[None])[0].mean(0) for clip in clips]
    np.save(file, torch.stack(rows).numpy())
    return torch.stack(rows).numpy()


class Partition:
    """One partition: embeddings, classes, and which clips are for what."""

    def __init__(self, number: int, data: Path, work: Path) -> None:
        clips = esc50(data)
        self.number = number
        self.names = sorted({clip.category for clip in clips})
        self.unseen = np.array([self.names.index(category) for category in partition(number)])
        self.vectors = embed(number, data, work)
        self.truth = np.array([self.names.index(clip.category) for clip in clips])
        fold = np.array([clip.fold for clip in clips])
        is_unseen = np.isin(self.truth, self.unseen)
        self.learn, self.test = ~is_unseen & (fold != 5), is_unseen | (fold == 5)
        self.seen_columns = ~np.isin(np.arange(len(self.names)), self.unseen)

    def scores(self, method: str, vectors: np.ndarray) -> np.ndarray:
        """Learn from the forty classes; return standardised scores of the test clips for all fifty."""
        fitted = METHODS[method]().fit(self.vectors[self.learn], self.truth[self.learn], vectors)
        scores = fitted.decision_function(self.vectors[self.test], vectors)
        return np.asarray(scores / scores.std())

    def measure(self, scores: np.ndarray, penalty: float) -> metrics.Generalised:
        """Measure with a penalty on the forty classes."""
        return metrics.generalised(scores - penalty * self.seen_columns, self.truth[self.test], self.unseen)


def table(options: argparse.Namespace) -> None:
    """Print the table."""
    text = load_text(options.work)
    partitions = [Partition(number, options.data, options.work) for number in options.partitions]
    taxonomy = Taxonomy.read(options.data / "text" / "audioset_ontology.json")

    @torch.inference_mode()
    def encode(texts: Any) -> np.ndarray:
        return text.project(sentences(text, list(texts))).numpy()

    labels = [Label(category) for category in partitions[0].names]
    numbers = " | ".join(str(p.number) for p in partitions)
    print(f"| method | semantics | {numbers} | unseen | U | S | H |")
    print("|---|---|" + "--:|" * (len(partitions) + 4))
    own = encode(partitions[0].names)
    plain = [p.vectors @ own.T for p in partitions]
    report(
        "none (the encoder itself)",
        "names",
        partitions,
        [s[p.test] / s.std() for s, p in zip(plain, partitions, strict=True)],
    )
    for sources in SEMANTICS:
        vectors = Semantics(encode, sources, taxonomy=taxonomy)(labels)
        for method in METHODS:
            report(method, ", ".join(sources), partitions, [p.scores(method, vectors) for p in partitions])


def report(method: str, sources: str, partitions: list[Partition], scores: list[np.ndarray]) -> None:
    """Print one row."""
    harmonic = np.array(
        [
            [p.measure(s, penalty).harmonic for penalty in PENALTIES]
            for p, s in zip(partitions, scores, strict=True)
        ]
    )
    results = []
    for i, (one, own) in enumerate(zip(partitions, scores, strict=True)):
        others = np.delete(harmonic, i, axis=0)
        penalty = PENALTIES[others.mean(axis=0).argmax()] if len(others) else 0.0
        results.append(one.measure(own, float(penalty)))
    alone = [100 * r.unseen_only for r in results]
    columns = [alone, *([100 * getattr(r, key) for r in results] for key in ("unseen", "seen", "harmonic"))]
    cells = [f"{value:.1f}" for value in alone] + [f"{np.mean(c):.1f} ± {np.std(c):.1f}" for c in columns]
    print(f"| {method} | {sources} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=["train", "table"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of the recipe's caches and checkpoints"
    )
    parser.add_argument("--partition", type=int, choices=range(1, 6), help="train: which one to leave out")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument(
        "--partitions", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="table: which ones"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.step == "table":
        table(options)
    elif options.partition is None:
        parser.error("train needs --partition")
    else:
        train_encoder(options)


if __name__ == "__main__":
    main()
