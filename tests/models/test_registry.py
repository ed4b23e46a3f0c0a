from pathlib import Path

import pytest

from zsaudio.errors import ModelError
from zsaudio.models.registry import MODELS, available_models, load_model, where_is


def test_available_models() -> None:
    assert available_models() == ["nano", "nano-keyword", "clap", "clap-small"]


@pytest.mark.parametrize("name", ["nanno", "", "/no/such/folder", "./here", "a/b/c"])
def test_unknown_model_lists_the_known(name: str) -> None:
    with pytest.raises(
        ModelError, match=f"unknown model '{name}'; known are nano, nano-keyword, clap, clap-small"
    ):
        load_model(name)


@pytest.mark.parametrize("name", ["clap", "laion/no-such-model"])
def test_hub_model_without_network_offers_nano(name: str, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="--model nano"):
        load_model(name)


def test_a_folder_is_a_checkpoint(clap_slaney: Path) -> None:
    assert load_model(str(clap_slaney), device="cpu").sample_rate == 48_000


def test_where_models_are() -> None:
    assert where_is(MODELS["nano"]) == "bundled"
    assert where_is(MODELS["clap"]) in ("downloaded", "not here")
