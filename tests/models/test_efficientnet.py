import copy

import pytest
import torch

from zsaudio.models.bundled import ConvBlock
from zsaudio.models.nano.efficientnet import CHANNELS, REACH, SHORTEN, efficientnet


@pytest.fixture(scope="module")
def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    network = efficientnet()
    with torch.no_grad():
        network.train()(torch.randn(4, 1, 160, 64))  # so that normalisation has something to do
    return network.eval()


@torch.no_grad()
def test_it_makes_one_frame_of_sixteen_and_one_band_of_sixteen(network: torch.nn.Module) -> None:
    assert SHORTEN == 16
    assert network(torch.randn(2, 1, 160, 64)).shape == (2, CHANNELS, 10, 4)


@torch.no_grad()
def test_a_frame_depends_on_what_is_within_reach_and_on_nothing_else(network: torch.nn.Module) -> None:
    frames, middle = 640, 20
    before = torch.randn(1, 1, frames, 64)
    kept = network(before)[0, :, middle]
    for distance, same in [(REACH + 1, True), (REACH, False)]:
        after = before.clone()
        after[:, :, : SHORTEN * middle - distance + 1] = 9.0
        changed = not torch.equal(network(after)[0, :, middle], kept)
        assert changed is not same
    after = before.clone()
    after[:, :, SHORTEN * middle + REACH + 1 :] = 9.0
    torch.testing.assert_close(network(after)[0, :, middle], kept, rtol=0, atol=1e-6)


@torch.no_grad()
def test_fused_it_computes_the_same(network: torch.nn.Module) -> None:
    fused = copy.deepcopy(network)
    for module in fused.modules():
        if isinstance(module, ConvBlock):
            module.fuse()
    mel = torch.randn(1, 1, 160, 64)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    torch.testing.assert_close(fused(mel), network(mel), rtol=1e-4, atol=1e-4)
