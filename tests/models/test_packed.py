import pickle

import pytest
import torch
from torch import nn

from zsaudio.models.device import has_onednn
from zsaudio.models.packed import Packed, PackedLinear, PackedPointwise, pack

needs_onednn = pytest.mark.skipif(not has_onednn(torch.float32), reason="needs oneDNN")


@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_computes_what_torchs_does(activation: str, bias: bool) -> None:
    torch.manual_seed(0)
    layer, x, more = nn.Linear(7, 5, bias=bias), torch.randn(2, 3, 7), torch.randn(2, 3, 5)
    packed = Packed(layer.weight, layer.bias, torch.float32, activation)
    expected = layer(x)
    if activation == "gelu":
        expected = nn.functional.gelu(expected)
    torch.testing.assert_close(packed(x), expected)
    torch.testing.assert_close(pickle.loads(pickle.dumps(packed))(x), expected)
    if activation == "none":
        torch.testing.assert_close(packed(x, add_to=more), expected + more)


@needs_onednn
def test_a_pickled_layer_keeps_its_activation_where_onednn_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(7, 5), 20 * torch.randn(3, 7)
    packed = Packed(layer.weight, layer.bias, torch.float32, "hardtanh", [0.0, 6.0])
    stored = pickle.dumps(packed)
    monkeypatch.setattr("zsaudio.models.packed.has_onednn", lambda dtype: False)
    torch.testing.assert_close(pickle.loads(stored)(x), layer(x).detach().clamp(0, 6))
    torch.testing.assert_close(packed(x), layer(x).detach().clamp(0, 6))


@needs_onednn
@torch.no_grad()
def test_a_packed_network_computes_the_same() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.Identity(), nn.ReLU6(inplace=True)),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.ReLU(inplace=True),
        nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(inplace=True)),
        nn.Conv2d(4, 6, 1),
        nn.Flatten(),
        nn.Linear(6 * 5 * 4, 3),
    )
    x = (10 * torch.randn(2, 3, 5, 4)).contiguous(memory_format=torch.channels_last)
    expected = network(x)
    pack(network)
    torch.testing.assert_close(network(x), expected)
    kinds = [type(module) for module in network.modules()]
    assert (kinds.count(PackedPointwise), kinds.count(PackedLinear)) == (3, 1)
    assert (kinds.count(nn.ReLU), kinds.count(nn.ReLU6), kinds.count(nn.Conv2d)) == (1, 0, 1)


def test_a_convolution_that_is_not_pointwise_stays() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1, stride=2), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(2, 2, 3))
    pack(network)
    assert [type(module) for module in network] == [nn.Conv2d] * 3


def test_without_onednn_a_network_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zsaudio.models.packed.has_onednn", lambda dtype: False)
    network = nn.Sequential(nn.Linear(2, 2))
    pack(network)
    assert type(network[0]) is nn.Linear
