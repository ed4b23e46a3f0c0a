"""Train a model on labelled recordings that still recognises other classes by their names.

The audio embeddings of an encoder stay as they are. A compatibility between them and the semantics of classes
is trained, and joined with the encoder's own score (``zsaudio.learning.fit``).
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from zsaudio.errors import OptionError
from zsaudio.evaluation.datasets import Dataset
from zsaudio.labels import Label
from zsaudio.learning.comparison import compare
from zsaudio.learning.examples import Progress, gather, open_dataset, open_model
from zsaudio.learning.fit import fit
from zsaudio.models.base import Model
from zsaudio.models.learned.class_tables import AttributeTable, Taxonomy, read_descriptions
from zsaudio.models.learned.compatibility import METHODS
from zsaudio.models.learned.semantics import Semantics
from zsaudio.models.learned.trained import Trained

log = logging.getLogger("zsaudio")


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
    validation: Dataset | str | os.PathLike[str] | None = None,
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
    validation
        Recordings to compare the trained model with its encoder on; by default a fifth of ``data`` in turn.
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
        ``held_out`` are the classes of the data that it was not trained on, its ``comparison`` is with the
        encoder on recordings held out.

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
    if validation is not None:
        trained.comparison = compare(base, trained, open_dataset(validation), cache)
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
