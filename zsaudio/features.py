"""Batched log-mel spectrograms in torch.

Conventions: waveforms are float32 ``(batch, n_samples)`` in [-1, 1]; spectrograms are float32
``(batch, n_frames, n_mels)`` in dB re full scale. The filters and sizes belong to the model, which
stores them with its weights, so that the front end cannot drift from what the model was trained on.
"""

import torch
from torch import Tensor, nn

# Frames that are worked on together: few enough for their spectra to stay in the processor's cache.
_FRAMES = 128


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
        Precision of the Fourier transform. In float32 its rounding noise, some 130 dB below the loudest
        partial, shows in bands that hold nothing else, such as those above 8 kHz in audio that was
        resampled from 16 kHz. float64 takes twice as long and is right to 1e-5 dB everywhere.
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

        Frames are centred: the signal is mirrored by ``n_fft // 2`` samples at both ends, so it must be
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
