"""A classifier whose classes are on one scale, which ``zsaudio calibrate --classes`` found in recordings.

Some classes of a network are never sure, and others rise for every sound. So how far a class's log-odds lie
above their median over recordings says more than the log-odds: ``z = (x - median) / spread``, where the
spread is the distance from the median to the 90 % quantile over 1.28, which is the standard deviation of a
normal distribution and does not depend on how rare a sound is. All classes then get the median and the spread
that is usual among them, so that scores stay in their usual range.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsaudio.errors import DataError, ModelError
from zsaudio.labels import LabelSet
from zsaudio.models.base import Encoder, LabelBank, LogitsByComparing, Model
from zsaudio.models.known_names import KnowsNames
from zsaudio.models.learned.folder import explain_damage, read_folder, write_folder

MODEL_TYPE = "zsaudio-standardised"
FEWEST = 50  # windows that a median and a quantile are taken of
_LEAST_SPREAD = 0.2  # of what is usual: a class that hardly moves is not blown up


@dataclass
class Standardised(LogitsByComparing):
    """A classifier with its classes on one scale; an encoder whose embeddings are their log-odds.

    Parameters
    ----------
    base
        The classifier: an encoder whose embeddings are the log-odds of its classes, ``(1, n_classes)``.
    source
        What ``load_model`` takes for it.
    centre, spread
        ``(n_classes,)``: median and spread of each class's log-odds.
    name
        What it is called; its folder, once it is saved or loaded.

    Raises
    ------
    ModelError
        If the other model is no classifier.
    """

    base: Encoder
    source: str
    centre: np.ndarray
    spread: np.ndarray
    name: str = "standardised"

    def __post_init__(self) -> None:
        """Take from the classifier what a model must tell."""
        base = self.base
        check_classifier(base)
        self.sample_rate, self.dim = base.sample_rate, base.dim
        self.window_s, self.frame_s, self.context_s = base.window_s, base.frame_s, base.context_s

    @classmethod
    def of(cls, base: Encoder, source: str, log_odds: np.ndarray) -> "Standardised":
        """Return the classifier on the scale of log-odds ``(n_windows, n_classes)``.

        Raises
        ------
        DataError
            If there are fewer than ``FEWEST`` windows.
        """
        if len(log_odds) < FEWEST:
            raise DataError(
                f"{len(log_odds)} windows of {base.window_s:g} s are too few to see how classes spread: "
                f"give recordings for {FEWEST} or more"
            )
        centre, high = np.quantile(log_odds, (0.5, 0.9), axis=0).astype(np.float32)
        spread = (high - centre) / 1.28
        return cls(base, source, centre, np.maximum(spread, _LEAST_SPREAD * np.median(spread)))

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the log-odds of the classes on one scale, ``(1, n_classes)``."""
        usual_centre, usual_spread = np.median(self.centre), np.median(self.spread)
        return [
            np.asarray(usual_centre + usual_spread * (frames - self.centre) / self.spread, np.float32)
            for frames in self.base.encode_audio(windows)
        ]

    def embed_labels(self, labels: LabelSet) -> LabelBank:
        """Return what the classifier makes of labels."""
        return self.base.embed_labels(labels)

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return the log-odds ``(1, n_labels)`` for the log-odds of classes."""
        return self.base.compare(embeddings, bank)

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return what the classifier makes of texts."""
        return self.base.encode_text(prompts)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that ``load_model`` takes; its path is the model's name from then on."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"centre": self.centre, "spread": self.spread}
        write_folder(folder, MODEL_TYPE, self.source, self.base, arrays, {})
        self.name = str(folder)

    @classmethod
    def load(cls, folder: Path, load_base: Callable[[str], Model]) -> "Standardised":
        """Read what ``save`` wrote; ``load_base`` loads the classifier by its name."""
        with explain_damage(folder):
            config, arrays, base = read_folder(folder, load_base)
            return cls(base, config["base"], arrays["centre"], arrays["spread"], str(folder))


def check_classifier(model: Encoder) -> None:
    """Raise ModelError if a model's embeddings are not the log-odds of named classes."""
    if not isinstance(model, KnowsNames) or model.dim != len(model.known_names):
        raise ModelError(
            f"{model.name}: has no classes to put on one scale; audio classifiers have, such as ast"
        )
