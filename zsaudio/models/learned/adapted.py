"""A model that ``zsaudio adapt`` made: another model, and a cache of a few examples of some labels.

Training-free, after Tip-Adapter (Zhang et al., ECCV 2022, equations 4-5) and Treff (Liang et al., 2023): the
examples' audio embeddings are keys, their labels are values. A label with examples gains
``strength * exp(-sharpness * (1 - cosine))`` log-odds, with the cosine of its nearest example; every other
label has exactly the logits that it had. The nearest example counts, not the sum over examples as in the
papers, so that scores do not grow with the number of examples. A *counter-example* of a label, a sound that
was taken for it and is none, takes away as much in the same way.

Conventions: keys are unit vectors ``(n_examples, dim)``, the mean embedding of an example each; they are
compared with the mean embedding of up to ``REACH_S`` seconds on either side of a frame.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from safetensors.numpy import save_file

from zsaudio.labels import LabelSet
from zsaudio.models.base import Encoder, LabelBank, LogitsByComparing, Model, own_bank
from zsaudio.models.identity import probe
from zsaudio.models.learned.folder import explain_damage, read_folder

MODEL_TYPE = "zsaudio-adapted"
REACH_S = 1.0


@dataclass(frozen=True)
class AdaptedBank(LabelBank):
    """The bank of the model that it stands on, and the numbers of each label's keys and counter-keys."""

    base: LabelBank
    keys: list[list[int]]
    counter_keys: list[list[int]]


@dataclass
class Adapted(LogitsByComparing):
    """What ``zsaudio adapt`` made; meets ``zsaudio.models.base.Model`` and gives audio embeddings.

    Parameters
    ----------
    base
        The model that it stands on.
    source
        What ``load_model`` takes for it.
    keys
        ``(n_examples, dim)``, unit norm.
    labels
        The label of each key.
    strength
        Log-odds that a perfect match adds.
    sharpness
        How fast that falls off with the distance.
    name
        What it is called; its folder, once it is saved or loaded.
    counter_keys, counter_labels
        Embeddings of counter-examples, ``(n_counter_examples, dim)``, unit norm, and their labels.
    """

    base: Encoder
    source: str
    keys: np.ndarray
    labels: tuple[str, ...]
    strength: float = 10.0
    sharpness: float = 5.5
    name: str = "adapted"
    counter_keys: np.ndarray | None = None
    counter_labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Take from the other model what a model must tell."""
        base = self.base
        self.sample_rate, self.dim = base.sample_rate, base.dim
        self.window_s, self.frame_s = base.window_s, base.frame_s
        self._reach = int(REACH_S / self.frame_s)  # frames
        # A frame's logits depend on its neighbours' now.
        self.context_s = base.context_s + self._reach * self.frame_s if base.context_s else 0.0

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the other model's embeddings."""
        return self.base.encode_audio(windows)

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the other model's embeddings."""
        return self.base.encode_text(prompts)

    def embed_labels(self, labels: LabelSet) -> AdaptedBank:
        """Let the other model embed the labels; note which of them have which keys."""
        keys, counter_keys = (_owned(labels, owners) for owners in (self.labels, self.counter_labels))
        return AdaptedBank(labels.names, self.base.embed_labels(labels), keys, counter_keys)

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return the log-odds ``(n_frames, n_labels)`` for audio embeddings, ``(n_frames, dim)`` a window."""
        own = own_bank(bank, AdaptedBank)
        kinds = [(1, self.keys, own.keys), (-1, self.counter_keys, own.counter_keys)]
        kinds = [(sign, keys, numbers) for sign, keys, numbers in kinds if any(numbers)]
        results = []
        for frames, logits in zip(embeddings, self.base.compare(embeddings, own.base), strict=True):
            matched = logits.copy()
            if kinds:
                local = local_mean(frames, self._reach) if len(logits) > 1 else frames.mean(0, keepdims=True)
                local /= np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-9)
                for sign, keys, owned in kinds:
                    likeness = np.exp(-self.sharpness * (1 - local @ cast(np.ndarray, keys).T))
                    for label, numbers in enumerate(owned):
                        if numbers:
                            matched[:, label] += sign * self.strength * likeness[:, numbers].max(axis=1)
            results.append(matched)
        return results

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that ``load_model`` takes; its path is the model's name from then on."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"probe": probe(self.base), "keys": np.ascontiguousarray(self.keys, np.float32)}
        if self.counter_keys is not None:
            arrays["counter_keys"] = np.ascontiguousarray(self.counter_keys, np.float32)
        save_file(arrays, folder / "model.safetensors")
        config = {
            "model_type": MODEL_TYPE,
            "base": str(Path(self.source).resolve()) if Path(self.source).is_dir() else self.source,
            "labels": list(self.labels),
            "counter_labels": list(self.counter_labels),
            "strength": self.strength,
            "sharpness": self.sharpness,
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        self.name = str(folder)

    @classmethod
    def load(cls, folder: Path, load_base: Callable[[str], Model]) -> "Adapted":
        """Read what ``save`` wrote; ``load_base`` loads the other model by its name."""
        with explain_damage(folder):
            config, arrays, base = read_folder(folder, load_base)
            return cls(
                base,
                config["base"],
                arrays["keys"],
                tuple(config["labels"]),
                config["strength"],
                config["sharpness"],
                str(folder),
                arrays.get("counter_keys"),
                tuple(config.get("counter_labels", ())),
            )


def _owned(labels: LabelSet, owners: Sequence[str]) -> list[list[int]]:
    """Return for each label the numbers of the keys whose owner it is."""
    own: dict[str, list[int]] = {}
    for key, owner in enumerate(owners):
        own.setdefault(owner.casefold(), []).append(key)
    return [own.get(label.name.casefold(), []) for label in labels]


def local_mean(frames: np.ndarray, reach: int) -> np.ndarray:
    """Return the mean of up to ``reach`` frames on either side of each frame, itself included.

    Examples
    --------
    >>> local_mean(np.array([[0.0], [3.0], [6.0], [9.0]]), 1).ravel().tolist()
    [1.5, 3.0, 6.0, 7.5]
    """
    total = np.concatenate([np.zeros((1, frames.shape[1])), np.cumsum(frames, axis=0, dtype=np.float64)])
    at = np.arange(len(frames))
    first, last = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(frames))
    return np.asarray((total[last] - total[first]) / (last - first)[:, None], np.float32)
