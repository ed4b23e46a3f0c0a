"""Models by name: a list of them, and loading.

A checkpoint's ``config.json`` names its ``model_type``, and ``FAMILIES`` the loader of that type. Another
package adds a family by an entry point of the group ``zsaudio.models``: its name is the model type, its
object a function ``(source, device, dtype) -> Model``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from zsaudio.errors import ModelError, ZsaudioError
from zsaudio.models.base import Model, SpeechModel

ENTRY_POINTS = "zsaudio.models"
Loader = Callable[[str, str, str], Model]  # source, device, dtype


@dataclass(frozen=True)
class ModelInfo:
    """A model in the list of ``zsaudio models``.

    ``source`` is the Hugging Face id of its checkpoint; None where the weights are bundled.
    """

    name: str
    source: str | None
    size: str
    licence: str
    good_at: str
    languages: str = "English"


MODELS = {
    info.name: info
    for info in (
        ModelInfo("nano", None, "28 MB", "Apache-2.0", "everyday sounds; small, fast, needs no network"),
        ModelInfo(
            "nano-keyword", None, "7 MB", "Apache-2.0", "spoken keywords, any English words; small, fast"
        ),
        ModelInfo(
            "clap",
            "laion/larger_clap_general",
            "776 MB",
            "Apache-2.0",
            "any sound a sentence can describe; the accurate one",
        ),
        ModelInfo(
            "clap-small",
            "laion/clap-htsat-unfused",
            "614 MB",
            "Apache-2.0",
            "the same, a smaller download, somewhat less accurate",
        ),
        ModelInfo(
            "pe-a-frame-small",
            "facebook/pe-a-frame-small",
            "1.8 GB",
            "Apache-2.0",
            "events with exact times, from any description",
        ),
        ModelInfo(
            "pe-a-frame-base",
            "facebook/pe-a-frame-base",
            "2.2 GB",
            "Apache-2.0",
            "the same, larger and more accurate",
        ),
        ModelInfo(
            "pe-a-frame-large",
            "facebook/pe-a-frame-large",
            "5.6 GB",
            "Apache-2.0",
            "the same, the largest; wants a GPU",
        ),
        ModelInfo(
            "ast",
            "MIT/ast-finetuned-audioset-10-10-0.4593",
            "346 MB",
            "BSD-3-Clause",
            "the 527 classes of AudioSet, and labels close to one of them",
        ),
    )
}


def _at(module: str, name: str) -> Loader:
    """Return a loader that imports its class when it is called: torch takes a second to import."""

    def load(source: str, device: str, dtype: str) -> Model:
        loader: Loader = getattr(import_module(f"zsaudio.models.{module}"), name)
        with _naming(source):
            return loader(source, device, dtype)

    return load


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Raise ModelError, with the name of a model, for whatever a damaged file makes a parser raise."""
    try:
        yield
    except (ZsaudioError, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(
            f"{source or 'the bundled weights'}: damaged, or of another version of zsaudio ({reason})"
        ) from error


def _learned(module: str, name: str) -> Loader:
    """Return a loader of what ``train``, ``adapt`` or ``calibrate`` wrote, on top of another model."""

    def load(source: str, device: str, dtype: str) -> Model:
        kind: Any = getattr(import_module(f"zsaudio.models.learned.{module}"), name)
        model: Model = kind.load(Path(source), lambda base: load_model(base, device=device, dtype=dtype))
        return model

    return load


CLASSIFIERS = (
    "audio-spectrogram-transformer data2vec-audio hubert sew sew-d unispeech unispeech-sat wav2vec2 "
    "wav2vec2-bert wav2vec2-conformer wavlm whisper"
).split()

FAMILIES: dict[str, Loader] = {
    "zsaudio-nano": _at("nano.nano", "load_nano"),
    "zsaudio-nano-keyword": _at("speech.nano_keyword", "load_nano_keyword"),
    "zsaudio-trained": _learned("trained", "Trained"),
    "zsaudio-adapted": _learned("adapted", "Adapted"),
    "zsaudio-standardised": _learned("standardised", "Standardised"),
    "clap": _at("clap.clap", "Clap"),
    "pe_audio": _at("pe_audio", "PeAudio"),
    "pe_audio_video": _at("pe_audio", "PeAudio"),
    **dict.fromkeys(CLASSIFIERS, _at("classifier", "load_classifier")),
}


def available_models() -> list[str]:
    """Return the names that ``load_model`` knows, besides Hugging Face ids and local folders."""
    return list(MODELS)


def model_families() -> dict[str, Loader]:
    """Return the loader of each model type: zsaudio's own, and those that other packages add."""
    added = {point.name: _plugin(point) for point in entry_points(group=ENTRY_POINTS)}
    return {**added, **FAMILIES}


def load_model(model: str, *, device: str = "auto", dtype: str = "auto") -> Model:
    """Load a model.

    Parameters
    ----------
    model
        A name from ``available_models()``, the Hugging Face id of a checkpoint, or a local folder: of such a
        checkpoint, of nano, or what ``zsaudio train`` and ``zsaudio adapt`` wrote.
    device
        ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"`` or ``"mps"``.
    dtype
        Precision of the audio tower: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.

    Raises
    ------
    ModelError
        If there is no such model or device, the checkpoint is of no family that zsaudio knows, or it cannot
        be downloaded or loaded.
    """
    info = MODELS.get(model)
    if info is None and not (model and Path(model).expanduser().is_dir()) and not _is_hub_id(model):
        raise ModelError(
            f"unknown model '{model}'; known are {', '.join(MODELS)}, the Hugging Face id of a "
            "checkpoint (owner/name), or a local folder"
        )
    if info is not None and info.source is None:
        _check_bundled(model)
        return FAMILIES[f"zsaudio-{model}"]("", device, dtype)
    source = model if info is None or info.source is None else info.source
    from zsaudio.models.checkpoint import read_config
    from zsaudio.models.checksums import check_files

    check_files(Path(source))  # of a folder that has any
    config = read_config(source)
    kind = config.get("model_type")
    loader = model_families().get(str(kind))
    if loader is None:
        raise ModelError(
            f"{source}: its config.json is of model type {kind!r}, which zsaudio does not know; it takes "
            f"{', '.join(sorted({*model_families()} - {*CLASSIFIERS}))}, and audio classifiers; or use "
            "--model nano, the bundled one"
        )
    return loader(source, device, dtype)


def load_keyword_model(model: str, *, device: str = "auto") -> SpeechModel:
    """Load a model of speech, for keywords.

    Parameters
    ----------
    model
        ``"nano-keyword"``, or the Hugging Face id or folder of a CTC checkpoint that transformers can load
        (wav2vec2, HuBERT, WavLM, Parakeet, LASR, ...; characters, sub-words or phonemes), or
        ``"torchaudio:MMS_FA"`` or another bundle of ``torchaudio.pipelines`` for recognition or alignment.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If there is no such model or device, or the checkpoint cannot be downloaded or loaded.
    """
    if model == "nano-keyword":
        _check_bundled(model)
        from zsaudio.models.speech.nano_keyword import NanoKeyword

        return NanoKeyword(device=device)
    if model.startswith("torchaudio:"):
        from zsaudio.models.speech.torchaudio_bundle import TorchaudioBundle

        return TorchaudioBundle(model, device)
    if not (model and Path(model).is_dir()) and not _is_hub_id(model):
        raise ModelError(
            f"unknown keyword model '{model}'; known are nano-keyword, the Hugging Face id of a CTC "
            "checkpoint (owner/name), a local folder, or torchaudio:MMS_FA"
        )
    from zsaudio.models.checkpoint import read_config
    from zsaudio.models.checksums import check_files
    from zsaudio.models.speech.ctc import CtcCheckpoint

    if Path(model).is_dir() and read_config(model).get("model_type") == "zsaudio-nano-keyword":
        from zsaudio.models.speech.nano_keyword import NanoKeyword

        check_files(Path(model))
        with _naming(model):
            return NanoKeyword(Path(model), device)
    return CtcCheckpoint(model, device)


def _check_bundled(name: str) -> None:
    from zsaudio.models.checksums import check_files

    check_files(Path(__file__).parent / "weights" / name, "install zsaudio again")


def where_is(info: ModelInfo) -> str:
    """Return where a model's weights are: ``bundled``, ``downloaded`` or ``not here``."""
    if info.source is None:
        return "bundled"
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(info.source, name) for name in ("model.safetensors", "pytorch_model.bin")]
    return "downloaded" if any(isinstance(path, str) for path in found) else "not here"


def _plugin(point: Any) -> Loader:
    """Return a loader that imports another package when it is called, and names it if that fails."""

    def load(source: str, device: str, dtype: str) -> Model:
        try:
            loader: Loader = point.load()
        except Exception as error:
            package = point.dist.name if point.dist else point.value
            raise ModelError(f"{source}: the plug-in {package} cannot be imported ({error})") from error
        return loader(source, device, dtype)

    return load


def _is_hub_id(source: str) -> bool:
    owner, _, name = source.partition("/")
    return bool(owner and name) and "/" not in name and not source.startswith((".", "~", "/"))
