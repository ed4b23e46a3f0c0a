"""A model that ``zsaudio train`` made: an encoder's audio embeddings, and what they learned to go with.

The log-odds of a label in a window are ``scale * compatibility + base_weight * base_logit + bias``: the
learned compatibility of the window's mean embedding with the label's semantics, and the log-odds by the
encoder that it stands on. Where
a label set holds classes that were trained on and others, the former lose ``seen_penalty`` (calibrated
stacking: Chao et al., An empirical study and analysis of generalized zero-shot learning, ECCV 2016), since
what was trained on would otherwise win too often.

Conventions: one frame a window; windows are as long as the clips that it learned from.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from zsaudio.labels import LabelSet
from zsaudio.models.base import Encoder, LabelBank, LogitsByComparing, Model, own_bank
from zsaudio.models.identity import probe
from zsaudio.models.learned.class_tables import (
    AttributeTable,
    Taxonomy,
    read_descriptions,
    write_descriptions,
)
from zsaudio.models.learned.compatibility import METHODS, Compatibility
from zsaudio.models.learned.folder import explain_damage, read_folder
from zsaudio.models.learned.semantics import Semantics

MODEL_TYPE = "zsaudio-trained"


@dataclass(frozen=True)
class LogitScale:
    """From compatibility to log-odds; see the module."""

    scale: float = 1.0
    bias: float = 0.0
    base_weight: float = 0.0
    seen_penalty: float = 0.0


@dataclass(frozen=True)
class TrainedBank(LabelBank):
    """The labels' semantics, their bank for the encoder (None: it has no say), and which were trained on."""

    semantics: np.ndarray
    base: LabelBank | None
    seen: np.ndarray


@dataclass
class Trained(LogitsByComparing):
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
    logit_scale
        From compatibility to log-odds.
    name
        What it is called; its folder, once it is saved or loaded.
    held_out
        Classes of the data that it was not trained on.
    """

    base: Encoder
    source: str
    compatibility: Compatibility
    semantics: Semantics
    classes: tuple[str, ...]
    window_s: float
    logit_scale: LogitScale = field(default_factory=LogitScale)
    name: str = "trained"
    held_out: tuple[str, ...] = ()

    context_s = 0.0

    def __post_init__(self) -> None:
        """Take from the encoder what a model must tell."""
        self.frame_s = self.window_s
        self.sample_rate = self.base.sample_rate
        self.dim = self.base.dim

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the encoder's embeddings."""
        return self.base.encode_audio(windows)

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the encoder's embeddings."""
        return self.base.encode_text(prompts)

    def embed_labels(self, labels: LabelSet) -> TrainedBank:
        """Compute the labels' semantics, their embeddings by the encoder, and which were trained on."""
        known = {name.casefold() for name in self.classes}
        seen = np.array([label.name.casefold() in known for label in labels])
        if seen.all():
            seen[:] = False  # nobody to protect
        base = self.base.embed_labels(labels) if self.logit_scale.base_weight else None
        return TrainedBank(labels.names, self.semantics(list(labels)), base, seen)

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return per window the log-odds ``(1, n_labels)``."""
        own, fitted = own_bank(bank, TrainedBank), self.logit_scale
        if not len(embeddings):
            return []
        means = np.stack([frames.mean(axis=0) for frames in embeddings])
        logits = fitted.scale * self.compatibility.decision_function(means, own.semantics) + fitted.bias
        if own.base is not None:
            logits = logits + fitted.base_weight * base_logits(self.base, means, own.base)
        return list((logits - fitted.seen_penalty * own.seen).astype(np.float32)[:, None])

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that ``load_model`` takes; its path is the model's name from then on."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"probe": probe(self.base), **self.compatibility.arrays()}
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / "model.safetensors")
        self.semantics.attributes.write(folder / "attributes.csv")
        write_descriptions(self.semantics.descriptions, folder / "descriptions.csv")
        if self.semantics.taxonomy is not None:
            self.semantics.taxonomy.write(folder / "taxonomy.json")
        (method,) = (name for name, kind in METHODS.items() if isinstance(self.compatibility, kind))
        config = {
            "model_type": MODEL_TYPE,
            "base": str(Path(self.source).resolve()) if Path(self.source).is_dir() else self.source,
            "method": method,
            "parameters": self.compatibility.get_params(),
            "semantics": list(self.semantics.sources),
            "classes": list(self.classes),
            "held_out": list(self.held_out),
            "window_s": self.window_s,
            "logit_scale": asdict(self.logit_scale),
        }
        # Last, so that a folder with a config is a whole model.
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
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
                LogitScale(**config["logit_scale"]),
                str(folder),
                tuple(config.get("held_out", ())),
            )


def base_logits(base: Encoder, means: np.ndarray, bank: LabelBank) -> np.ndarray:
    """Return the log-odds ``(n_clips, n_labels)`` of an encoder for mean embeddings, ``(n_clips, dim)``."""
    return np.concatenate(base.compare([mean[None] for mean in means], bank))
