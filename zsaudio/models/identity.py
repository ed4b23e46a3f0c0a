"""Identify an encoder by its embedding of a fixed sound.

The embedding of a second of noise depends on the weights, so nothing else has to be known about the encoder.
``probe`` is stored with everything that works with one encoder only (a trained model, an archive) and
compared by ``same_encoder``; ``encoder_id`` names files of a cache.
"""

import hashlib

import numpy as np

from zsaudio.models.base import Encoder


def probe(model: Encoder) -> np.ndarray:
    """Return the mean embedding ``(dim,)`` of one second of noise, always the same noise."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, model.sample_rate).astype(np.float32)
    (frames,) = model.encode_audio([noise])
    return np.asarray(frames.mean(axis=0), np.float32)


def same_encoder(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two probes are of one encoder; another device or precision makes no difference."""
    if one.shape != other.shape:
        return False
    return bool(one @ other >= 0.98 * np.linalg.norm(one) * np.linalg.norm(other))


_CUT = 2  # counts the ways in which recordings have been cut into windows: stored embeddings depend on it


def encoder_id(model: Encoder) -> str:
    """Return a hexadecimal digest of the probe, rounded to two decimals.

    Two runs of one encoder on one machine have the same; another device or precision may have another.
    """
    rounded = np.round(probe(model), 2) + 0.0  # no -0.0
    content = f"{_CUT} {model.sample_rate} {model.window_s}".encode() + rounded.astype("<f4").tobytes()
    return hashlib.sha256(content).hexdigest()
