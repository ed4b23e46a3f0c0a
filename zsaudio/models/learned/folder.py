"""What trained and adapted models share when they are written to a folder and read from it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from zsaudio.errors import ModelError, ZsaudioError
from zsaudio.models.base import Encoder, Model
from zsaudio.models.checksums import write_sums
from zsaudio.models.identity import probe, same_encoder

_HUGE = 1e6


@contextmanager
def explain_damage(folder: Path) -> Iterator[None]:
    """Turn whatever a damaged folder raises while it is read into a ``ModelError``."""
    try:
        yield
    except ZsaudioError:
        raise
    except (AttributeError, KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise ModelError(
            f"{folder}: damaged, or written by another version of zsaudio ({error}); make it again"
        ) from error


def write_folder(
    folder: Path,
    model_type: str,
    source: str,
    base: Encoder,
    arrays: Mapping[str, np.ndarray],
    settings: Mapping[str, Any],
) -> None:
    """Write the arrays and the config of a model that stands on an encoder.

    Parameters
    ----------
    folder
        An existing folder.
    model_type
        Of the model; the registry finds its loader by it.
    source, base
        What ``load_model`` takes for the encoder, and the encoder.
    arrays, settings
        What ``read_folder`` is to return, beside ``model_type`` and ``base``.
    """
    stored = {"probe": probe(base), **arrays}
    save_file({name: np.ascontiguousarray(a) for name, a in stored.items()}, folder / "model.safetensors")
    write_sums(folder, "model.safetensors")
    named = str(Path(source).resolve()) if Path(source).is_dir() else source
    config = {"model_type": model_type, "base": named, **settings}
    # Last, so that a folder with a config is a whole model.
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_folder(
    folder: Path, load_base: Callable[[str], Model]
) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Return the config, the arrays and the encoder of a folder.

    Raises
    ------
    ModelError
        If the encoder is not the one that the folder was made with.
    ValueError
        If a number is none that was ever written: not finite, or huge.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    base: Any = load_base(config["base"])
    arrays = load_file(folder / "model.safetensors")
    for name, value in [*_numbers(config), *((name, np.abs(a).max(initial=0)) for name, a in arrays.items())]:
        if not abs(value) < _HUGE:  # NaN is not, either
            raise ValueError(f"{name} is {value:g}")
    if not same_encoder(probe(base), arrays["probe"]):
        raise ModelError(f"{folder}: was made with another version of '{config['base']}'; make it again")
    return config, arrays, base


def _numbers(settings: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers in settings, nested ones included, each with its name."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        elif isinstance(value, (int, float)):
            yield name, value
