"""Where a model runs, and what to say when its memory is full."""

import contextlib
from collections.abc import Iterator

import torch

from zsaudio.errors import ModelError, OptionError

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(device: str) -> torch.device:
    """Return the torch device for a device option.

    ``auto`` is the GPU where this torch can use one, else the processor. ``cuda`` may carry an index
    (``cuda:1``).

    Raises
    ------
    OptionError
        If the device is unknown, or not available on this machine.
    """
    kind, _, index = device.partition(":")
    if kind not in DEVICES or (index and not (kind == "cuda" and index.isdigit())):
        raise OptionError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}")
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if kind == "auto":
        return torch.device("cuda" if has_cuda else "mps" if has_mps else "cpu")
    missing = f"device {device!r} is not available"
    if kind == "cuda" and not has_cuda:
        why = "finds no GPU" if torch.version.cuda else "is built without CUDA"
        raise OptionError(f"{missing}, torch {torch.__version__} {why}: use 'auto' or 'cpu'")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise OptionError(f"{missing}: this machine has {torch.cuda.device_count()} GPU(s), counted from 0")
    if kind == "mps" and not has_mps:
        raise OptionError(f"{missing}, it needs macOS on Apple silicon: use 'auto' or 'cpu'")
    return torch.device(device)


def is_full_memory(error: RuntimeError) -> bool:
    """Say whether an error of torch means that a device's memory is full, which not all have a class for."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error)


def full_memory(device: torch.device) -> ModelError:
    """Return the error that says what to do when a device's memory is full."""
    return ModelError(
        f"the memory of device '{device}' is full: close other programs that use it, choose dtype 'bfloat16' "
        "or 'float16', or device 'cpu'"
    )


@contextlib.contextmanager
def explaining_full_memory(device: torch.device) -> Iterator[None]:
    """Turn what torch raises when a device's memory is full into an error that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if not is_full_memory(error):
            raise
        raise full_memory(device) from error


def free_cache(device: torch.device) -> None:
    """Give back the memory that torch keeps of a device without using it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
