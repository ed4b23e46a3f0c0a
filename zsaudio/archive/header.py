"""The header of an archive: what its vectors are of, so that they are compared with nothing else."""

from typing import Any

import numpy as np

from zsaudio.archive.words import is_same
from zsaudio.detection.stretches import Stretches
from zsaudio.errors import ArchiveError
from zsaudio.models.base import Encoder, Model, SpeechModel
from zsaudio.models.identity import encoder_id, probe, same_encoder

PIPELINE = 1  # counts changes in how audio becomes vectors


def make_header(name: str, stretches: Stretches, root: str) -> dict[str, Any]:
    """Return what an archive notes of its encoder, which ``load_model`` loads by ``name``."""
    encoder = stretches.encoder
    return {
        "model": name,
        "checksum": encoder_id(encoder),
        "probe": [round(float(value), 6) for value in probe(encoder)],
        "scoring": _scoring(encoder),
        "pipeline": _pipeline(stretches),
        "hop_s": stretches.hop_s,
        "dim": encoder.dim,
        "dtype": "float16",
        "root": root,
    }


def check_model(model: Model, header: dict[str, Any], location: str) -> None:
    """Raise ArchiveError if a model, or the one that it learned on top of, is not that of the vectors."""
    base: Any = getattr(model, "base", model)
    if not hasattr(base, "encode_audio") or not same_encoder(
        probe(base), np.array(header["probe"], np.float32)
    ):
        another = "this version of it" if base.name == header["model"] else f"'{base.name}'"
        raise ArchiveError(
            f"{location}: holds vectors of '{header['model']}', which cannot be compared "
            f"with those of {another}; use the model that made them, or index into another archive"
        )
    pipeline = _pipeline(Stretches(base, float(header["hop_s"])))
    if pipeline != header["pipeline"]:
        raise ArchiveError(
            f"{location}: its vectors were made in another way ({header['pipeline']}) "
            f"than this version of zsaudio makes them ({pipeline}); index into another archive"
        )


def check_keyword_model(model: SpeechModel, header: dict[str, Any], location: str) -> None:
    """Raise ArchiveError if a model of speech is another than the one that listened."""
    noted = header["speech"]
    if not is_same(model, noted):
        raise ArchiveError(
            f"{location}: its words are those of '{noted['model']}', which cannot be "
            f"compared with those of this version of it, or of '{model.name}'; index into another archive"
        )


def _scoring(encoder: Any) -> dict[str, Any]:
    """Return the numbers by which others can score the vectors: scale and bias, and CLAP's background."""
    return {
        name: np.asarray(getattr(encoder, name)).tolist()
        for name in ("scale", "bias", "background")
        if hasattr(encoder, name)
    }


def _pipeline(stretches: Stretches) -> str:
    """Return what vectors depend on besides the weights, in words."""
    encoder: Encoder = stretches.encoder
    plan = stretches.plan
    return (
        f"{PIPELINE}: {encoder.sample_rate} Hz, a vector every {stretches.hop_s:g} s, "
        f"windows of {plan.window / encoder.sample_rate:g} s"
    )
