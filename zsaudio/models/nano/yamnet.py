"""The network under nano: YAMNet, as one that slides over a recording of any length.

YAMNet (M. Plakal and D. Ellis, Google, 2019) is a MobileNet (arXiv 1704.04861) that learned 521 classes of
AudioSet from patches of 0.96 s. Here it runs over whole recordings, and its last stride is in the bands only,
with a dilation after it, so that it gives features every 0.16 s in place of one vector a patch. Batch
normalisation is folded into the convolutions.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

RATE = 16_000  # Hz
BANDS = 64
WINDOW, HOP, FFT = 400, 160, 512  # samples
SHORTEN = 16  # log-mel frames for a frame of features
STRIDE = HOP * SHORTEN  # samples from one frame of features to the next
REACH = 157  # log-mel frames on either side that a frame of features depends on
# So much silence comes before the first sample: a frame of features then lies amid the samples it stands for.
LEAD = 1320
CONTEXT = REACH * HOP + WINDOW // 2  # samples on either side
FEATURES = 1024
OFFSET = 0.001  # is added to mel magnitudes before the logarithm

# Channels of the thirteen pairs of a depthwise and a pointwise convolution, and the stride of the former.
PAIRS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]


def mel_filters() -> Tensor:
    """Return the mel filters ``(FFT // 2 + 1, BANDS)``: HTK's scale, 125 to 7,500 Hz.

    For training; the filters are stored with the weights.
    """
    from transformers.audio_utils import mel_filter_bank  # slow to import

    filters = mel_filter_bank(FFT // 2 + 1, BANDS, 125.0, 7500.0, RATE, norm=None, mel_scale="htk")
    return torch.from_numpy(filters).float()


class LogMagnitudes(nn.Module):
    """The logarithm of mel magnitudes, with the sizes above."""

    filters: Tensor
    window: Tensor

    def __init__(self, filters: Tensor) -> None:
        super().__init__()
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return ``(batch, frames, BANDS)`` of ``(batch, n_samples)``, one frame for each whole window."""
        frames = waveform.unfold(1, WINDOW, HOP)
        # Few frames at a time: their spectra then stay in the CPU's cache.
        parts = [self._mel(part) for part in torch.split(frames, 128, dim=1)]
        return (torch.cat(parts, 1) + OFFSET).log()

    def _mel(self, frames: Tensor) -> Tensor:
        """Return mel magnitudes of frames; the square root is faster than torch's absolute value."""
        spectrum = torch.fft.rfft(frames * self.window, FFT)
        magnitude = (spectrum.real.square() + spectrum.imag.square()).sqrt()
        mel: Tensor = magnitude @ self.filters
        return mel


class Same(nn.Module):
    """Pads for a 3 x 3 kernel as TensorFlow's "SAME" does: with a stride of 2, at the end only."""

    def __init__(self, time: bool, bands: bool) -> None:
        super().__init__()
        self.time, self.bands = time, bands

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, channels, frames, bands)``, padded where a stride is 2."""
        return pad(x, (0, int(self.bands), 0, int(self.time)))


def convolution(
    inputs: int, outputs: int, kernel: int, stride: tuple[int, int], dilation: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a convolution with what goes before and after it; a stride is that of frames and of bands."""
    whole = kernel > 1
    sides = dilation * (whole and stride[0] == 1), int(whole and stride[1] == 1)
    layer = nn.Conv2d(inputs, outputs, kernel, stride, sides, (dilation, 1), groups)
    padding = [Same(stride[0] == 2, stride[1] == 2)] if 2 in stride else []
    return [*padding, layer, nn.ReLU(inplace=True)]


def pair(inputs: int, outputs: int, stride: tuple[int, int], dilation: int = 1) -> nn.Sequential:
    """Return a depthwise and a pointwise convolution."""
    depthwise = convolution(inputs, inputs, 3, stride, dilation, inputs)
    return nn.Sequential(*depthwise, *convolution(inputs, outputs, 1, (1, 1)))


def yamnet() -> nn.Sequential:
    """Return the network: ``(batch, 1, frames, BANDS)`` to ``(batch, FEATURES, frames / SHORTEN, 2)``.

    The number of frames is a multiple of ``SHORTEN``. The mean over the last axis is the feature.
    """
    layers, inputs = [nn.Sequential(*convolution(1, 32, 3, (2, 2)))], 32
    for outputs, step in PAIRS[:-2]:
        layers.append(pair(inputs, outputs, (step, step)))
        inputs = outputs
    return nn.Sequential(
        *layers, pair(inputs, FEATURES, (1, 2)), pair(FEATURES, FEATURES, (1, 1), dilation=2)
    )
