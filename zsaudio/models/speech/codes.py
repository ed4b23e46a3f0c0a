"""Log-probabilities in 8 bits, so that what a speech model heard can be stored.

A code is the square root of the negative log-probability, in steps. So likely symbols, which decide how well
a keyword fits, are kept to some thousandths, and none is off by more than 0.07. What is below ``LEAST``
becomes ``LEAST``: an alignment counts no frame as worse than 12 nats below its most likely symbol.
"""

import numpy as np

LEAST = -16.0
_STEPS = 255 / np.sqrt(-LEAST)


def to_codes(log_probs: np.ndarray) -> np.ndarray:
    """Return log-probabilities as uint8, of the same shape.

    Examples
    --------
    >>> codes = to_codes(np.array([-0.01, -4.0, -99.0]))
    >>> codes.tolist()
    [6, 128, 255]
    >>> [round(float(value), 2) for value in from_codes(codes)]
    [-0.01, -4.03, -16.0]
    """
    clipped = np.clip(log_probs, LEAST, 0.0)
    return np.asarray(np.round(np.sqrt(-clipped) * _STEPS), np.uint8)


def from_codes(codes: np.ndarray) -> np.ndarray:
    """Return the log-probabilities that codes stand for, float32."""
    return np.asarray(-np.square(codes / np.float32(_STEPS)), np.float32)
