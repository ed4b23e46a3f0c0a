"""Mixtures of recordings, and the scale and bias that make outputs log-odds on them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from training.data import Sound, read_waveform

RATE = 16_000  # Hz


def mixtures(
    sounds: Sequence[Sound], names: Sequence[str], count: int, seed: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return mixtures of two or three sounds, and which categories are there, ``(count, n_names)``."""
    rng = np.random.default_rng(seed)
    waves = [read_waveform(sound.path, RATE) for sound in sounds]
    waves = [wave / max(1e-4, np.sqrt(np.mean(wave**2))) for wave in waves]
    mixed, truth = [], np.zeros((count, len(names)), bool)
    for row in range(count):
        chosen = rng.choice(len(sounds), rng.integers(2, 4), replace=False)
        both = np.sum([waves[i] * 10 ** (rng.uniform(-5, 5) / 20) for i in chosen], axis=0)
        mixed.append((both * 0.3 / np.abs(both).max()).astype(np.float32))
        truth[row, [names.index(sounds[i].category) for i in chosen]] = True
    return mixed, truth


def fit(
    outputs: Sequence[np.ndarray], truth: np.ndarray, scale: float = 1.0, bias: float = -4.0
) -> tuple[float, float]:
    """Return the scale and bias that make the pooled odds of frames ``(frames, names)`` most likely.

    ``scale`` and ``bias`` are where the search starts.
    """
    frames, target = [torch.from_numpy(own) for own in outputs], torch.from_numpy(truth).float()
    found = torch.tensor([scale, bias], requires_grad=True)
    optimizer = torch.optim.LBFGS([found], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = [(found[0] * own + found[1]).logsumexp(0) - np.log(len(own)) for own in frames]
        loss = binary_cross_entropy_with_logits(torch.stack(logits), target)
        loss.backward()
        return loss

    optimizer.step(closure)
    return found[0].item(), found[1].item()
