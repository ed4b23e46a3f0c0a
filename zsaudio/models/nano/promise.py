"""How often nano tells a sound that is not there, by the threshold.

``training/nano_alarms.py`` counted the false alarms of all known names and fitted this: the logarithm of the
false alarms per hour is linear in the threshold, in log-odds, and in the logarithm of the smoothing. Some
sounds resemble many others, so each known sound has a constant of its own (Poisson regression, with a
penalty for constants that are far from the usual one). A label has the mean of the constants of its sounds.

An hour here is one of everyday sounds, a new one every five seconds. In an hour of speech there are far
fewer.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zsaudio.models.base import EmbeddingBank, LabelBank, own_bank

_LEAST_SMOOTHING_S = 0.16  # a frame


@dataclass(frozen=True)
class SoundPromise:
    """The false alarms of nano: meets ``zsaudio.models.promises.Promise``.

    Parameters
    ----------
    constants
        ``(dim,)``: of each known sound, the logarithm of its false alarms per hour at a threshold of 0.5,
        smoothed over a second.
    threshold, smoothing
        What a step of the threshold (in log-odds) and of the logarithm of the smoothing (in seconds) adds.
    """

    constants: np.ndarray
    threshold: float
    smoothing: float
    highest: float = 12.0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SoundPromise":
        """Return the promise that ``to_dict`` described."""
        return cls(np.array(data["constants"]), data["threshold"], data["smoothing"])

    def to_dict(self) -> dict[str, Any]:
        """Return the promise as numbers."""
        return {
            "threshold": self.threshold,
            "smoothing": self.smoothing,
            "constants": self.constants.tolist(),
        }

    def constant(self, embedding: np.ndarray) -> float:
        """Return the constant of a label with an embedding ``(dim,)``."""
        return float(embedding @ self.constants / embedding.sum())

    def log_odds_for(self, embedding: np.ndarray, per_hour: float, smooth_s: float) -> float:
        """Return the threshold, in log-odds, at which a label has so many false alarms per hour."""
        at_zero = self.constant(embedding) + self.smoothing * math.log(max(smooth_s, _LEAST_SMOOTHING_S))
        return (math.log(per_hour) - at_zero) / self.threshold

    def needed(self, bank: LabelBank, column: int, per_hour: float, smooth_s: float) -> float:
        """Return the same for a label of a bank."""
        return self.log_odds_for(own_bank(bank, EmbeddingBank).embeddings[column], per_hour, smooth_s)
