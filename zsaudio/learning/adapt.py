"""Adapt a model to a few examples of some labels; the scores of all other labels stay what they are.

See ``zsaudio.models.learned.adapted`` for the method and ``zsaudio.learning.fine_tuning`` for its training.
"""

import logging
import os
from collections.abc import Callable

import numpy as np

from zsaudio.evaluation.datasets import Dataset
from zsaudio.learning import fine_tuning
from zsaudio.learning.train import Progress, gather, open_dataset, open_model
from zsaudio.models.base import Model
from zsaudio.models.learned.adapted import Adapted

log = logging.getLogger("zsaudio")

MOST_EXAMPLES = 32  # of a label


def adapt(
    data: Dataset | str | os.PathLike[str],
    model: str | Model = "nano",
    *,
    strength: float = 10.0,
    sharpness: float = 5.5,
    fine_tune: int = 0,
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
        Log-odds that a perfect match with an example adds.
    sharpness
        How fast these log-odds decrease with the distance from the example.
    fine_tune
        Number of epochs in which the examples are trained; 0: none. It helps if a label has several examples
        and a name that the model does not know.
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
        A model for ``Recognizer``; its ``save(folder)`` writes a folder that ``load_model`` takes.

    Raises
    ------
    DataError
        If a recording has several labels, or none can be used.
    ModelError, OptionError
        If the model or an option cannot be used.
    """
    base, source = open_model(model, device, dtype, "adapting")
    examples = gather(base, open_dataset(data), batch_size, cache, progress)
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for number, name in enumerate(examples.classes):
        own = np.flatnonzero(examples.numbers == number)
        if len(own) > MOST_EXAMPLES:
            log.warning("'%s' has %d examples: %d of them are used", name, len(own), MOST_EXAMPLES)
            own = np.sort(rng.choice(own, MOST_EXAMPLES, replace=False))
        chosen += own.tolist()
    keys = examples.vectors[chosen]
    keys = keys / np.maximum(np.linalg.norm(keys, axis=1, keepdims=True), 1e-9)
    labels = tuple(examples.classes[number] for number in examples.numbers[chosen])
    adapted = Adapted(base, source, keys, labels, strength, sharpness)
    return fine_tuning.fine_tune(adapted, fine_tune, seed=seed, on_epoch=on_epoch)
