import pytest
import torch
from torch import nn

from zsaudio.models.nano.yamnet import (
    BANDS,
    CONTEXT,
    FEATURES,
    HOP,
    LEAD,
    OFFSET,
    REACH,
    SHORTEN,
    STRIDE,
    WINDOW,
    LogMagnitudes,
    mel_filters,
    yamnet,
)


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return yamnet()


def test_there_are_27_convolutions_of_the_published_sizes(network: nn.Sequential) -> None:
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(layers) == 27
    assert layers[0].weight.shape == (32, 1, 3, 3)
    assert layers[-1].weight.shape == (FEATURES, FEATURES, 1, 1)
    assert sum(layer.stride == (2, 2) for layer in layers) == 4
    assert sum(layer.stride == (1, 2) for layer in layers) == 1


@torch.no_grad()
def test_a_frame_of_features_is_sixteen_of_log_mels(network: nn.Sequential) -> None:
    assert network(torch.randn(2, 1, 10 * SHORTEN, BANDS)).shape == (2, FEATURES, 10, 2)


def test_a_frame_depends_on_as_much_as_is_said_and_lies_amid_it(network: nn.Sequential) -> None:
    mel = torch.randn(1, 1, 50 * SHORTEN, BANDS, requires_grad=True)
    network(mel)[0, :, 25].sum().backward()
    assert mel.grad is not None
    used = mel.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    middle = 25 * SHORTEN + SHORTEN - 1
    assert (int(used.min()), int(used.max())) == (middle - REACH, middle + REACH)
    sample = middle * HOP + WINDOW // 2 - LEAD  # in the middle of that frame
    assert sample == 25 * STRIDE + STRIDE // 2
    assert CONTEXT == REACH * HOP + WINDOW // 2


def test_log_magnitudes_of_a_tone() -> None:
    time = torch.arange(4000) / 16000
    mel = LogMagnitudes(mel_filters())(torch.sin(2 * torch.pi * 1000 * time)[None])
    assert mel.shape == (1, 1 + (4000 - WINDOW) // HOP, BANDS)
    band = int(mel[0].mean(0).argmax())
    assert mel_filters()[:, band].argmax() * 16000 / 512 == pytest.approx(1000, abs=40)
    silence = LogMagnitudes(mel_filters())(torch.zeros(1, 4000))
    torch.testing.assert_close(silence, torch.full_like(silence, OFFSET).log())
