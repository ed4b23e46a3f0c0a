"""Keywords by torchaudio's bundles: its own code where it is installed, else a module that stands for it."""

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zsaudio.errors import LabelError, ModelError
from zsaudio.models.registry import load_keyword_model
from zsaudio.models.speech import torchaudio_bundle
from zsaudio.models.speech.torchaudio_bundle import TorchaudioBundle
from zsaudio.recognizer import Recognizer

LETTERS = ("-", *"aienoutsrmkldghybpwcvjzf'qx", "*")
UPPER = ("-", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")


class MadeNetwork(nn.Module):
    """As bundles: ``(batch, n_samples)`` in, log-probabilities every 320 samples and None out."""

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(1, n_labels, 400, 320)

    def forward(self, waveform: Tensor) -> tuple[Tensor, None]:
        return self.convolution(waveform[:, None]).transpose(1, 2).log_softmax(-1), None


def made_network(labels: tuple[str, ...]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return MadeNetwork(len(labels)).eval()


def own_network(labels: tuple[str, ...]) -> nn.Module:
    """The class of MMS_FA with few parameters, random, as ``get_model`` wraps it."""
    from torchaudio.models import wav2vec2_model
    from torchaudio.pipelines._wav2vec2 import utils

    layers = [(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2
    star = "*" in labels
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = wav2vec2_model(
            "layer_norm", layers, True, 32, 0.0, 16, 4, 2, 2, 0.0, 48, 0.0, 0.0, True, 0.0, len(labels) - star
        )
    extended: nn.Module = utils._extend_model(network, True, apply_log_softmax=star, append_star=star)
    return extended.eval()


@pytest.fixture(params=["made", "torchaudio"])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], nn.Module]:
    if request.param == "torchaudio":
        pipelines = pytest.importorskip("torchaudio").pipelines
        monkeypatch.setattr(type(pipelines.MMS_FA), "get_model", lambda _: own_network(LETTERS))
        recognition = type(pipelines.WAV2VEC2_ASR_BASE_960H)
        monkeypatch.setattr(recognition, "get_model", lambda _: own_network(UPPER))
        return own_network

    def bundle(labels: tuple[str, ...]) -> Any:
        return SimpleNamespace(
            sample_rate=16_000, get_labels=lambda: labels, get_model=lambda: made_network(labels)
        )

    made: Any = ModuleType("torchaudio")
    made.pipelines = SimpleNamespace(
        MMS_FA=bundle(LETTERS), WAV2VEC2_ASR_BASE_960H=bundle(UPPER), HUBERT_BASE=SimpleNamespace()
    )
    monkeypatch.setitem(sys.modules, "torchaudio", made)
    return made_network


@pytest.fixture(autouse=True)
def no_romaniser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchaudio_bundle, "_romaniser", lambda: None)


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


def spelled(model: TorchaudioBundle, text: str) -> list[str]:
    names = {number: label for label, number in model._number.items()}
    return ["".join(names[number] for number in way) for way in model.symbols(text)]


def load(name: str) -> TorchaudioBundle:
    model = load_keyword_model(f"torchaudio:{name}")
    assert isinstance(model, TorchaudioBundle)
    return model


@pytest.mark.parametrize(("name", "labels"), [("MMS_FA", LETTERS), ("WAV2VEC2_ASR_BASE_960H", UPPER)])
def test_the_numbers_are_those_of_the_bundle(
    name: str, labels: tuple[str, ...], network: Callable[[Any], nn.Module]
) -> None:
    model, samples = load(name), noise(2.0)
    assert (model.sample_rate, model.frame_s) == (16_000, 0.02)
    with torch.inference_mode():
        expected = network(labels)(torch.from_numpy(samples)[None])[0][0].log_softmax(-1)
    letters = len(labels) - ("*" in labels)
    (found,) = model.log_probs([samples])
    assert found.shape == (100, letters) and expected.shape[0] == 99  # convolutions without padding
    np.testing.assert_allclose(found[:99], expected[:, :letters], atol=1e-5)


def test_spelling(network: Callable[[Any], nn.Module]) -> None:
    fa, recognition = load("MMS_FA"), load("WAV2VEC2_ASR_BASE_960H")
    assert spelled(fa, "Guten Morgen!") == ["gutenmorgen"]  # it has no word delimiter
    assert spelled(fa, "Café, l'été, Straße") == ["cafel'etestrasse"]
    assert spelled(fa, "привет /privet/") == ["privet"]
    assert spelled(recognition, "hey computer") == ["HEY|COMPUTER"]
    assert spelled(recognition, "Café") == ["CAFE"]


def test_other_scripts_need_a_romaniser(
    network: Callable[[Any], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load("MMS_FA")
    with pytest.raises(LabelError, match=r"keyword 'привет': torchaudio:MMS_FA has no letter .*uroman"):
        model.symbols("привет")
    romaniser = SimpleNamespace(romanize_string={"привет": "Privet"}.__getitem__)
    monkeypatch.setattr(torchaudio_bundle, "_romaniser", lambda: romaniser)
    assert spelled(model, "привет") == ["privet"]


def test_uroman_itself(network: Callable[[Any], nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    uroman = pytest.importorskip("uroman")
    romaniser = uroman.Uroman()
    monkeypatch.setattr(torchaudio_bundle, "_romaniser", lambda: romaniser)
    assert [spelled(load("MMS_FA"), text) for text in ("привет", "नमस्ते")] == [["privet"], ["namaste"]]


@pytest.mark.parametrize("seconds", [0.01, 25.0])
def test_it_listens(seconds: float, network: Callable[[Any], nn.Module]) -> None:
    recognizer = Recognizer(["keyword: buenos días"], keyword_model="torchaudio:MMS_FA")
    (tag,) = recognizer.tag(noise(seconds), 16_000)
    assert tag.label == "keyword: buenos días" and 0 <= tag.score <= 1
    assert {event.label for event in recognizer.detect(noise(seconds), 16_000)} <= {tag.label}


def test_no_such_bundle(network: Callable[[Any], nn.Module]) -> None:
    for name in ("NOPE", "HUBERT_BASE"):  # the second has no letters
        with pytest.raises(ModelError, match=f"no bundle 'torchaudio:{name}' .*; known are .*MMS_FA"):
            load(name)


def test_weights_that_cannot_be_had(
    network: Callable[[Any], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchaudio import pipelines

    def fail(*_: Any) -> None:
        raise OSError("no route to host\nand more")

    owner = pipelines.MMS_FA if isinstance(pipelines.MMS_FA, SimpleNamespace) else type(pipelines.MMS_FA)
    monkeypatch.setattr(owner, "get_model", fail)
    with pytest.raises(ModelError, match=r"\(no route to host\): check the connection, or use"):
        load("MMS_FA")


def test_without_torchaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(ModelError, match=r"needs torchaudio, .* pip install .*torchaudio"):
        load("MMS_FA")


def test_a_broken_torchaudio(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "torchaudio.py").write_text("raise OSError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    with pytest.raises(ModelError, match=r"does not work with torch .*torch==2\.11\.0 torchaudio==2\.11\.0"):
        load("MMS_FA")
