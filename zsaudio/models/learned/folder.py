"""What trained and adapted models share when they are read from a folder."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from zsaudio.errors import ModelError, ZsaudioError
from zsaudio.models.base import Model
from zsaudio.models.identity import probe, same_encoder


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


def read_folder(
    folder: Path, load_base: Callable[[str], Model]
) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Return the config, the arrays and the encoder of a folder.

    Raises
    ------
    ModelError
        If the encoder is not the one that the folder was made with.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    base: Any = load_base(config["base"])
    arrays = load_file(folder / "model.safetensors")
    if not same_encoder(probe(base), arrays["probe"]):
        raise ModelError(f"{folder}: was made with another version of '{config['base']}'; make it again")
    return config, arrays, base
