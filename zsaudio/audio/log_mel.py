"""Batched log-mel spectrograms in torch.

Conventions: waveforms are float32 ``(batch, n_samples)`` in [-1, 1]; spectrograms are float32
``(batch, n_frames, n_mels)`` in dB relative to full scale. The mel filters and sizes are stored with the
weights of a model, so that it always gets the spectrograms that it was trained on.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

# Frames that are computed together: few enough for their spectra to stay in the CPU's cache.
_FRAMES = 128


def mel_bands(sample_rate: int, n_mels: int, low: float = 40.0) -> np.ndarray:
    """Return the edges of mel bands in Hz, ``(n_mels + 2,)``: band k is from k to k + 2, its peak at k + 1.

    They are equally spaced from ``low`` to half the sample rate in mel, on the scale of HTK,
    2595 log10(1 + f / 700).
    """
    return 700 * np.expm1(np.linspace(np.log1p(low / 700), np.log1p(sample_rate / 2 / 700), n_mels + 2))


def mel_filters(sample_rate: int, n_fft: int, n_mels: int, low: float = 40.0) -> Tensor:
    """Return triangular filters for ``mel_bands``, ``(n_fft // 2 + 1, n_mels)``."""
    edges = mel_bands(sample_rate, n_mels, low)
    bins = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)[:, None]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rise, fall))
    # narrow bands hold few bins: make every band sum to its width
    width = (edges[2:] - edges[:-2]) / 2 / (bins[1] - bins[0])
    return torch.from_numpy(triangles / np.maximum(triangles.sum(0), 0.05) * width).float()


class LogMel(nn.Module):
    """Power spectrogram -> mel bands -> decibels.

    Parameters
    ----------
    filters
        Mel filterbank, ``(n_fft // 2 + 1, n_mels)``.
    n_fft, hop_length
        Size of the (periodic Hann) window and distance between its positions, in samples.
    floor
        Smallest mel power, before the logarithm. 1e-10 is -100 dB.
    dtype
        Precision of the Fourier transform. The rounding noise of float32 is about 130 dB below the loudest
        component, so it shows in bands that are otherwise empty, such as those above 8 kHz in audio resampled
        from 16 kHz. float64 takes twice as long and is right to 1e-5 dB.
    """

    filters: Tensor
    window: Tensor

    def __init__(
        self,
        filters: Tensor,
        n_fft: int,
        hop_length: int,
        floor: float = 1e-10,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.n_fft, self.hop_length, self.floor = n_fft, hop_length, floor
        self.register_buffer("filters", filters.float(), persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft, dtype=dtype), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the log-mel spectrogram, ``(batch, 1 + n_samples // hop_length, n_mels)``, in dB.

        Frames are centred: the signal is reflected by ``n_fft // 2`` samples at both ends, so it must be
        longer than that.
        """
        margin = self.n_fft // 2
        padded = nn.functional.pad(waveform[:, None], (margin, margin), mode="reflect")[:, 0]
        frames = padded.to(self.window.dtype).unfold(1, self.n_fft, self.hop_length)
        mel = torch.cat([self._mel(part) for part in torch.split(frames, _FRAMES, dim=1)], dim=1)
        return 10.0 * torch.log10(mel.clamp_min(self.floor))

    def _mel(self, frames: Tensor) -> Tensor:
        """Return the mel power ``(batch, n_frames, n_mels)`` of frames ``(batch, n_frames, n_fft)``."""
        spectrum = torch.fft.rfft(frames * self.window)
        power = spectrum.real.square() + spectrum.imag.square()
        mel: Tensor = power.to(self.filters.dtype) @ self.filters
        return mel


class SlidingLogMel:
    """Spectrograms of successive windows; frames that neighbouring windows share are computed once.

    Windows of a recording that overlap by whole frames have equal frames in the overlap, apart from a few at
    either edge, which depend on the reflected signal. The samples are compared to find the overlap.

    Parameters
    ----------
    log_mel
        Computes the spectrograms.
    pad
        Takes a window, returns a waveform ``(1, n_samples)``; a window of ``n_samples`` is not changed.
    n_samples
        Length of a full window. Only full windows share frames.
    threads
        Returns the threads that compute the frames; called each time.
    """

    def __init__(
        self,
        log_mel: LogMel,
        pad: Callable[[np.ndarray], Tensor],
        n_samples: int,
        threads: Callable[[], Executor],
    ) -> None:
        self._log_mel, self._pad, self._n_samples, self._threads = log_mel, pad, n_samples, threads
        self._n_frames = 1 + n_samples // log_mel.hop_length
        self._edge = -(
            -(log_mel.n_fft // 2) // log_mel.hop_length
        )  # frames that may depend on the reflected signal
        self._last = np.zeros(0, np.float32), torch.zeros(0)  # window, spectrogram

    def __call__(self, windows: Sequence[np.ndarray]) -> list[Tensor]:
        """Return the spectrograms ``(n_frames, n_mels)`` of windows ``(n_samples,)`` or shorter."""
        last, mel = self._last
        shifts = [self._shift(before, window) for before, window in pairwise([last, *windows])]
        mels = []
        for new, shift in zip(self._threads().map(self._new_frames, windows, shifts), shifts, strict=True):
            head, tail = new[: self._edge], new[self._edge :]
            mel = new if shift is None else torch.cat([head, mel[shift + self._edge : -self._edge], tail])
            mels.append(mel)
        self._last = windows[-1].copy(), mel  # a copy, as the caller may reuse the array
        return mels

    def _shift(self, before: np.ndarray, window: np.ndarray) -> int | None:
        """Return by how many frames a window is later than the one before; None: they do not overlap."""
        if not len(before) == len(window) == self._n_samples:
            return None
        hop = self._log_mel.hop_length
        starts = before[: (self._n_frames - 3 * self._edge) * hop].reshape(-1, hop)[:, :16]
        shift = int((starts == window[:16]).all(axis=1).argmax())  # the first candidate, or 0
        same = np.array_equal(before[shift * hop :], window[: self._n_samples - shift * hop])
        return shift if same else None

    def _new_frames(self, window: np.ndarray, shift: int | None) -> Tensor:
        """Return the frames that the window before does not have: a few at the start, those at the end."""
        waveform, edge, hop = self._pad(window), self._edge, self._log_mel.hop_length
        if shift is None:
            new: Tensor = self._log_mel(waveform)[0]
            return new
        head = self._log_mel(waveform[:, : 2 * edge * hop])[0, :edge]
        tail = self._log_mel(waveform[:, (self._n_frames - shift - 2 * edge) * hop :])[0, edge:]
        return torch.cat([head, tail])
