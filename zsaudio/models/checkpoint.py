"""Find a checkpoint and load parts of it with transformers, with errors a user can act on.

A checkpoint is a folder: the user's own, or the snapshot of a Hugging Face repository. One that is already
on this machine is used as it is, without asking the network. Nothing is printed while loading, and
transformers' settings are as before afterwards.
"""

import contextlib
import hashlib
import json
import logging
import traceback
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zsaudio.errors import ModelError

_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")  # of a model in both formats, the first is taken


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint: its name, the model types of its ``config.json``, and what to use without it."""

    name: str
    model_types: Collection[str]
    instead: str
    needs_tokenizer: bool = True


CLAP = Kind("CLAP", ("clap",), "--model nano, the bundled one")
log = logging.getLogger("zsaudio")


def find_checkpoint(source: str, kind: Kind = CLAP) -> Path:
    """Return the folder of a checkpoint, downloading it if it is not on this machine.

    Raises
    ------
    ModelError
        If there is no such model, or the folder does not hold a complete checkpoint of this kind.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = _from_hub(source, kind)
    _check(folder, kind)
    return folder


def read_config(source: str) -> dict[str, Any]:
    """Return the ``config.json`` of a checkpoint: a folder, or a Hugging Face id, from its cache or the hub.

    Raises
    ------
    ModelError
        If there is none, or it cannot be read.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = _config_from_hub(source)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: not a checkpoint, it has no config.json") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: its config.json cannot be read ({_first_line(error)})") from error
    return config if isinstance(config, dict) else {}


def fingerprint(folder: Path) -> str:
    """Return a text that changes with a checkpoint's files: the commit of a snapshot, else a fingerprint."""
    if folder.parent.name == "snapshots":
        return folder.name
    files = sorted(path for path in folder.iterdir() if path.is_file())
    listing = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def load_part(part: Any, folder: Path, **options: Any) -> Any:
    """Call ``part.from_pretrained`` for a model, extractor or tokenizer class, quietly and checked.

    A model comes in float32, ready for inference.
    """
    is_model = issubclass(part, torch.nn.Module)
    if is_model:
        options |= {"dtype": torch.float32, "output_loading_info": True}
    try:
        with _quiet():
            loaded = part.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # whatever a damaged file makes a parser raise
        what = "its weights are" if is_model else "one of its JSON or text files is"
        raise ModelError(
            f"{folder}: cannot be loaded, {what} damaged or of another model ({_first_line(error)})"
        ) from error
    if not is_model:
        return loaded
    model, report = loaded
    # transformers fills what it does not find with random numbers.
    if report["missing_keys"]:
        raise ModelError(
            f"{folder}: its weights lack {min(report['missing_keys'])}, so they are of another model"
        )
    return model.eval().requires_grad_(False)


@contextlib.contextmanager
def importing_transformers() -> Iterator[None]:
    """Explain the failure of an import of transformers' audio classes because of a broken torchaudio."""
    try:
        yield
    except (ImportError, OSError, RuntimeError) as error:
        if "torchaudio" not in traceback.format_exc():
            raise
        raise ModelError(
            f"torchaudio is installed but does not work with torch {torch.__version__}, so transformers does "
            "not work either: run `pip uninstall torchaudio`, or install a pair that works, "
            "torch==2.11.0 torchaudio==2.11.0"
        ) from error


def _config_from_hub(source: str) -> Path:
    """Return the folder of the ``config.json`` of a Hugging Face repository, downloaded if need be."""
    from huggingface_hub import hf_hub_download

    try:
        with contextlib.suppress(FileNotFoundError):
            return Path(hf_hub_download(source, "config.json", local_files_only=True)).parent
        log.info("%s is not on this computer: asking the Hugging Face hub for it", source)
        with _hub_hushed():
            return Path(hf_hub_download(source, "config.json")).parent
    except (OSError, ValueError) as error:
        raise _unavailable(source, error, "--model nano, the bundled one") from error


@contextlib.contextmanager
def _hub_hushed() -> Iterator[None]:
    """Keep the hub's library from writing two lines about each attempt to reach it."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _from_hub(source: str, kind: Kind) -> Path:
    """Return the snapshot of a Hugging Face repository, downloaded if need be."""
    from huggingface_hub import snapshot_download

    try:
        # A part of it may be here, fetched by another program.
        with contextlib.suppress(FileNotFoundError, ModelError):
            folder = Path(snapshot_download(source, local_files_only=True))
            _check(folder, kind)
            return folder
        for weights in _WEIGHTS:
            with _hub_hushed():
                folder = Path(snapshot_download(source, allow_patterns=["*.json", "*.txt", weights]))
            if _weights(folder):
                break
        return folder
    except (OSError, ValueError) as error:
        raise _unavailable(source, error, kind.instead) from error


def _unavailable(source: str, error: Exception, instead: str) -> ModelError:
    reason = error.__cause__ if isinstance(error.__cause__, Exception) else error  # of a lost connection
    return ModelError(
        f"model {source!r} is neither a folder nor in the Hugging Face cache, and cannot be downloaded "
        f"({_first_line(reason)}): check the name and the connection, or use {instead}"
    )


def _weights(folder: Path) -> list[Path]:
    return [path for pattern in _WEIGHTS for path in folder.glob(pattern)]


def _check(folder: Path, kind: Kind) -> None:
    """Raise if a folder does not hold all files of a checkpoint."""
    name = kind.name
    model_type = read_config(str(folder)).get("model_type")
    if model_type not in kind.model_types:
        raise ModelError(
            f"{folder}: not a {name} checkpoint, its config.json is of model type {model_type!r}"
        )
    if not _weights(folder):
        raise ModelError(f"{folder}: not a complete {name} checkpoint, it has no {' or '.join(_WEIGHTS)}")
    needed = [("preprocessor_config.json", "processor_config.json")]
    if kind.needs_tokenizer:
        needed.append(("tokenizer.json", "vocab.json"))
    for files in needed:
        if not any((folder / file).is_file() for file in files):
            raise ModelError(f"{folder}: not a complete {name} checkpoint, it has no {' or '.join(files)}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from writing to stderr, and put its settings back afterwards."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars
    from transformers import utils

    theirs: Any = utils.logging
    verbosity, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    no_hub_bars = are_progress_bars_disabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()  # huggingface_hub's too
    try:
        yield
    finally:
        theirs.set_verbosity(verbosity)
        if bars:
            theirs.enable_progress_bar()
            if no_hub_bars:
                disable_progress_bars()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
