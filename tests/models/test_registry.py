import subprocess
import sys
from pathlib import Path

import pytest

from zsaudio.errors import ModelError
from zsaudio.models.nano import nano as nano_module
from zsaudio.models.registry import MODELS, available_models, load_keyword_model, load_model, where_is
from zsaudio.models.speech import nano_keyword as nano_keyword_module
from zsaudio.models.speech.pronunciation import WEIGHTS as KEYWORD_WEIGHTS


def test_available_models() -> None:
    assert available_models() == [
        "nano",
        "nano-keyword",
        "clap",
        "clap-small",
        "pe-a-frame-small",
        "pe-a-frame-base",
        "pe-a-frame-large",
        "ast",
    ]


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


def test_every_bundled_and_made_checkpoint_names_its_type(tmp_path: Path) -> None:
    assert isinstance(load_model(str(nano_module.WEIGHTS)), nano_module.Nano)
    loaded = load_keyword_model(str(KEYWORD_WEIGHTS))
    assert isinstance(loaded, nano_keyword_module.NanoKeyword)
    assert isinstance(load_model("nano-keyword"), nano_keyword_module.NanoKeyword)


def test_a_checkpoint_of_no_known_family_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(
        ModelError,
        match=r"of model type 'bert', which zsaudio does not know; it takes clap",
    ):
        load_model(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"]}')
    with pytest.raises(ModelError, match="is a Wav2Vec2ForCTC checkpoint, for keywords: use it"):
        load_model(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "whisper", "architectures": ["WhisperModel"]}')
    with pytest.raises(ModelError, match="is a WhisperModel checkpoint, without a head for audio class"):
        load_model(str(tmp_path))


PLUGIN = """
class Deaf:
    name, sample_rate, window_s, context_s, frame_s = "deaf", 16_000, 2.0, 0.0, 2.0
    def __init__(self, source, device, dtype):
        self.source = source
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that adds a family, and a checkpoint of it."""
    site = tmp_path / "site"
    info = site / "deaf_audio-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "deaf_audio.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: deaf-audio\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zsaudio.models]\ndeaf = deaf_audio:Deaf\nbroken = nowhere:X\n")
    monkeypatch.syspath_prepend(str(site))
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    return checkpoint


def test_another_package_adds_a_family(plugin: Path) -> None:
    (plugin / "config.json").write_text('{"model_type": "deaf"}')
    model = load_model(str(plugin))
    assert model.name == "deaf" and model.source == str(plugin)  # type: ignore[attr-defined]
    (plugin / "config.json").write_text('{"model_type": "broken"}')
    with pytest.raises(ModelError, match="the plug-in deaf-audio cannot be imported"):
        load_model(str(plugin))


def test_listing_models_imports_no_torch() -> None:
    code = "import sys, zsaudio; zsaudio.available_models(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_folder_is_a_checkpoint(clap_slaney: Path) -> None:
    assert load_model(str(clap_slaney), device="cpu").sample_rate == 48_000


def test_where_models_are() -> None:
    assert where_is(MODELS["nano"]) == "bundled"
    assert where_is(MODELS["clap"]) in ("downloaded", "not here")
