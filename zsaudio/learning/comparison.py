"""Is a learned model better than the one that it stands on? Both on recordings that were held out.

Conventions: log-odds are ``(n_clips, n_classes)``; ``truth`` holds class numbers, ``(n_clips,)``.
"""

from dataclasses import dataclass

import numpy as np

from zsaudio.detection.scoring import to_scores
from zsaudio.errors import DataError
from zsaudio.evaluation import metrics
from zsaudio.evaluation.clips import evaluate
from zsaudio.evaluation.datasets import Dataset
from zsaudio.models.base import Model

FOLDS = 5


@dataclass(frozen=True)
class Comparison:
    """Log-odds of the base model and of the learned one, for the same recordings."""

    classes: tuple[str, ...]
    base: np.ndarray
    learned: np.ndarray
    truth: np.ndarray

    @property
    def figures(self) -> dict[str, tuple[float, float]]:
        """Accuracy, mAP and expected calibration error of the base model and of the learned one."""
        both = [_figures(logits, self.truth) for logits in (self.base, self.learned)]
        return {name: (both[0][name], both[1][name]) for name in both[0]}

    @property
    def is_better(self) -> bool:
        """Whether the learned model is more accurate, or as accurate with a higher mAP."""
        before, after = (
            (figures["accuracy"], figures["mAP"])
            for figures in (_figures(self.base, self.truth), _figures(self.learned, self.truth))
        )
        return after > before

    @property
    def is_worse(self) -> bool:
        """Whether the learned model is less accurate."""
        before, after = self.figures["accuracy"]
        return after < before

    @property
    def lower(self) -> list[tuple[str, float, float, int]]:
        """The classes that are recognised less often: name, accuracy before and after, recordings."""
        before, after = (metrics.class_accuracy(logits, self.truth) for logits in (self.base, self.learned))
        counts = np.bincount(self.truth, minlength=len(self.classes))
        rows = zip(self.classes, before, after, counts, strict=True)
        return [(name, float(b), float(a), int(n)) for name, b, a, n in rows if a < b]

    def lines(self, base: str) -> list[str]:
        """Return the comparison as text, a table and what to conclude."""
        width = max(len(base), 7) + 2
        lines = [f"{f'{len(self.truth)} recordings held out':24}{base:>{width}}{'learned':>{width}}"]
        for name, (before, after) in self.figures.items():
            lines.append(f"{name:24}{100 * before:{width - 2}.1f} %{100 * after:{width - 2}.1f} %")
        for name, before, after, n in self.lower:
            lines.append(f"lower: {name}, {100 * before:.0f} -> {100 * after:.0f} % of {n} recordings")
        if not self.is_better:
            lines.append(
                f"not better than {base} on recordings held out: use {base} for these labels, or add "
                "recordings from other days and places, most of all of classes that are recognised less often"
            )
        return lines


def compare(base: Model, learned: Model, data: Dataset, cache: bool = True) -> Comparison:
    """Compare two models on recordings that neither learned from.

    Raises
    ------
    DataError
        If a recording has several labels, or none can be used.
    """
    if data.is_multi_label:
        raise DataError(f"{data.name}: models are compared on recordings with one label each")
    (before,), (after,) = (evaluate(model, data, cache=cache) for model in (base, learned))
    return Comparison(before.classes, before.logits, after.logits, before.number)


def hold_out(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold of each clip, 0 to 4, by class in equal parts; -1: the only clip of its class.

    Examples
    --------
    >>> hold_out(np.array([0, 0, 0, 1]), 0).tolist()
    [0, 1, 4, -1]
    """
    rng = np.random.default_rng(seed)
    folds = np.full(len(numbers), -1)
    for number in np.unique(numbers):
        own = np.flatnonzero(numbers == number)
        start = rng.integers(FOLDS)
        if len(own) > 1:
            folds[rng.permutation(own)] = (start + np.arange(len(own))) % FOLDS
    return folds


def _figures(logits: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    scores = to_scores(logits, np.zeros(logits.shape[1], bool))
    return {
        "accuracy": metrics.accuracy(logits, truth),
        "mAP": float(np.nanmean(metrics.average_precision(logits, truth))),
        "ECE": metrics.reliability(scores, metrics.one_hot(truth, logits.shape[1])).ece,
    }
