"""Models by name: what there is, and how to load it."""

import json
from dataclasses import dataclass
from pathlib import Path

from zsaudio.errors import ModelError
from zsaudio.models.base import Model, SpeechModel


@dataclass(frozen=True)
class ModelInfo:
    """What to know of a model before choosing it.

    ``source`` is the Hugging Face id of its checkpoint; None where the weights are bundled.
    """

    name: str
    source: str | None
    size: str
    licence: str
    good_at: str


MODELS = {
    info.name: info
    for info in (
        ModelInfo("nano", None, "19 MB", "Apache-2.0", "everyday sounds; small, fast, needs no network"),
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
    )
}


def available_models() -> list[str]:
    """Return the names that ``load_model`` knows, besides Hugging Face ids and local folders."""
    return list(MODELS)


def load_model(model: str, device: str = "auto", dtype: str = "auto") -> Model:
    """Load a model.

    Parameters
    ----------
    model
        A name from ``available_models()``, the Hugging Face id of a CLAP checkpoint, or a local folder:
        of such a checkpoint, of nano, or what ``zsaudio train`` and ``zsaudio adapt`` wrote.
    device
        ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"`` or ``"mps"``.
    dtype
        Precision of a CLAP model's audio tower: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.

    Raises
    ------
    ModelError
        If there is no such model or device, or the checkpoint cannot be downloaded or loaded.
    """
    source = MODELS[model].source if model in MODELS else model
    if model not in MODELS and not (model and Path(model).is_dir()) and not _is_hub_id(model):
        raise ModelError(
            f"unknown model '{model}'; known are {', '.join(MODELS)}, the Hugging Face id of a CLAP "
            "checkpoint (owner/name), or a local folder"
        )
    # Imported here: torch takes a second to import, and listing models does not need it.
    if source is not None and Path(source).is_dir():
        return _load_folder(Path(source), device, dtype)
    if model == "nano-keyword":
        from zsaudio.models.speech.nano_keyword import NanoKeyword

        return NanoKeyword(device=device)
    if source is None:
        from zsaudio.models.nano.nano import Nano

        return Nano(device=device)
    from zsaudio.models.clap.clap import Clap

    return Clap(source, device=device, dtype=dtype)


def load_keyword_model(model: str, device: str = "auto") -> SpeechModel:
    """Load a model of speech, for keywords.

    Parameters
    ----------
    model
        ``"nano-keyword"``, or the Hugging Face id or folder of a CTC checkpoint that transformers can load
        (wav2vec2, HuBERT, WavLM; characters or phonemes).
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If there is no such model or device, or the checkpoint cannot be downloaded or loaded.
    """
    if model == "nano-keyword":
        from zsaudio.models.speech.nano_keyword import NanoKeyword

        return NanoKeyword(device=device)
    if not (model and Path(model).is_dir()) and not _is_hub_id(model):
        raise ModelError(
            f"unknown keyword model '{model}'; known are nano-keyword, the Hugging Face id of a CTC "
            "checkpoint (owner/name), or a local folder"
        )
    from zsaudio.models.speech.ctc import CtcCheckpoint

    return CtcCheckpoint(model, device)


def _load_folder(folder: Path, device: str, dtype: str) -> Model:
    """Load what a folder holds, by its ``config.json``."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None  # the family of CLAP says best what its folder lacks
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind == "zsaudio-trained":
        from zsaudio.models.learned.trained import Trained

        return Trained.load(folder, lambda base: load_model(base, device, dtype))
    if kind == "zsaudio-adapted":
        from zsaudio.models.learned.adapted import Adapted

        return Adapted.load(folder, lambda base: load_model(base, device, dtype))
    if isinstance(config, dict) and kind is None and "n_mels" in config:
        from zsaudio.models.nano.nano import Nano

        return Nano(folder, device)
    from zsaudio.models.clap.clap import Clap

    return Clap(str(folder), device=device, dtype=dtype)


def where_is(info: ModelInfo) -> str:
    """Say whether a model's weights are on this machine: ``bundled``, ``downloaded`` or ``not here``."""
    if info.source is None:
        return "bundled"
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(info.source, name) for name in ("model.safetensors", "pytorch_model.bin")]
    return "downloaded" if any(isinstance(path, str) for path in found) else "not here"


def _is_hub_id(source: str) -> bool:
    owner, _, name = source.partition("/")
    return bool(owner and name) and "/" not in name and not source.startswith((".", "~", "/"))
