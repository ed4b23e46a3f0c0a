"""Adapt a model to a few examples of some labels; the scores of all other labels stay what they are.

See ``zsaudio.models.learned.adapted`` for the method and ``zsaudio.learning.fine_tuning`` for its training.
How much the examples and the model's own score count is fitted on examples held out, a fifth of each label in
turn; the model's own score alone is one of the possible results.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from zsaudio.evaluation import metrics
from zsaudio.evaluation.datasets import Dataset, Recording
from zsaudio.labels import LabelSet
from zsaudio.learning import fine_tuning
from zsaudio.learning.comparison import Comparison, compare, hold_out
from zsaudio.learning.examples import Examples, Progress, gather, open_dataset, open_model
from zsaudio.models.base import Model
from zsaudio.models.learned.adapted import Adapted

log = logging.getLogger("zsaudio")

MOST_EXAMPLES = 32  # of a label
STRENGTH = 10.0  # where it is not fitted
_STRENGTHS = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0)
_BASE_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def adapt(
    data: Dataset | str | os.PathLike[str],
    model: str | Model = "nano",
    *,
    strength: float | None = None,
    sharpness: float = 5.5,
    fine_tune: int = 0,
    validation: Dataset | str | os.PathLike[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int = 16,
    cache: bool = True,
    progress: Progress | None = None,
    on_epoch: Callable[[int, int], None] | None = None,
) -> Adapted:
    """Return a model that knows some labels by examples, 1 to 32 recordings each.

    Recordings that cannot be used are logged and left out.

    Parameters
    ----------
    data
        Recordings with one label each: a ``Dataset``, or what ``read_dataset`` takes.
    model
        The model to adapt: what ``load_model`` takes, or a loaded model.
    strength
        Log-odds that a perfect match with an example adds; None: fitted on examples held out, together with
        the weight of the model's own log-odds and a bias.
    sharpness
        How fast these log-odds decrease with the distance from the example.
    fine_tune
        Number of epochs in which the examples are trained; 0: none. It helps if a label has several examples
        and a name that the model does not know.
    validation
        Recordings to compare the two models on; by default a fifth of the examples in turn.
    seed
        Draws 32 examples of a label that has more, and the order in which they are trained.
    device, dtype
        As for ``load_model``.
    batch_size
        Number of windows in a batch.
    cache
        Keep the embeddings of the recordings on disk for the next time.
    progress
        Wraps the iterator over recordings; is called with the iterator and the number of recordings.
    on_epoch
        Called after each epoch with the number of epochs that are done and the total.

    Returns
    -------
    Adapted
        A model for ``Recognizer``; its ``save(folder)`` writes a folder that ``load_model`` takes. Its
        ``comparison`` is with the other model on recordings held out; None where there are too few.

    Raises
    ------
    DataError
        If a recording has several labels, or none can be used.
    ModelError, OptionError
        If the model or an option cannot be used.
    """
    base, source = open_model(model, device, dtype, "adapting")
    dataset = _draw(open_dataset(data), seed)
    examples = gather(base, dataset, batch_size, cache, progress, keep_windows=True)
    keys = examples.vectors / np.linalg.norm(examples.vectors, axis=1, keepdims=True)
    labels = np.array(examples.classes, object)[examples.numbers]
    first = STRENGTH if strength is None else strength

    def made_of(chosen: np.ndarray, on_epoch: Callable[[int, int], None] | None = None) -> Adapted:
        start = Adapted(base, source, keys[chosen], tuple(labels[chosen]), first, sharpness)
        return fine_tuning.fine_tune(start, fine_tune, seed=seed, on_epoch=on_epoch)

    adapted = made_of(np.ones(len(keys), bool), on_epoch)
    folds = hold_out(examples.numbers, seed)
    if len(np.unique(examples.numbers[folds >= 0])) > 1:
        matches = _Matches.of(examples, folds, lambda fold: made_of(folds != fold))
        if strength is None:
            adapted = matches.fit(adapted)
        adapted.comparison = matches.comparison(adapted)
        if strength is None and adapted.comparison.is_worse:
            adapted = replace(adapted, strength=0.0, base_weight=1.0, bias=0.0)
            adapted.comparison = matches.comparison(adapted)
    if validation is not None:
        adapted.comparison = compare(base, adapted, open_dataset(validation), cache)
    return adapted


def _draw(dataset: Dataset, seed: int) -> Dataset:
    """Leave out recordings, drawn by the seed, of labels that have more than ``MOST_EXAMPLES``."""
    rng = np.random.default_rng(seed)
    by_label: dict[tuple[str, ...], list[Recording]] = {}
    for recording in dataset.recordings:
        by_label.setdefault(recording.labels, []).append(recording)
    kept: list[Recording] = []
    for label, own in by_label.items():
        if len(own) > MOST_EXAMPLES:
            log.warning(
                "'%s' has %d examples: %d of them are used", ", ".join(label), len(own), MOST_EXAMPLES
            )
        drawn = np.sort(rng.permutation(len(own))[:MOST_EXAMPLES])
        kept += [own[i] for i in drawn]
    return replace(dataset, recordings=tuple(kept))


@dataclass
class _Matches:
    """How like the other examples each example is that was held out, frame by frame.

    Parameters
    ----------
    classes, truth
        The labels, and the number of each clip's.
    logits, likeness, counts
        See ``Adapted.matches``; the frames of all clips.
    windows, clips
        The first frame of each window, and the first window of each clip.
    """

    classes: tuple[str, ...]
    truth: np.ndarray
    logits: np.ndarray
    likeness: np.ndarray
    counts: np.ndarray
    windows: np.ndarray
    clips: np.ndarray

    @classmethod
    def of(cls, examples: Examples, folds: np.ndarray, without: Callable[[int], Adapted]) -> "_Matches":
        """Match each example with a model made ``without`` its fold."""
        frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        truth, clips = [], []
        for fold in np.unique(folds[folds >= 0]):
            model = without(fold)
            bank = model.embed_labels(LabelSet(examples.classes))
            for clip in np.flatnonzero(folds == fold):
                clips.append(len(frames))
                truth.append(examples.numbers[clip])
                frames += model.matches(examples.windows[clip], bank)
        windows = np.cumsum([0, *(len(logits) for logits, _, _ in frames[:-1])])
        logits, likeness, counts = (np.concatenate(part) for part in zip(*frames, strict=True))
        return cls(examples.classes, np.array(truth), logits, likeness, counts, windows, np.array(clips))

    def pooled(self, strength: float, base_weight: float, bias: float) -> np.ndarray:
        """Return the log-odds of the clips, ``(n_clips, n_classes)``, as ``Recognizer.tag`` pools them."""
        mixed = base_weight * self.logits + strength * self.likeness + bias
        mixed = np.where(self.counts[:, None], mixed, self.logits)
        lengths = np.diff(self.windows, append=len(mixed))
        odds = np.logaddexp.reduceat(mixed, self.windows, axis=0) - np.log(lengths)[:, None]
        return np.asarray(np.maximum.reduceat(odds, self.clips, axis=0))

    def fit(self, adapted: Adapted) -> Adapted:
        """Return the model with the strength, base weight and bias of the highest likelihood."""
        truth = metrics.one_hot(self.truth, len(self.classes))
        best, least = adapted, np.inf
        for strength in _STRENGTHS:
            for base_weight in _BASE_WEIGHTS:
                logits = self.pooled(strength, base_weight, 0.0)
                bias = _bias(logits, truth)
                loss = float(np.logaddexp(0, np.where(truth, -1, 1) * (logits + bias)).mean())
                if loss < least:
                    least = loss
                    best = replace(adapted, strength=strength, base_weight=base_weight, bias=bias)
        return best

    def comparison(self, adapted: Adapted) -> Comparison:
        """Compare the two models."""
        learned = self.pooled(adapted.strength, adapted.base_weight, adapted.bias)
        return Comparison(self.classes, self.pooled(0.0, 1.0, 0.0), learned, self.truth)


def _bias(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the bias of the highest likelihood: scores are then right on average."""
    low, high = -30.0, 30.0
    for _ in range(40):
        middle = (low + high) / 2
        too_high = (1 / (1 + np.exp(-np.clip(logits + middle, -60, 60)))).mean() > truth.mean()
        low, high = (low, middle) if too_high else (middle, high)
    return (low + high) / 2
