"""A model that ``zsaudio train`` made: an encoder's audio embeddings, and what they learned to go with.

The log-odds of a label in a window are ``scale * compatibility + base_weight * base_logit + bias``: the
learned compatibility of the label's semantics with the mean embedding of the window's frames that count
(``zsaudio.models.learned.loudness``), and the log-odds by the encoder. Where no frame counts, the encoder's
log-odds stand alone. The three numbers are one set for labels that were trained on, another for all others;
where a label set holds both, the former lose ``seen_penalty`` (calibrated stacking: Chao et al., An empirical
study and analysis of generalized zero-shot learning, ECCV 2016).

A label that was trained on has, beside its semantics, a dimension of its own: what its name does not say can
be learned as well.

Conventions: one frame a window; windows are as long as the clips that it learned from.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zsaudio.labels import LabelSet
from zsaudio.models.base import Encoder, LabelBank, Model, own_bank
from zsaudio.models.learned.class_tables import (
    AttributeTable,
    Taxonomy,
    read_descriptions,
    write_descriptions,
)
from zsaudio.models.learned.compatibility import METHODS, Compatibility
from zsaudio.models.learned.folder import explain_damage, read_folder, write_folder
from zsaudio.models.learned.loudness import OnEncoder, loud_mean, pooled
from zsaudio.models.learned.semantics import Semantics

MODEL_TYPE = "zsaudio-trained"


@dataclass(frozen=True)
class LogitScale:
    """From compatibility to log-odds; see the module."""

    scale: float = 1.0
    bias: float = 0.0
    base_weight: float = 0.0

    def __call__(self, compatibility: np.ndarray, base_logits: np.ndarray) -> np.ndarray:
        """Return log-odds; arrays of one shape."""
        return np.asarray(self.scale * compatibility + self.base_weight * base_logits + self.bias)


@dataclass(frozen=True)
class TrainedBank(LabelBank):
    """The labels' semantics, their bank for the encoder, and which of them were trained on."""

    semantics: np.ndarray
    base: LabelBank
    seen: np.ndarray


@dataclass
class Trained(OnEncoder):
    """What ``zsaudio train`` made; meets ``zsaudio.models.base.Model`` and gives audio embeddings.

    Parameters
    ----------
    base
        The encoder that it stands on.
    source
        What ``load_model`` takes for it.
    compatibility, semantics
        What was learned, and how labels become vectors.
    classes
        The classes that were trained on.
    window_s
        Length of its windows, in seconds.
    seen, unseen
        From compatibility to log-odds, for classes that were trained on and for others.
    seen_penalty
        What the former lose among the latter.
    name
        What it is called; its folder, once it is saved or loaded.
    held_out
        Classes of the data that it was not trained on.
    comparison
        With the encoder, on recordings held out: a ``zsaudio.learning.comparison.Comparison``. Not saved.
    """

    base: Encoder
    source: str
    compatibility: Compatibility
    semantics: Semantics
    classes: tuple[str, ...]
    window_s: float
    seen: LogitScale = field(default_factory=LogitScale)
    unseen: LogitScale = field(default_factory=LogitScale)
    seen_penalty: float = 0.0
    name: str = "trained"
    held_out: tuple[str, ...] = ()
    comparison: Any = None

    context_s = 0.0

    def __post_init__(self) -> None:
        """Take from the encoder what a model must tell."""
        super().__post_init__()
        self.frame_s = self.window_s

    def embed_labels(self, labels: LabelSet) -> TrainedBank:
        """Compute the labels' vectors, their embeddings by the encoder, and which were trained on."""
        vectors = with_own_dimensions(self.semantics(list(labels)), labels.names, self.classes)
        seen = np.asarray(vectors[:, -len(self.classes) :].any(axis=1))
        return TrainedBank(labels.names, vectors, self.base.embed_labels(labels), seen)

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return per window the log-odds ``(1, n_labels)``."""
        own = own_bank(bank, TrainedBank)
        if not len(embeddings):
            return []
        parts = [self.split(frames) for frames in embeddings]
        means = np.stack([loud_mean(vectors, levels) for vectors, levels, _ in parts])
        compatibility = self.compatibility.decision_function(means, own.semantics)
        base = np.stack(
            [pooled(logits) for logits in self.base.compare([part[2] for part in parts], own.base)]
        )
        logits = np.where(own.seen, self.seen(compatibility, base), self.unseen(compatibility, base))
        if not own.seen.all():
            logits -= self.seen_penalty * own.seen
        logits = np.where(means.any(axis=1, keepdims=True), logits, base)
        return list(logits.astype(np.float32)[:, None])

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that ``load_model`` takes; its path is the model's name from then on."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.semantics.attributes.write(folder / "attributes.csv")
        write_descriptions(self.semantics.descriptions, folder / "descriptions.csv")
        if self.semantics.taxonomy is not None:
            self.semantics.taxonomy.write(folder / "taxonomy.json")
        (method,) = (name for name, kind in METHODS.items() if isinstance(self.compatibility, kind))
        settings = {
            "method": method,
            "parameters": self.compatibility.get_params(),
            "semantics": list(self.semantics.sources),
            "classes": list(self.classes),
            "held_out": list(self.held_out),
            "window_s": self.window_s,
            "seen": asdict(self.seen),
            "unseen": asdict(self.unseen),
            "seen_penalty": self.seen_penalty,
        }
        arrays = self.compatibility.arrays()
        write_folder(folder, MODEL_TYPE, self.source, self.base, arrays, settings)
        self.name = str(folder)

    @classmethod
    def load(cls, folder: Path, load_base: Callable[[str], Model]) -> "Trained":
        """Read what ``save`` wrote; ``load_base`` loads the encoder by its name."""
        with explain_damage(folder):
            config, arrays, base = read_folder(folder, load_base)
            taxonomy = folder / "taxonomy.json"
            semantics = Semantics(
                base.encode_text,
                config["semantics"],
                attributes=AttributeTable.read(folder / "attributes.csv"),
                descriptions=read_descriptions(folder / "descriptions.csv"),
                taxonomy=Taxonomy.read(taxonomy) if taxonomy.exists() else None,
            )
            return cls(
                base,
                config["base"],
                METHODS[config["method"]](**config["parameters"]).restore(arrays),
                semantics,
                tuple(config["classes"]),
                config["window_s"],
                LogitScale(**config["seen"]),
                LogitScale(**config["unseen"]),
                config["seen_penalty"],
                str(folder),
                tuple(config.get("held_out", ())),
            )


def with_own_dimensions(vectors: np.ndarray, names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return labels' vectors and, beside them, 1 in the dimension of each class that a label is."""
    number = {name.casefold(): i for i, name in enumerate(classes)}
    own = np.zeros((len(names), len(classes)))
    for row, name in enumerate(names):
        if name.casefold() in number:
            own[row, number[name.casefold()]] = 1.0
    return np.hstack([vectors, own])
