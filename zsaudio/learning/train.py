"""Train a model on labelled recordings that still recognises other classes by their names.

The audio embeddings of an encoder stay as they are. A compatibility between them and the semantics of classes
is trained. Three numbers are fitted on classes that are held out in turn, each scored by a model that was not
trained on it: the scale and bias that turn scores into log-odds, the weight of the encoder's own score, and
the penalty of the training classes in a set that holds other classes as well.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from zsaudio.errors import DataError, OptionError
from zsaudio.evaluation import metrics
from zsaudio.evaluation.datasets import Dataset, read_dataset
from zsaudio.evaluation.embeddings import as_encoder, embed_clips
from zsaudio.labels import Label, LabelSet
from zsaudio.models import registry
from zsaudio.models.base import Encoder, Model
from zsaudio.models.learned.class_tables import AttributeTable, Taxonomy, read_descriptions
from zsaudio.models.learned.compatibility import ESZSL, METHODS, Compatibility
from zsaudio.models.learned.semantics import Semantics
from zsaudio.models.learned.trained import LogitScale, Trained, base_logits
from zsaudio.results import ClipOutputs

Progress = Callable[[Iterable[ClipOutputs], int], Iterable[ClipOutputs]]

log = logging.getLogger("zsaudio")

_FEWEST = 4  # classes below which none can be left out
_KEPT_BACK = 0.2  # of the clips of known classes, while others are left out


@dataclass
class Examples:
    """Labelled audio embeddings: ``vectors`` ``(n_clips, dim)``, and the class number of each."""

    vectors: np.ndarray
    numbers: np.ndarray
    classes: tuple[str, ...]
    seconds: float  # the median length of a clip


def open_dataset(data: Dataset | str | os.PathLike[str]) -> Dataset:
    """Return a data set, or read it; what of it cannot be used is logged."""
    if isinstance(data, Dataset):
        return data
    dataset = read_dataset(data)
    for problem in dataset.problems:
        log.warning("%s", problem)
    return dataset


def open_model(model: str | Model, device: str, dtype: str, work: str) -> tuple[Encoder, str]:
    """Return a model with embeddings, and what ``load_model`` takes for it; load it if it is a name.

    Raises
    ------
    ModelError
        If it cannot be loaded.
    OptionError
        If it has no embeddings, or is itself a learned model that was not saved; ``work`` says what for.
    """
    if isinstance(model, str):
        return as_encoder(registry.load_model(model, device, dtype), work), model
    if hasattr(model, "save") and not Path(model.name).is_dir():
        raise OptionError(f"{work} needs the folder of the model '{model.name}': save it first")
    return as_encoder(model, work), model.name


def train(
    data: Dataset | str | os.PathLike[str],
    model: str | Model = "nano",
    *,
    method: str = "eszsl",
    semantics: Sequence[str] = ("names", "attributes"),
    attributes: AttributeTable | str | os.PathLike[str] | None = None,
    descriptions: Mapping[str, str] | str | os.PathLike[str] | None = None,
    taxonomy: Taxonomy | str | os.PathLike[str] | None = None,
    seen: Sequence[str] | None = None,
    holdout_classes: int = 0,
    unseen: Sequence[str] = (),
    blend: bool = True,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int = 16,
    cache: bool = True,
    state: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    on_epoch: Callable[[int, int], None] | None = None,
    **parameters: float,
) -> Trained:
    """Return a model that is trained on labelled recordings, and takes any label.

    Recordings that cannot be used are logged and left out.

    Parameters
    ----------
    data
        Recordings with one label each: a ``Dataset``, or what ``read_dataset`` takes.
    model
        The encoder: what ``load_model`` takes, or a loaded model. It is not changed.
    method
        ``"eszsl"`` (closed form), ``"ranking"`` (bilinear, ALE) or ``"contrastive"`` (a small network).
    semantics
        How labels become vectors: some of ``"names"``, ``"descriptions"``, ``"attributes"``, ``"relations"``.
    attributes
        Classes and attributes, from 0 to 1, or a CSV file of them; None: 300 everyday sounds.
    descriptions
        A description per class, or a CSV file ``label,description``; None: those of everyday sounds.
    taxonomy
        A taxonomy, or a JSON file in the form of the AudioSet ontology; for relations.
    seen
        Train on these classes only.
    holdout_classes
        Leave out this many classes, drawn by the seed.
    unseen
        Classes that must not be in the data.
    blend
        Let the encoder's own score count where that helps on classes held out. Set it to False if the encoder
        itself was trained on this data, which would make the score look better than it is.
    seed
        Seed of everything that is drawn.
    device, dtype
        As for ``load_model``.
    batch_size
        Number of windows in a batch.
    cache
        Keep the embeddings of the recordings on disk for the next time.
    state
        File in which methods with epochs keep their state, to go on after an interruption.
    progress
        Wraps the iterator over recordings; is called with the iterator and the number of recordings.
    on_epoch
        Called after each epoch with the number of epochs that are done and the total.
    **parameters
        Parameters of the method: ``gamma`` and ``lam`` of eszsl, ``epochs`` and others of the other two.

    Returns
    -------
    Trained
        A model for ``Recognizer``; its ``save(folder)`` writes a folder that ``load_model`` takes. Its
        ``held_out`` are the classes of the data that it was not trained on.

    Raises
    ------
    DataError
        If a recording has several labels, none can be used, there are fewer than two classes, or an unseen
        class is in the data.
    ModelError, OptionError
        If the model or an option cannot be used.
    """
    if method not in METHODS:
        raise OptionError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}")
    known = METHODS[method]().get_params()
    if unknown := [name for name in parameters if name not in known]:
        raise OptionError(f"{method} has no parameter '{unknown[0]}'; it has {', '.join(known)}")
    if "seed" in known:
        parameters["seed"] = seed
    dataset, held_out = choose_training_classes(open_dataset(data), seen, holdout_classes, seed)
    base, source = open_model(model, device, dtype, "training")
    if not hasattr(base, "encode_text"):
        raise OptionError(f"training needs a model with text embeddings, which '{base.name}' has not")
    meaning = Semantics(
        base.encode_text,
        semantics,
        attributes=AttributeTable.read(Path(attributes))
        if isinstance(attributes, (str, os.PathLike))
        else attributes,
        descriptions=read_descriptions(Path(descriptions))
        if isinstance(descriptions, (str, os.PathLike))
        else descriptions,
        taxonomy=Taxonomy.read(Path(taxonomy)) if isinstance(taxonomy, (str, os.PathLike)) else taxonomy,
    )
    examples = gather(base, dataset, batch_size, cache, progress)
    counts = np.bincount(examples.numbers)
    if single := [name for name, count in zip(examples.classes, counts, strict=True) if count == 1]:
        log.warning("a single recording of %s", ", ".join(single))
    for gap in meaning.gaps([Label(name) for name in examples.classes]):
        log.warning("%s", gap)
    if state is not None:
        state = Path(state)
        state.parent.mkdir(parents=True, exist_ok=True)
    trained = fit(
        base,
        source,
        examples,
        meaning,
        METHODS[method](**parameters),
        unseen=[*unseen, *held_out],
        blend=blend,
        seed=seed,
        state=state,
        on_epoch=on_epoch,
    )
    trained.held_out = tuple(held_out)
    return trained


def choose_training_classes(
    dataset: Dataset, seen: Sequence[str] | None, n_held_out: int, seed: int
) -> tuple[Dataset, list[str]]:
    """Return the recordings to train on, and the classes that are left out.

    Raises
    ------
    DataError
        If a class of ``seen`` is not in the data set.
    OptionError
        If classes are both chosen and drawn, or fewer than two remain.
    """
    if seen is not None:
        if n_held_out:
            raise OptionError("seen classes are chosen already: do not hold out others")
        names = dataset.pick(seen)
        return dataset.only(names), [name for name in dataset.classes if name not in names]
    if n_held_out < 0 or 0 < len(dataset.classes) - 2 < n_held_out:
        raise OptionError(f"holding out {n_held_out} leaves fewer than 2 of {len(dataset.classes)} classes")
    drawn = set(np.random.default_rng(seed).permutation(len(dataset.classes))[:n_held_out].tolist())
    held_out = [name for i, name in enumerate(dataset.classes) if i in drawn]
    return dataset.only(set(dataset.classes) - set(held_out)), held_out


def gather(
    model: Model, data: Dataset, batch_size: int = 16, cache: bool = True, progress: Progress | None = None
) -> Examples:
    """Embed the recordings of a data set with one label each; classes without a recording are left out.

    A recording that cannot be used is logged as an error.

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
            failed.append(str(clip.error) if clip.clip in str(clip.error) else f"{clip.clip}: {clip.error}")
            log.error("%s", failed[-1])
            continue
        vectors.append(clip.mean())
        labels.append(recording.labels[0])
        lengths.append(sum(clip.durations_s))
    if not vectors:
        raise DataError(f"{data.name}: none of the recordings can be used; the first: {failed[0]}")
    classes = tuple(name for name in data.classes if name in labels)
    numbers = np.array([classes.index(label) for label in labels])
    return Examples(np.stack(vectors), numbers, classes, float(np.median(lengths)))


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
    """Train a model on examples.

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
