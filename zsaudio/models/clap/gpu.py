"""CLAP's audio tower on a GPU: few transfers, and batches that fit its memory.

A batch of windows is sent in one transfer, from pinned memory, and made into waveforms of full length on the
device: an ``Excerpt`` is resampled by torchaudio, all of one rate together, and short windows are repeated
and padded as ``ClapFeatureExtractor`` pads (whole repetitions, then zeros). Then come the log-mel
spectrograms and the tower.
"""

import copy
import logging
from collections.abc import Callable, Sequence
from functools import cache
from math import ceil, gcd
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zsaudio.audio.log_mel import LogMel
from zsaudio.audio.windows import Excerpt
from zsaudio.errors import AudioError
from zsaudio.models.device import explain_out_of_memory, free_cache, is_out_of_memory, out_of_memory
from zsaudio.models.threads import shared_threads

log = logging.getLogger("zsaudio")

# Memory of a window in float32: 58 MB in the tower of laion/larger_clap_general and 12 MB in the front end
# (measured on a CPU). The rest is for workspaces and fragmentation.
_WINDOW_BYTES = 128 * 2**20
_LARGEST_BATCH = 128  # more would only take memory, also 2 MB per window of the CPU's
_USUAL_BATCH = 32  # where the free memory of a device is unknown
_WITHOUT_FLOAT64 = ("mps",)
# The Kaiser-windowed sinc closest to soxr's filter, which resamples everywhere else: white noise of amplitude
# 0.2 differs by 0.0007 at most, recordings by less.
_FILTER = {"lowpass_filter_width": 88, "rolloff": 0.957, "beta": 11.5}
_MOST_PHASES = 640  # of the filter: 11,025 Hz to 48,000 Hz has as many, all other usual rates fewer


class TowerOnGpu:
    """The audio tower of a checkpoint with its front end.

    Parameters
    ----------
    tower
        A ``ClapAudioModelWithProjection`` in float32; nothing of it is changed.
    log_mel
        The front end; it is moved to the device, unless that cannot compute in float64.
    device, dtype
        Where the tower runs, and in which precision.
    sample_rate, n_samples
        Of the waveforms that the front end takes.
    """

    def __init__(
        self,
        tower: Any,
        log_mel: LogMel,
        device: torch.device,
        dtype: torch.dtype,
        sample_rate: int,
        n_samples: int,
    ) -> None:
        self._device, self._dtype = device, dtype
        self._mel_there = device.type not in _WITHOUT_FLOAT64
        with explain_out_of_memory(device):
            # a copy, or bfloat16 would round the original
            self._tower = copy.deepcopy(tower).to(device, dtype)
            self._log_mel = log_mel.to(device) if self._mel_there else log_mel
        self._upload = Upload(device if self._mel_there else torch.device("cpu"), sample_rate, n_samples)

    @torch.inference_mode()
    def __call__(self, windows: Sequence[np.ndarray]) -> Tensor:
        """Return the embeddings ``(n_windows, dim)``, not normalised, in the CPU's memory."""
        waveforms = self._upload(windows)
        if self._mel_there:
            mels = self._log_mel(waveforms)
        else:
            mels = torch.cat(list(shared_threads().map(self._log_mel, torch.split(waveforms, 1))))
            mels = mels.to(self._device)
        # A fused model takes four channels, but looks at the last three only where `is_longer` is set.
        is_longer = torch.zeros(len(mels), 1, dtype=torch.bool, device=self._device)
        embeddings: Tensor = self._tower(mels[:, None].to(self._dtype), is_longer=is_longer).audio_embeds
        return embeddings.float().cpu()


