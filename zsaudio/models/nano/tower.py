"""nano's own network: log-mels and the first stages of EfficientNet, trained on sounds with names.

Conventions: waveforms are float32 ``(batch, n_samples)`` at 16 kHz; log-mels ``(batch, frames, bands)`` in
dB, 100 frames a second; embeddings have unit norm.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from zsaudio.audio import log_mel
from zsaudio.audio.log_mel import LogMel
from zsaudio.models.bundled import ConvBlock
from zsaudio.models.nano.efficientnet import CHANNELS, REACH, SHORTEN, efficientnet

MIN_FRAMES = 4  # a shorter array is padded with zeros


@dataclass(frozen=True)
class TowerConfig:
    """Sizes of the front end and of the last layers."""

    sample_rate: int = 16000
    n_fft: int = 512
    hop_length: int = 160
    n_mels: int = 64
    floor: float = 1e-5
    head: int = 320
    dim: int = 384

    @property
    def stride(self) -> int:
        """Samples from one output frame to the next."""
        return self.hop_length * SHORTEN

    @property
    def context(self) -> int:
        """Samples on either side of an output frame that it depends on."""
        return REACH * self.hop_length + self.n_fft // 2


def mel_filters(config: TowerConfig) -> Tensor:
    """Return the filters of the log-mels, ``(n_fft // 2 + 1, n_mels)``."""
    return log_mel.mel_filters(config.sample_rate, config.n_fft, config.n_mels)


def as_image(mel: Tensor) -> Tensor:
    """Return log-mels ``(batch, frames, bands)`` as ``(batch, 1, frames, bands)``, about normal."""
    return ((mel + 20.0) / 22.0).unsqueeze(1).contiguous(memory_format=torch.channels_last)


class Tower(nn.Module):
    """A waveform in, an embedding per frame out, near the texts that are true of it."""

    def __init__(self, config: TowerConfig, mel: LogMel) -> None:
        super().__init__()
        self.config, self.mel = config, mel
        self.body = efficientnet()
        self.collapse = ConvBlock(
            CHANNELS, config.head, (1, config.n_mels // SHORTEN), padding=0, activation=nn.ReLU6
        )
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(config.head, config.dim)

    @property
    def precision(self) -> torch.dtype:
        """That of the convolutions."""
        return next(self.body.parameters()).dtype

    def features(self, mel: Tensor) -> Tensor:
        """Return features ``(batch, frames // 16, head)`` of log-mels whose length is a multiple of 16."""
        x: Tensor = self.collapse(self.body(as_image(mel).to(self.precision))).to(mel.dtype)
        return x.squeeze(3).transpose(1, 2)

    def embed(self, mel: Tensor) -> Tensor:
        """Return embeddings ``(batch, frames // 16, dim)`` of log-mels."""
        return self.place(self.features(mel))

    def place(self, features: Tensor) -> Tensor:
        """Return the embeddings of features."""
        return normalize(self.out(self.drop(features)).float(), dim=-1)

    def log_mels(self, waveform: Tensor) -> Tensor:
        """Return log-mels of waveforms, whose number is a multiple of 16 and at least 64."""
        frames = max(MIN_FRAMES, math.ceil(waveform.shape[1] / self.config.stride))
        mel: Tensor = self.mel(pad(waveform, (0, frames * self.config.stride - waveform.shape[1])))
        return mel[:, :-1]

    def forward(self, waveform: Tensor) -> Tensor:
        """Return embeddings ``(batch, ceil(n_samples / stride), dim)`` of waveforms."""
        frames = max(1, math.ceil(waveform.shape[1] / self.config.stride))
        return self.embed(self.log_mels(waveform))[:, :frames]


def front_end(config: TowerConfig, filters: Tensor) -> LogMel:
    """Return the part that computes log-mels."""
    return LogMel(filters, config.n_fft, config.hop_length, config.floor)
