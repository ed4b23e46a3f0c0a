"""How good scores are: accuracy, average precision, calibration, and seen against unseen classes.

Conventions: ``scores`` are ``(n_clips, n_classes)``; ``truth`` is ``(n_clips,)``, the number of the true
class, or, for several labels a clip, booleans ``(n_clips, n_classes)``. Classes without a clip count in no
mean. All results are in [0, 1].

References
----------
Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (equation 3: expected calibration error).
Xian et al., Zero-Shot Learning - A Comprehensive Evaluation, 2018 (equations 22-23: class-averaged accuracy
and harmonic mean).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score


def accuracy(scores: np.ndarray, truth: np.ndarray, k: int = 1) -> float:
    """Return how often the true class is among the ``k`` best."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((best == truth[:, None]).any(axis=1).mean())


def class_accuracy(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return per class how often its clips are recognised; NaN for a class without clips."""
    matrix = confusion(scores, truth)
    with np.errstate(invalid="ignore"):
        return np.asarray(matrix.diagonal() / matrix.sum(axis=1))


def mean_class_accuracy(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean over classes of ``class_accuracy``: every class counts the same (Xian 2018, eq. 22)."""
    return float(np.nanmean(class_accuracy(scores, truth)))


def confusion(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return how many clips of each class (rows) are taken for each class (columns)."""
    matrix = np.zeros((scores.shape[1],) * 2, int)
    np.add.at(matrix, (truth, scores.argmax(axis=1)), 1)
    return matrix


def average_precision(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return per class the average precision of ranking clips by its score; NaN for one without clips."""
    target = one_hot(truth, scores.shape[1]) if truth.ndim == 1 else truth
    return np.array(
        [
            average_precision_score(target[:, i], scores[:, i]) if target[:, i].any() else np.nan
            for i in range(scores.shape[1])
        ]
    )


def one_hot(truth: np.ndarray, n_classes: int) -> np.ndarray:
    """Return booleans ``(n_clips, n_classes)`` from class numbers."""
    return np.asarray(truth[:, None] == np.arange(n_classes))


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: scores in equal bins, how high they are and how often they are right.

    ``count``, ``score`` and ``right`` are per bin; the last two are NaN in an empty bin.
    """

    count: np.ndarray
    score: np.ndarray
    right: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance of score and truth (Guo 2017, eq. 3)."""
        filled = self.count > 0
        gap = np.abs(self.score[filled] - self.right[filled])
        return float(np.average(gap, weights=self.count[filled]))


def reliability(scores: np.ndarray, right: np.ndarray, bins: int = 15) -> Reliability:
    """Compare scores in [0, 1] with whether they were right, in equal bins; both of any one shape."""
    which = np.minimum((scores.ravel() * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            count,
            np.bincount(which, scores.ravel(), bins) / count,
            np.bincount(which, right.ravel().astype(float), bins) / count,
        )


@dataclass(frozen=True)
class Generalised:
    """Generalised zero-shot accuracy: all classes are candidates, the mean is over classes.

    ``unseen_only`` is the plain zero-shot accuracy: clips of unseen classes, unseen candidates.
    """

    unseen: float
    seen: float
    unseen_only: float

    @property
    def harmonic(self) -> float:
        """The harmonic mean of seen and unseen accuracy (Xian 2018, eq. 23)."""
        return harmonic_mean(self.seen, self.unseen)


def harmonic_mean(a: float, b: float) -> float:
    """Return ``2ab / (a + b)``; 0 where both are.

    Examples
    --------
    >>> harmonic_mean(0.5, 0.125)
    0.2
    """
    return 2 * a * b / (a + b) if a + b > 0 else 0.0


def generalised(scores: np.ndarray, truth: np.ndarray, unseen: Sequence[int] | np.ndarray) -> Generalised:
    """Measure seen and unseen classes with all of them as candidates.

    Parameters
    ----------
    scores, truth
        As everywhere in this module.
    unseen
        Numbers of the unseen classes; the others are seen.
    """
    of_unseen = np.isin(truth, unseen)
    per_class = class_accuracy(scores, truth)
    is_unseen = np.isin(np.arange(scores.shape[1]), unseen)
    columns = np.flatnonzero(is_unseen)
    number = np.full(scores.shape[1], -1)
    number[columns] = np.arange(len(columns))
    return Generalised(
        _mean(per_class[is_unseen]),
        _mean(per_class[~is_unseen]),
        mean_class_accuracy(scores[of_unseen][:, columns], number[truth[of_unseen]])
        if of_unseen.any()
        else float("nan"),
    )


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
