"""An encoder's logits without its audio."""

import copy
from collections.abc import Sequence

import numpy as np

from zsaudio.models.base import Encoder, LabelBank


def logits_from(model: Encoder, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
    """Return what ``model.logits`` returns for windows whose audio embeddings are these.

    An encoder's logits depend on its audio embeddings alone, so a copy of it that takes embeddings for
    windows gives the same ones.
    """
    replay = copy.copy(model)
    replay.encode_audio = list  # type: ignore[method-assign,assignment]
    return replay.logits(embeddings, bank)