class Batches:
    """Call a function with as many windows at a time as fit a device's memory.

    A batch that does not fit is halved and tried again; later batches are no larger than that.

    Parameters
    ----------
    embed
        Takes windows and returns a row for each.
    device
        The device that it runs on.
    size
        Windows per batch, at first.

    Raises
    ------
    ModelError
        When called, if not even one window fits.
    """

    def __init__(
        self, embed: Callable[[Sequence[np.ndarray]], Tensor], device: torch.device, size: int
    ) -> None:
        self._embed, self._device, self.size = embed, device, size

    def __call__(self, windows: Sequence[np.ndarray]) -> Tensor:
        """Return the rows of all windows, in order."""
        rows: list[Tensor] = []
        start = 0
        while start < len(windows):
            batch = windows[start : start + self.size]
            embedded = self._try(batch)
            if embedded is None:
                self._halve(len(batch))
            else:
                rows.append(embedded)
                start += len(batch)
        return torch.cat(rows)

    def _try(self, batch: Sequence[np.ndarray]) -> Tensor | None:
        """Return the rows of a batch, or None if it does not fit."""
        try:
            return self._embed(batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise out_of_memory(self._device) from error
        return None  # outside of the except clause, since the error keeps the batch's memory

    def _halve(self, size: int) -> None:
        self.size = size // 2
        free_cache(self._device)
        log.warning(
            "device '%s' is out of memory with %d windows at once: it gets %d from now on",
            self._device,
            size,
            self.size,
        )


def first_batch_size(device: torch.device) -> int:
    """Return how many windows to try at a time: as many as fit the free memory, up to a limit."""
    if device.type != "cuda":
        return _USUAL_BATCH
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(free // _WINDOW_BYTES, _LARGEST_BATCH))


class Upload:
    """Bring windows to a device, as waveforms of full length.

    Parameters
    ----------
    device
        The device of the waveforms.
    sample_rate
        Rate of the waveforms, in Hz.
    n_samples
        Length of the waveforms.
    """

    def __init__(self, device: torch.device, sample_rate: int, n_samples: int) -> None:
        self._device, self._sample_rate, self._n_samples = device, sample_rate, n_samples

    def __call__(self, windows: Sequence[np.ndarray | Excerpt]) -> Tensor:
        """Return float32 ``(n_windows, n_samples)``; windows are at the waveforms' rate, or excerpts.

        Raises
        ------
        AudioError
            If a window is longer than the waveforms, or empty.
        """
        excerpts = [Excerpt.of(window, self._sample_rate) for window in windows]
        for excerpt in excerpts:
            check_length(excerpt.n_samples, self._n_samples)
        lengths = [len(excerpt.samples) for excerpt in excerpts]
        sent = torch.zeros(len(windows), max(lengths), pin_memory=self._device.type == "cuda")
        for row, excerpt in zip(sent.numpy(), excerpts, strict=True):
            row[: len(excerpt.samples)] = excerpt.samples
        there = sent.to(self._device, non_blocking=True)
        waveforms = torch.zeros(len(windows), self._n_samples, device=self._device)
        for rate in sorted({excerpt.sample_rate for excerpt in excerpts}):
            rows = [row for row, excerpt in enumerate(excerpts) if excerpt.sample_rate == rate]
            resampled = self._resampled(there[rows, : max(lengths[row] for row in rows)], rate)
            for row, samples in zip(rows, resampled, strict=True):
                before = excerpts[row].before * self._sample_rate // rate
                length = excerpts[row].n_samples
                repeats = self._n_samples // length
                waveforms[row, : repeats * length] = samples[before : before + length].repeat(repeats)
        return waveforms

    def _resampled(self, samples: Tensor, rate: int) -> Tensor:
        if rate == self._sample_rate:
            return samples
        # The convolution in full float32: by default a GPU may round its inputs to ten bits.
        cudnn = torch.backends.cudnn
        flags = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
        with cudnn.flags(**flags, allow_tf32=False):
            resampled: Tensor = _torchaudio().resample(
                samples, rate, self._sample_rate, resampling_method="sinc_interp_kaiser", **_FILTER
            )
        return resampled


def check_length(length: int, most: int) -> None:
    """Raise ``AudioError`` unless a window has 1 to ``most`` samples."""
    if not 0 < length <= most:
        raise AudioError(f"a window has {length} samples, but must have 1 to {most}")


def resamples_on(device: torch.device) -> bool:
    """Return whether windows are resampled on a device: on a GPU, if torchaudio is installed and works."""
    return device.type == "cuda" and _torchaudio() is not None


def resample_margin(sample_rate: int, target_rate: int) -> int | None:
    """Return how many samples on either side of a window change it when it is resampled.

    None: the rates have so small a common divisor that the filter would need too much memory.
    """
    common = gcd(sample_rate, target_rate)
    if max(sample_rate, target_rate) // common > _MOST_PHASES:
        return None
    base = min(sample_rate, target_rate) * _FILTER["rolloff"]
    return 0 if sample_rate == target_rate else ceil(_FILTER["lowpass_filter_width"] * sample_rate / base) + 1


@cache
def _torchaudio() -> Any:
    """Return torchaudio's functions, or None where it is not installed or does not work with this torch."""
    try:
        from torchaudio import functional
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return functional
