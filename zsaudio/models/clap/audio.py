"""The audio side of CLAP: from windows of up to 10 s to embeddings.

A window is padded as ``ClapFeatureExtractor`` pads (whole repetitions, then zeros), never cropped at random
and never flagged as longer than 10 s. So its embedding is that of transformers, whatever else is in the
batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from zsaudio.audio.log_mel import LogMel, SlidingLogMel
from zsaudio.models.clap.cpu import cpu_tower
from zsaudio.models.clap.gpu import Batches, TowerOnGpu, check_length, first_batch_size
from zsaudio.models.device import has_bfloat16
from zsaudio.models.threads import shared_threads

_MIN_COSINE = 0.999  # of embeddings in bfloat16 with those in float32, at least, for bfloat16 to be used

_Embed = Callable[[Sequence[np.ndarray]], Tensor]  # windows -> embeddings (n_windows, dim), not normalised


class ClapAudio:
    """The audio tower of a checkpoint with its front end.

    Parameters
    ----------
    tower
        A ``ClapAudioModelWithProjection`` in float32, with the ``logit_scale_a`` of its ``ClapModel``.
    extractor
        Its ``ClapFeatureExtractor``.
    device
        The device that it runs on.
    dtype
        The precision. None: bfloat16 if the device has it natively and it hardly changes the embeddings of
        some synthetic sounds, else float32.
    """

    def __init__(self, tower: Any, extractor: Any, device: torch.device, dtype: torch.dtype | None) -> None:
        self._tower, self._device = tower, device
        self.scale: float = tower.logit_scale_a.exp().item()
        self._n_samples: int = extractor.nb_max_samples
        self._sample_rate: int = extractor.sampling_rate
        filters = extractor.mel_filters if extractor.truncation == "fusion" else extractor.mel_filters_slaney
        self._log_mel = LogMel(
            torch.from_numpy(filters), extractor.fft_window_size, extractor.hop_length, dtype=torch.float64
        )
        self.dtype = dtype or self._best_dtype()
        self._embed = self._embedder(self.dtype)
        del self._tower

    def __call__(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        """Return the embeddings ``(n_windows, dim)``, unit norm."""
        return normalize(self._embed(windows), dim=-1).numpy()

    def _embedder(self, dtype: torch.dtype) -> _Embed:
        return self._on_cpu(dtype) if self._device.type == "cpu" else self._on_gpu(dtype)

    def _on_cpu(self, dtype: torch.dtype) -> _Embed:
        """Return a function that runs each window in a thread."""
        tower = cpu_tower(self._tower, dtype)
        mels = SlidingLogMel(self._log_mel, self._padded, self._n_samples, shared_threads)
        return lambda windows: torch.stack(list(shared_threads().map(tower, mels(windows))))

    def _on_gpu(self, dtype: torch.dtype) -> _Embed:
        """Return a function that sends windows to the device in batches."""
        tower = TowerOnGpu(
            self._tower, self._log_mel, self._device, dtype, self._sample_rate, self._n_samples
        )
        return Batches(tower, self._device, first_batch_size(self._device))

    def _padded(self, window: np.ndarray) -> Tensor:
        """Return a window ``(1, n_samples)`` of full length, repeated and padded with zeros."""
        check_length(len(window), self._n_samples)
        padded = torch.zeros(self._n_samples)
        end = self._n_samples // len(window) * len(window)
        padded.numpy()[:end].reshape(-1, len(window))[:] = window
        return padded[None]

    def _best_dtype(self) -> torch.dtype:
        if not has_bfloat16(self._device):
            return torch.float32
        sounds = _synthetic_sounds(self._sample_rate)
        exact, close = (self._embedder(dtype)(sounds) for dtype in (torch.float32, torch.bfloat16))
        return torch.bfloat16 if cosine_similarity(exact, close).min() >= _MIN_COSINE else torch.float32


def _synthetic_sounds(sample_rate: int) -> list[np.ndarray]:
    """Return a few different sounds: noise, a rising tone and clicks."""
    time_s = np.arange(5 * sample_rate) / sample_rate
    noise = 0.1 * np.random.default_rng(0).standard_normal(len(time_s))
    tone = 0.5 * np.sin(2 * np.pi * 100 * time_s * (1 + time_s))
    clicks = noise * np.exp(-40 * (time_s % 0.5))
    return [sound.astype(np.float32) for sound in (noise, tone, clicks)]
