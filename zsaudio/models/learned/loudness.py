"""Which frames count for a learned model: those that are about as loud as the sound around them.

One rule for all learned models: a frame below ``SILENCE_DB``, or more than ``BELOW_DB`` below the loudest
frame around it, is no example of a class and matches none. Recordings of short sounds often end in silence;
without the rule, silence would be what their classes have in common.

An embedding does not tell how loud a frame is, so learned models carry the level beside it. Embeddings of the
base model itself, without the level, are taken as loud.

Conventions: levels are RMS in dBFS, ``(n_frames,)``; in an embedding, the level is in units of 1000 dB, which
leaves its norm near 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsaudio.labels import LabelSet
from zsaudio.models.base import Encoder, LabelBank, LogitsByComparing

SILENCE_DB = -80.0
BELOW_DB = 30.0
_UNIT_DB = 1000.0


class OnEncoder(LogitsByComparing):
    """What learned models share: the encoder that they stand on, whose embeddings they give, with levels."""

    base: Encoder
    sample_rate: int
    parts: tuple[int, ...]  # see ``zsaudio.models.likeness``
    dim: int  # numbers in an embedding; the last is the level

    def __post_init__(self) -> None:
        """Take from the encoder what all learned models take from it."""
        self.sample_rate, self.parts = self.base.sample_rate, getattr(self.base, "parts", ())
        self.dim = self.base.dim + (not isinstance(self.base, OnEncoder))

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the base model's embeddings and the level of each frame, ``(n_frames, dim)``."""
        encoded = self.base.encode_audio(windows)
        if isinstance(self.base, OnEncoder):
            return encoded
        frame_samples = round(self.base.frame_s * self.base.sample_rate)
        return [
            np.column_stack([frames, frame_levels(window, len(frames), frame_samples) / _UNIT_DB])
            for window, frames in zip(windows, encoded, strict=True)
        ]

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the base model's embeddings, with 0 in the place of the level."""
        text = self.base.encode_text(prompts)
        return np.pad(text, ((0, 0), (0, self.dim - text.shape[1])))

    def split(self, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return vectors ``(n_frames, n)``, their levels, and the embeddings as the base model takes them."""
        if embeddings.shape[1] != self.dim:  # of the base model itself
            return embeddings, np.zeros(len(embeddings), np.float32), embeddings
        vectors = embeddings[:, :-1]
        return (
            vectors,
            embeddings[:, -1] * _UNIT_DB,
            embeddings if isinstance(self.base, OnEncoder) else vectors,
        )


@dataclass
class Levelled(OnEncoder):
    """An encoder whose embeddings carry levels: what learned models are made with."""

    base: Encoder

    def __post_init__(self) -> None:
        """Take from the base model what an encoder must tell."""
        super().__post_init__()
        self.name, self.window_s = self.base.name, self.base.window_s
        self.frame_s, self.context_s = self.base.frame_s, self.base.context_s

    def embed_labels(self, labels: LabelSet) -> LabelBank:
        """Return the base model's label bank."""
        return self.base.embed_labels(labels)

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return the base model's log-odds."""
        return self.base.compare([self.split(frames)[2] for frames in embeddings], bank)


def frame_levels(samples: np.ndarray, n_frames: int, frame_samples: int) -> np.ndarray:
    """Return the level of each frame; a single frame is the whole window.

    Examples
    --------
    >>> frame_levels(np.array([1, -1, 0.1, -0.1, 0], np.float32), 3, 2).round().tolist()
    [0.0, -20.0, -120.0]
    """
    starts = np.minimum(np.arange(n_frames) * frame_samples, max(len(samples) - 1, 0))
    power = np.add.reduceat(np.square(samples, dtype=np.float64), starts)
    power /= np.maximum(np.diff(starts, append=len(samples)), 1)
    return np.asarray(10 * np.log10(power + 1e-12), np.float32)


def loud(levels: np.ndarray, loudest: np.ndarray | float | None = None) -> np.ndarray:
    """Return which frames count, ``(n_frames,)`` booleans.

    Parameters
    ----------
    levels
        Levels of frames.
    loudest
        The level of the loudest frame around each; by default, of all of them.

    Examples
    --------
    >>> loud(np.array([-20.0, -45.0, -55.0])).tolist()
    [True, True, False]
    """
    reference = levels.max() if loudest is None else loudest
    return np.asarray((levels >= reference - BELOW_DB) & (levels >= SILENCE_DB))


def loud_mean(frames: np.ndarray, levels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the mean of the frames that count, ``(dim,)``; zeros where none does."""
    counts = loud(levels) * (1.0 if weights is None else weights)
    if not counts.any():
        return np.zeros(frames.shape[1], np.float32)
    return np.asarray(counts @ frames / counts.sum(), np.float32)


def loud_means(frames: np.ndarray, levels: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each frame the mean of the frames that count within ``reach``, and whether it counts itself.

    Examples
    --------
    >>> means, counts = loud_means(np.array([[0.0], [3.0], [6.0]]), np.array([-10.0, -20.0, -90.0]), 1)
    >>> means.ravel().tolist(), counts.tolist()
    ([1.5, 1.5, 3.0], [True, True, False])
    """
    n_frames = len(frames)
    around = np.arange(n_frames)[:, None] + np.arange(-reach, reach + 1)
    inside = (around >= 0) & (around < n_frames)
    near = np.where(inside, levels[np.clip(around, 0, n_frames - 1)], -np.inf)  # (n_frames, 2 * reach + 1)
    loudest = near.max(axis=1)
    weights = np.zeros((n_frames, n_frames + 2 * reach), np.float32)
    np.put_along_axis(weights, around + reach, loud(near, loudest[:, None]).astype(np.float32), axis=1)
    weights = weights[:, reach : reach + n_frames]
    means = weights @ frames / np.maximum(weights.sum(axis=1, keepdims=True), 1)
    return np.asarray(means, np.float32), loud(levels, loudest)


def pooled(logits: np.ndarray) -> np.ndarray:
    """Return the log-odds of a window, ``(n_labels,)``: the odds are the mean over its frames."""
    return np.asarray(np.logaddexp.reduce(logits.astype(np.float64), axis=0) - np.log(len(logits)))
