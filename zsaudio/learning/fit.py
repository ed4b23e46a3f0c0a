"""Train a model on examples: its compatibility, and how that becomes log-odds.

From a compatibility to log-odds lead a scale, a bias and the weight of the encoder's own log-odds. They are
fitted where the truth is known and was not trained on: for classes that are trained on, on a fifth of the
clips in turn; for other classes, on a fifth of the classes in turn. The encoder alone is one of the possible
results. It is also what remains where the learned model recognises clearly fewer of the clips held out.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from zsaudio.errors import DataError
from zsaudio.evaluation import metrics
from zsaudio.evaluation.embeddings import as_encoder
from zsaudio.labels import Label
from zsaudio.learning.comparison import Comparison, hold_out
from zsaudio.learning.examples import Examples
from zsaudio.models.base import Model
from zsaudio.models.learned.compatibility import ESZSL, Compatibility
from zsaudio.models.learned.semantics import Semantics
from zsaudio.models.learned.trained import LogitScale, Trained, with_own_dimensions

_FEWEST = 4  # classes below which none can be left out
_KEPT_BACK = 0.2  # of the clips of known classes, while others are left out
_BASE_ALONE = LogitScale(0.0, 0.0, 1.0)


def fit(
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
    """Train a model on examples, and compare it with its encoder on examples held out.

    Parameters
    ----------
    base, source
        The encoder, and what ``load_model`` takes for it.
    examples
        The examples to train on.
    semantics
        How labels become vectors.
    method
        One of ``compatibility.METHODS``; by default ESZSL.
    unseen
        Classes that must not be among the examples.
    blend
        As for ``train``.
    seed
        Decides which clips and classes are held out together.
    state, on_epoch
        See ``compatibility.descend``; for the methods that take epochs.

    Returns
    -------
    trained
        The model, trained on all examples. Its ``comparison`` is None where there are too few clips to hold
        some out.

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
    vectors = with_own_dimensions(semantics(labels), examples.classes, examples.classes)
    how = {} if isinstance(method, ESZSL) else {"state": state, "on_epoch": on_epoch}
    learned = clone(method).fit(examples.vectors, examples.numbers, vectors, **how)

    clips = _without_clips(method, examples, vectors, seed)
    comparison = None
    if clips is None:
        scores = learned.decision_function(examples.vectors, vectors)
        seen_scale = _fit_scale([(scores, examples.base_logits, examples.numbers)], blend)
    else:
        scores, base_logits, truth = clips
        seen_scale = _fit_scale([clips], blend)
        comparison = Comparison(examples.classes, base_logits, seen_scale(scores, base_logits), truth)
        if blend and comparison.is_worse:
            seen_scale = _BASE_ALONE
            comparison = Comparison(examples.classes, base_logits, base_logits, truth)
    unseen_scale, penalty = seen_scale, 0.0
    if len(examples.classes) >= _FEWEST:
        unseen_scale, penalty = _without_classes(method, examples, vectors, seen_scale, blend, seed)
    window_s = float(np.clip(round(examples.seconds), 1, base.window_s))
    trained = Trained(
        encoder, source, learned, semantics, examples.classes, window_s, seen_scale, unseen_scale, penalty
    )
    trained.comparison = comparison
    return trained


# The scores of clips for classes, the encoder's log-odds for them, and their class numbers.
_Scored = tuple[np.ndarray, np.ndarray, np.ndarray]


def _without_clips(
    method: Compatibility, examples: Examples, vectors: np.ndarray, seed: int
) -> _Scored | None:
    """Score each clip by a model that was not trained on it; None where there are too few clips."""
    folds = hold_out(examples.numbers, seed)
    scores = np.zeros((len(folds), len(vectors)))
    tested = np.zeros(len(folds), bool)
    for fold in np.unique(folds[folds >= 0]):
        test = folds == fold
        if len(np.unique(examples.numbers[~test])) < 2:
            continue
        fitted = clone(method).fit(examples.vectors[~test], examples.numbers[~test], vectors)
        scores[test] = fitted.decision_function(examples.vectors[test], vectors)
        tested |= test
    if len(np.unique(examples.numbers[tested])) < 2:
        return None
    return scores[tested], examples.base_logits[tested], examples.numbers[tested]


def _without_classes(
    method: Compatibility,
    examples: Examples,
    vectors: np.ndarray,
    seen_scale: LogitScale,
    blend: bool,
    seed: int,
) -> tuple[LogitScale, float]:
    """Leave classes out in turn: find the scale for labels that are not trained on, and the seen penalty."""
    rng = np.random.default_rng(seed)
    n_classes = len(examples.classes)
    folds: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    for unseen in np.array_split(rng.permutation(n_classes), min(5, n_classes // 2)):
        is_unseen = np.isin(examples.numbers, unseen)
        test = is_unseen | (rng.uniform(size=len(is_unseen)) < _KEPT_BACK)
        if len(np.unique(examples.numbers[~test])) < 2:
            continue
        known = vectors.copy()
        known[unseen, -n_classes:] = 0  # dimensions of their own, which no unseen class has
        fitted = clone(method).fit(examples.vectors[~test], examples.numbers[~test], known)
        scores = fitted.decision_function(examples.vectors[test], known)
        folds.append((scores, examples.base_logits[test], examples.numbers[test], unseen))
    scale = _fit_scale(
        [(scores, base, truth) for scores, base, truth, _ in folds], blend, [f[3] for f in folds]
    )
    penalties = np.linspace(0, 8, 41)
    harmonic = np.zeros(len(penalties))
    for scores, base, truth, unseen in folds:
        is_seen = ~np.isin(np.arange(n_classes), unseen)
        logits = np.where(is_seen, seen_scale(scores, base), scale(scores, base))
        for i, penalty in enumerate(penalties):
            harmonic[i] += metrics.generalised(logits - penalty * is_seen, truth, unseen).harmonic
    return scale, float(penalties[harmonic.argmax()])


def _fit_scale(
    parts: Sequence[_Scored], blend: bool, columns: Sequence[np.ndarray] | None = None
) -> LogitScale:
    """Fit log-odds to scores and, with ``blend``, the encoder's; ``columns``: for these classes."""
    chosen = columns or [np.arange(scores.shape[1]) for scores, _, _ in parts]
    cut = [
        (scores[:, own].ravel(), base[:, own].ravel(), (truth[:, None] == own).ravel())
        for (scores, base, truth), own in zip(parts, chosen, strict=True)
    ]
    scores, base, truth = (np.concatenate(column) for column in zip(*cut, strict=True))
    weights, bias = _logistic(np.stack([scores, base] if blend else [scores], axis=1), truth)
    return LogitScale(weights[0], bias, weights[1] if blend else 0.0)


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
