"""The network of nano-keyword: from a waveform to log-probabilities of phonemes per frame.

A log-mel spectrogram goes through two small convolutions over time and frequency, then through residual
blocks over time, each of a depthwise convolution and two dense layers (after QuartzNet, arXiv 1910.10261, and
ConvNeXt, arXiv 2201.03545). The network was trained with connectionist temporal classification (CTC; Graves
et al., ICML 2006): each frame holds the probabilities of the phonemes and of *blank*, which is symbol 0.

Conventions: waveforms are float32 ``(batch, n_samples)`` at ``sample_rate``; log-mels are
``(batch, frames, bands)`` in dB, ``hop_length`` samples apart; three of them make an output frame. An output
frame depends on ``before`` samples before its start and ``after`` samples after it, no more.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils import fuse_conv_bn_eval

from zsaudio.audio.log_mel import LogMel, mel_filters
from zsaudio.models.bundled import ConvBlock
from zsaudio.models.speech.phonemes import PHONEMES

SHORTEN = 3  # log-mel frames per output frame


@dataclass(frozen=True)
class KeywordConfig:
    """Sizes of the network; stored with the weights."""

    # front end
    sample_rate: int = 16000
    n_fft: int = 512
    hop_length: int = 160
    n_mels: int = 64
    floor: float = 1e-5
    # channels of the two convolutions; then one block per number in ``ahead``: the later frames it depends on
    stem: tuple[int, int] = (16, 32)
    width: int = 256
    expand: int = 2
    kernel: int = 5
    ahead: tuple[int, ...] = (1, 1, 0, 1, 1, 0, 1, 0, 1, 0)
    symbols: int = len(PHONEMES) + 1
    warps: tuple[float, ...] = (1.0, 1.07)  # of the mel axis; the output is the mean over them

    @property
    def stride(self) -> int:
        """Samples from one output frame to the next."""
        return SHORTEN * self.hop_length

    @property
    def before(self) -> int:
        """Samples before an output frame that it depends on."""
        frames = sum(self.kernel - 1 - ahead for ahead in self.ahead)
        return frames * self.stride + 2 * self.hop_length + self.n_fft // 2

    @property
    def after(self) -> int:
        """Samples after an output frame that it depends on."""
        return sum(self.ahead) * self.stride + 2 * self.hop_length + self.n_fft // 2


class Block(nn.Module):
    """A residual block: a convolution of each channel over time, then dense layers over the channels."""

    def __init__(self, width: int, expand: int, kernel: int, ahead: int, drop: float = 0.0) -> None:
        super().__init__()
        self.margin = (kernel - 1 - ahead, ahead)
        self.depthwise = nn.Conv1d(width, width, kernel, groups=width, bias=False)
        self.norm: nn.Module = nn.BatchNorm1d(width)
        self.up = nn.Linear(width, expand * width)
        self.drop = nn.Dropout(drop)
        self.down = nn.Linear(expand * width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, frames, width)`` for an input of that shape."""
        y = self.norm(self.depthwise(pad(x.transpose(1, 2), self.margin))).transpose(1, 2)
        y = self.down(self.drop(torch.relu(self.up(y))))
        added: Tensor = x + y
        return added

    def fuse(self) -> None:
        """Fold the normalisation into the convolution; for inference only."""
        assert isinstance(self.norm, nn.BatchNorm1d)
        self.depthwise = fuse_conv_bn_eval(self.depthwise, self.norm)
        self.norm = nn.Identity()


def warp(mel: Tensor, factors: float | Tensor) -> Tensor:
    """Stretch the mel axis of ``(batch, frames, bands)`` by a factor, or by one per row, ``(batch, 1)``."""
    bands = mel.shape[2]
    at = (torch.arange(bands, device=mel.device) * factors).clamp(max=bands - 1).expand(len(mel), bands)
    low = at.floor().long().clamp(max=bands - 2)
    high_share = (at - low).unsqueeze(1)
    low = low.unsqueeze(1).expand_as(mel)
    return torch.gather(mel, 2, low) * (1 - high_share) + torch.gather(mel, 2, low + 1) * high_share


class KeywordNetwork(nn.Module):
    """Log-probabilities of phonemes over time.

    Parameters
    ----------
    config
        Its sizes.
    """

    def __init__(self, config: KeywordConfig) -> None:
        super().__init__()
        self.config = config
        filters = mel_filters(config.sample_rate, config.n_fft, config.n_mels)
        self.mel = LogMel(filters, config.n_fft, config.hop_length, config.floor)
        first, second = config.stem
        self.stem = nn.Sequential(
            ConvBlock(1, first, (3, 3), (1, 2), (1, 1)),
            ConvBlock(first, second, (5, 3), (SHORTEN, 2), (1, 1)),
        )
        self.inner = nn.Linear(second * config.n_mels // 4, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.expand, config.kernel, ahead) for ahead in config.ahead
        )
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, config.symbols)

    def fuse(self) -> None:
        """Fold normalisations into convolutions; for inference only."""
        for module in self.modules():
            if isinstance(module, (Block, ConvBlock)):
                module.fuse()

    def averaged_log_probs(self, mel: Tensor) -> Tensor:
        """Return the mean of ``frame_log_probs`` over warps of the mel axis, normalised again.

        Voices differ in the length of the vocal tract, which stretches the mel axis (Jaitly & Hinton, 2013).
        A phoneme that shows in one stretch only is often a mistake.
        """
        warped = [
            self.frame_log_probs(mel if factor == 1.0 else warp(mel, factor)) for factor in self.config.warps
        ]
        return torch.log_softmax(torch.stack(warped).mean(dim=0), dim=-1)

    def frame_log_probs(self, mel: Tensor) -> Tensor:
        """Return log-probabilities ``(batch, frames // 3, symbols)`` of log-mels, a multiple of 3 frames."""
        x = self.stem(((mel + 20.0) / 22.0).unsqueeze(1).contiguous(memory_format=torch.channels_last))
        x = self.inner(x.permute(0, 2, 3, 1).flatten(2))
        for block in self.blocks:
            x = block(x)
        return torch.log_softmax(self.out(self.norm(x)).float(), dim=-1)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return log-probabilities ``(batch, ceil(n_samples / stride), symbols)``."""
        stride = self.config.stride
        frames = max(1, -(-waveform.shape[1] // stride))
        mel = self.mel(pad(waveform, (0, frames * stride - waveform.shape[1])))
        return self.averaged_log_probs(mel[:, :-1])
