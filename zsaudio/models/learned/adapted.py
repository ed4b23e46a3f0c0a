"""A model that ``zsaudio adapt`` made: another model, and a cache of a few examples of some labels.

Training-free, after Tip-Adapter (Zhang et al., ECCV 2022, equations 4-5) and Treff (Liang et al., 2023): the
examples' audio embeddings are keys, their labels are values. The log-odds of a label with examples become
``base_weight * base_logit + strength * exp(-sharpness * (1 - cosine)) + bias``, with the cosine of its
nearest example (``zsaudio.models.likeness``); every other label has exactly the logits that it had. The
nearest example counts, not the sum over examples as in the papers, so that scores do not grow with the number
of examples. A *counter-example* of a label, a sound that was taken for it and is none, takes away as much in
the same way.

Conventions: keys are unit vectors ``(n_examples, n)``, the mean embedding of an example's frames that count
(``zsaudio.models.learned.loudness``) each; they are compared with the mean of such frames up to ``REACH_S``
seconds on either side of a frame. A frame that does not count itself has the logits that it had.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zsaudio.labels import LabelSet
from zsaudio.models.base import Encoder, LabelBank, Model, own_bank
from zsaudio.models.learned.folder import explain_damage, read_folder, write_folder
from zsaudio.models.learned.loudness import OnEncoder, loud, loud_mean, loud_means
from zsaudio.models.likeness import directions

MODEL_TYPE = "zsaudio-adapted"
REACH_S = 1.0


@dataclass(frozen=True)
class AdaptedBank(LabelBank):
    """The bank of the model that it stands on, and the numbers of each label's keys and counter-keys."""

    base: LabelBank
    keys: list[list[int]]
    counter_keys: list[list[int]]


@dataclass
class Adapted(OnEncoder):
    """What ``zsaudio adapt`` made; meets ``zsaudio.models.base.Model`` and gives audio embeddings.

    Parameters
    ----------
    base
        The model that it stands on.
    source
        What ``load_model`` takes for it.
    keys
        ``(n_examples, n)``, unit norm.
    labels
        The label of each key.
    strength
        Log-odds that a perfect match adds.
    sharpness
        How fast that falls off with the distance.
    name
        What it is called; its folder, once it is saved or loaded.
    counter_keys, counter_labels
        Embeddings of counter-examples, ``(n_counter_examples, n)``, unit norm, and their labels.
    base_weight, bias
        How much the other model's log-odds count for labels with examples, and what is added to them.
    comparison
        With the other model, on recordings held out: a ``zsaudio.learning.comparison.Comparison``. Not saved.
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
    base_weight: float = 1.0
    bias: float = 0.0
    comparison: Any = None

    def __post_init__(self) -> None:
        """Take from the other model what a model must tell."""
        base = self.base
        super().__post_init__()
        self.window_s, self.frame_s = base.window_s, base.frame_s
        self._reach = int(REACH_S / self.frame_s)  # frames
        # A frame's logits depend on its neighbours' now.
        self.context_s = base.context_s + self._reach * self.frame_s if base.context_s else 0.0

    def embed_labels(self, labels: LabelSet) -> AdaptedBank:
        """Let the other model embed the labels; note which of them have which keys."""
        keys, counter_keys = (_owned(labels, owners) for owners in (self.labels, self.counter_labels))
        return AdaptedBank(labels.names, self.base.embed_labels(labels), keys, counter_keys)

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return the log-odds ``(n_frames, n_labels)`` for audio embeddings, ``(n_frames, dim)`` a window."""
        own = own_bank(bank, AdaptedBank)
        with_keys = [label for label, numbers in enumerate(own.keys) if numbers]
        countered = [
            label for label, numbers in enumerate(own.counter_keys) if numbers and not own.keys[label]
        ]
        results = []
        for logits, likeness, counts in self.matches(embeddings, own):
            matched = logits.copy()
            of_keys = self.base_weight * logits + self.strength * likeness + self.bias
            matched[:, with_keys] = np.where(counts[:, None], of_keys, logits)[:, with_keys]
            matched[:, countered] += (self.strength * counts[:, None] * likeness)[:, countered]
            results.append(matched)
        return results

    def matches(
        self, embeddings: Sequence[np.ndarray], bank: AdaptedBank
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield per window the other model's logits, how like its nearest key each label is, and what counts.

        The first two are ``(n_frames, n_labels)``; likeness is in [0, 1], less that of counter-keys.
        The last is ``(n_frames,)`` booleans.
        """
        parts = [self.split(frames) for frames in embeddings]
        compared = [
            (sign, directions(keys, self).T, owned)
            for sign, keys, owned in ((1, self.keys, bank.keys), (-1, self.counter_keys, bank.counter_keys))
            if keys is not None and any(owned)
        ]
        for (vectors, levels, _), logits in zip(
            parts, self.base.compare([part[2] for part in parts], bank.base), strict=True
        ):
            if len(logits) > 1:
                means, counts = loud_means(vectors, levels, self._reach)
            else:
                means, counts = loud_mean(vectors, levels)[None], np.array([loud(levels).any()])
            means = directions(means, self)
            likeness = np.zeros_like(logits)
            for sign, keys, owned in compared:
                near = np.exp(-self.sharpness * (1 - means @ keys))
                for label, numbers in enumerate(owned):
                    if numbers:
                        likeness[:, label] += sign * near[:, numbers].max(axis=1)
            yield logits, likeness, counts

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that ``load_model`` takes; its path is the model's name from then on."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"keys": self.keys.astype(np.float32)}
        if self.counter_keys is not None:
            arrays["counter_keys"] = self.counter_keys.astype(np.float32)
        settings = {
            "labels": list(self.labels),
            "counter_labels": list(self.counter_labels),
            "strength": self.strength,
            "sharpness": self.sharpness,
            "base_weight": self.base_weight,
            "bias": self.bias,
        }
        write_folder(folder, MODEL_TYPE, self.source, self.base, arrays, settings)
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
                tuple(config["counter_labels"]),
                config["base_weight"],
                config["bias"],
            )


def _owned(labels: LabelSet, owners: Sequence[str]) -> list[list[int]]:
    """Return for each label the numbers of the keys whose owner it is."""
    own: dict[str, list[int]] = {}
    for key, owner in enumerate(owners):
        own.setdefault(owner.casefold(), []).append(key)
    return [own.get(label.name.casefold(), []) for label in labels]
