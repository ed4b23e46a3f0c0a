"""CLAP's audio side: from waveforms of up to 10 s to embeddings.

A window is padded as ``ClapFeatureExtractor`` pads (whole repetitions, then zeros), never cropped at random,
and never flagged as longer than 10 s; so its embedding is transformers' own, whatever else is in the batch.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from zsaudio.errors import AudioError
from zsaudio.features import LogMel
from zsaudio.models.htsat import HtsatOnProcessor, has_onednn

DTYPES = ("auto", "float32", "bfloat16", "float16")
_MIN_COSINE = 0.999  # of an embedding in half precision with that in float32, for the former to be taken
_GPU_BATCH = 32


class ClapAudio:
    """The audio tower of a checkpoint with its front end.

    Parameters
    ----------
    tower
        A ``ClapAudioModelWithProjection`` in float32, with the ``logit_scale_a`` of its ``ClapModel``.
    extractor
        Its ``ClapFeatureExtractor``.
    device
        Where it runs.
    dtype
        One of ``DTYPES``. ``auto`` is bfloat16 where the device has it natively and it hardly changes the
        embeddings of some made sounds, else float32.
    pool
        Threads for work on the processor.
    """

    def __init__(
        self, tower: Any, extractor: Any, device: torch.device, dtype: str, pool: ThreadPoolExecutor
    ) -> None:
        self._tower, self._device, self._pool = tower, device, pool
        self.scale: float = tower.logit_scale_a.exp().item()
        self._n_samples: int = extractor.nb_max_samples
        filters = extractor.mel_filters if extractor.truncation == "fusion" else extractor.mel_filters_slaney
        self._log_mel = LogMel(
            torch.from_numpy(filters), extractor.fft_window_size, extractor.hop_length, dtype=torch.float64
        )
        self.dtype = self._best_dtype(extractor.sampling_rate) if dtype == "auto" else getattr(torch, dtype)
        self._embed = self._embedder(self.dtype)
        del self._tower

    def __call__(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        """Return the embeddings ``(n_windows, dim)``, unit norm."""
        return self._run(self._embed, windows).numpy()

    def _run(self, embed: Callable[[Tensor], Tensor], windows: Sequence[np.ndarray]) -> Tensor:
        if self._device.type == "cpu":
            embeddings = torch.stack(list(self._pool.map(lambda window: embed(self._mel(window)), windows)))
        else:
            batches = [windows[start : start + _GPU_BATCH] for start in range(0, len(windows), _GPU_BATCH)]
            mels = (torch.stack(list(self._pool.map(self._mel, batch))) for batch in batches)
            embeddings = torch.cat([embed(batch.to(self._device)).cpu() for batch in mels])
        return normalize(embeddings, dim=-1)

    def _mel(self, window: np.ndarray) -> Tensor:
        """Return the spectrogram ``(n_frames, n_mels)`` of a window."""
        if not 0 < len(window) <= self._n_samples:
            raise AudioError(f"a window has {len(window)} samples, but must have 1 to {self._n_samples}")
        repeated = np.tile(window, self._n_samples // len(window))
        padded = np.pad(repeated, (0, self._n_samples - len(repeated)))
        mel: Tensor = self._log_mel(torch.from_numpy(padded)[None])[0]
        return mel

    def _embedder(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """Return what makes embeddings of spectrograms: of one on a processor, of a batch elsewhere."""
        if self._device.type == "cpu":
            return HtsatOnProcessor(self._tower, dtype)
        tower = self._tower.to(self._device, dtype)

        @torch.inference_mode()
        def embed(mels: Tensor) -> Tensor:
            # A fused model takes four channels, but looks at the last three only where `is_longer` is set.
            is_longer = torch.zeros(len(mels), 1, dtype=torch.bool, device=self._device)
            embeddings: Tensor = tower(mels[:, None].to(dtype), is_longer=is_longer).audio_embeds
            return embeddings.float()

        return embed

    def _best_dtype(self, sample_rate: int) -> torch.dtype:
        if not _has_bfloat16(self._device):
            return torch.float32
        sounds = _made_sounds(sample_rate)
        exact = self._run(self._embedder(torch.float32), sounds)
        close = self._run(self._embedder(torch.bfloat16), sounds)
        return torch.bfloat16 if cosine_similarity(exact, close).min() >= _MIN_COSINE else torch.float32


def _has_bfloat16(device: torch.device) -> bool:
    """Say whether a device multiplies bfloat16 matrices natively; emulated, they are slow."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not has_onednn(torch.bfloat16):
        return False
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # old torch cannot tell
    return capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)


def _made_sounds(sample_rate: int) -> list[np.ndarray]:
    """Return a few unlike sounds: noise, a rising tone, and clicks."""
    time_s = np.arange(5 * sample_rate) / sample_rate
    noise = 0.1 * np.random.default_rng(0).standard_normal(len(time_s))
    tone = 0.5 * np.sin(2 * np.pi * 100 * time_s * (1 + time_s))
    clicks = noise * np.exp(-40 * (time_s % 0.5))
    return [sound.astype(np.float32) for sound in (noise, tone, clicks)]
