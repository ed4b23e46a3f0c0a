"""Learn from labelled recordings on top of an encoder: what ``zsaudio train`` does.

The audio embeddings stay as they are; learned is how they go with the semantics of classes. How far scores
may be trusted, how much the encoder's own opinion counts, and by how much known classes must step back for
unknown ones, is found by leaving classes out in turn: each is recognised by a model that never trained on it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from zsaudio.errors import DataError
from zsaudio.evaluation import metrics
from zsaudio.evaluation.datasets import Dataset
from zsaudio.evaluation.embeddings import as_encoder, embed_clips
from zsaudio.labels import Label, LabelSet
from zsaudio.models.base import Model
from zsaudio.models.learned.compatibility import ESZSL, Compatibility
from zsaudio.models.learned.semantics import Semantics
from zsaudio.models.learned.trained import LogitScale, Trained, base_logits
from zsaudio.results import ClipOutputs

Progress = Callable[[Iterable[ClipOutputs], int], Iterable[ClipOutputs]]

_FEWEST = 4  # classes below which none can be left out
_KEPT_BACK = 0.2  # of the clips of known classes, while others are left out


@dataclass
class Examples:
    """Labelled audio embeddings: ``vectors`` ``(n_clips, dim)``, and the class number of each."""

    vectors: np.ndarray
    numbers: np.ndarray
    classes: tuple[str, ...]
    seconds: float  # the median length of a clip
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def gather(
    model: Model, data: Dataset, batch_size: int = 16, cache: bool = True, progress: Progress | None = None
) -> Examples:
    """Embed the recordings of a data set with one label each; classes without a recording are left out.

    Raises
    ------
    DataError
        If a recording has several labels, or none can be used.
    """
    encoder = as_encoder(model, "learning from recordings")
    for recording in data.recordings:
        if len(recording.labels) != 1:
            many = ", ".join(recording.labels) or "none"
            raise DataError(f"{recording.path}: one label is needed to learn from, not {many}")
    clips: Iterable[ClipOutputs] = embed_clips(
        encoder, [recording.path for recording in data.recordings], batch_size, cache
    )
    if progress is not None:
        clips = progress(clips, len(data.recordings))
    vectors, labels, lengths, failed = [], [], [], []
    for recording, clip in zip(data.recordings, clips, strict=True):
        if clip.error is not None:
            failed.append((clip.clip, str(clip.error)))
            continue
        vectors.append(clip.mean())
        labels.append(recording.labels[0])
        lengths.append(sum(clip.durations_s))
    if not vectors:
        raise DataError(f"{data.name}: none of the recordings can be used; the first: {failed[0][1]}")
    classes = tuple(name for name in data.classes if name in labels)
    numbers = np.array([classes.index(label) for label in labels])
    single = [classes[i] for i in np.flatnonzero(np.bincount(numbers) == 1)]
    notes = [f"a single recording of {', '.join(single)}"] if single else []
    return Examples(np.stack(vectors), numbers, classes, float(np.median(lengths)), failed, notes)


def train(
    base: Model,
    source: str,
    examples: Examples,
    semantics: Semantics,
    method: Compatibility | None = None,
    *,
    unseen: Sequence[str] = (),
    blend: bool = True,
    seed: int = 0,
    state: Path | None = None,
    on_epoch: Callable[[int, int], None] | None = None,
) -> Trained:
    """Learn a model from examples.

    Parameters
    ----------
    base, source
        The encoder, and what ``load_model`` takes for it.
    examples
        What to learn from.
    semantics
        How labels become vectors.
    method
        One of ``compatibility.METHODS``; by default ESZSL.
    unseen
        Classes that must not be among the examples.
    blend
        Let the encoder's own opinion count where that helps on classes left out. Of no use, and misleading,
        where the encoder was itself trained on these recordings.
    seed
        Which clips and classes are left out together.
    state, on_epoch
        See ``compatibility.descend``; for the methods that take epochs.

    Raises
    ------
    DataError
        If there are fewer than two classes, or an unseen class is among the examples.
    """
    encoder = as_encoder(base, "training")
    known = {name.casefold() for name in examples.classes}
    if leaked := [name for name in unseen if name.casefold() in known]:
        raise DataError(
            f"unseen classes have recordings in the training data: {', '.join(leaked)}; what is tested as "
            "unseen must not be learned from"
        )
    method = ESZSL() if method is None else method
    labels = [Label(name) for name in examples.classes]
    vectors = semantics(labels)
    how = {} if isinstance(method, ESZSL) else {"state": state, "on_epoch": on_epoch}
    learned = clone(method).fit(examples.vectors, examples.numbers, vectors, **how)
    own = base_logits(encoder, examples.vectors, base.embed_labels(LabelSet(labels))) if blend else None
    logit_scale = _fit_scale(method, learned, examples, vectors, own, seed)
    window_s = float(np.clip(round(examples.seconds), 1, base.window_s))
    return Trained(encoder, source, learned, semantics, examples.classes, window_s, logit_scale)


@dataclass
class _LeftOut:
    """What models say of clips that they did not learn from; ``unseen`` are class numbers left out."""

    scores: np.ndarray
    own: np.ndarray
    truth: np.ndarray
    unseen: np.ndarray


def _fit_scale(
    method: Compatibility,
    learned: Compatibility,
    examples: Examples,
    vectors: np.ndarray,
    own: np.ndarray | None,
    seed: int,
) -> LogitScale:
    """Find the scale on classes and clips left out; with few classes, on the examples themselves."""
    base = own if own is not None else np.zeros((len(examples.vectors), 1))
    n_classes = len(examples.classes)
    if n_classes < _FEWEST:
        scores = learned.decision_function(examples.vectors, vectors)
        folds = [_LeftOut(scores, base, examples.numbers, np.array([], int))]
    else:
        folds = list(_leave_out(method, examples, vectors, base, seed))
    truth = np.concatenate([metrics.one_hot(fold.truth, n_classes).ravel() for fold in folds])
    features = [np.concatenate([fold.scores.ravel() for fold in folds])]
    if own is not None:
        features.append(np.concatenate([fold.own.ravel() for fold in folds]))
    weights, bias = _logistic(np.stack(features, axis=1), truth)
    scale, base_weight = weights[0], weights[1] if own is not None else 0.0
    penalties = np.linspace(0, 8, 41)
    harmonic = np.zeros(len(penalties))
    for fold in folds:
        if len(fold.unseen):
            logits = scale * fold.scores + base_weight * fold.own
            seen = ~np.isin(np.arange(n_classes), fold.unseen)
            for i, penalty in enumerate(penalties):
                harmonic[i] += metrics.generalised(logits - penalty * seen, fold.truth, fold.unseen).harmonic
    return LogitScale(scale, bias, base_weight, float(penalties[harmonic.argmax()]))


def _leave_out(
    method: Compatibility, examples: Examples, vectors: np.ndarray, base: np.ndarray, seed: int
) -> Iterable[_LeftOut]:
    """Leave a fifth of the classes, and of the other classes' clips, out in turn."""
    rng = np.random.default_rng(seed)
    n_classes = len(examples.classes)
    for unseen in np.array_split(rng.permutation(n_classes), min(5, n_classes // 2)):
        is_unseen = np.isin(examples.numbers, unseen)
        test = is_unseen | (rng.uniform(size=len(is_unseen)) < _KEPT_BACK)
        if len(np.unique(examples.numbers[~test])) < 2:
            continue
        fitted = clone(method).fit(examples.vectors[~test], examples.numbers[~test], vectors)
        scores = fitted.decision_function(examples.vectors[test], vectors)
        yield _LeftOut(scores, base[test], examples.numbers[test], unseen)


def _logistic(features: np.ndarray, truth: np.ndarray) -> tuple[list[float], float]:
    """Fit log-odds to features with weights that are not negative; return the weights and the bias."""
    kept = list(range(features.shape[1]))
    while True:
        spread = features[:, kept].std(axis=0) + 1e-12
        fitted = LogisticRegression(C=10.0, max_iter=200).fit(features[:, kept] / spread, truth)
        weights = fitted.coef_[0] / spread
        if (weights > 0).all() or len(kept) == 1:
            break
        kept.pop(int(weights.argmin()))
    result = [0.0] * features.shape[1]
    for i, weight in zip(kept, weights, strict=True):
        result[i] = float(weight)
    return result, float(fitted.intercept_[0])
