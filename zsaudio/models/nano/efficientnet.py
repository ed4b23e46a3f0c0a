"""The convolutions of nano's audio tower: the first five stages of EfficientNet-Lite0, on log-mels.

EfficientNet (Tan & Le, ICML 2019) is made of inverted residual blocks (MobileNetV2, arXiv 1801.04381): widen
the channels, convolve each of them alone, narrow again. The Lite variant has no squeeze-and-excitation, which
would pool over all time: what comes out depends on nothing farther away than ``REACH`` frames.

Conventions: maps are ``(batch, channels, frames, bands)``.
"""

from torch import Tensor, nn

from zsaudio.models.bundled import ConvBlock

STEM = 32  # channels of the first convolution, which halves frames and bands
STAGES = (  # widening, kernel, stride over frames and bands, channels, blocks
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
)


class InvertedResidual(nn.Module):
    """Widen, convolve each channel, narrow; added to the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, widen: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = widen * inputs
        layers: list[nn.Module] = []
        if widen > 1:
            layers.append(ConvBlock(inputs, wide, 1, padding=0, activation=nn.ReLU6))
        layers += [
            ConvBlock(wide, wide, kernel, stride, kernel // 2, groups=wide, activation=nn.ReLU6),
            ConvBlock(wide, outputs, 1, padding=0, activation=nn.Identity),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of as many frames and bands as ``x``, or of half as many."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


def efficientnet() -> nn.Sequential:
    """Return the network, ``(batch, 1, frames, bands)`` to ``(batch, CHANNELS, frames/16, bands/16)``."""
    layers: list[nn.Module] = [ConvBlock(1, STEM, stride=2, activation=nn.ReLU6)]
    inputs = STEM
    for widen, kernel, stride, outputs, blocks in STAGES:
        for block in range(blocks):
            layers.append(InvertedResidual(inputs, outputs, widen, kernel, stride if block == 0 else 1))
            inputs = outputs
    return nn.Sequential(*layers)


def _reach() -> tuple[int, int]:
    step, reach = 2, 1
    for _, kernel, stride, _, blocks in STAGES:
        for block in range(blocks):
            reach += kernel // 2 * step
            if block == 0:
                step *= stride
    return step, reach


CHANNELS = STAGES[-1][3]
SHORTEN, REACH = _reach()  # frames to one that comes out; frames on either side that it depends on
