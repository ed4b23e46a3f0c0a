"""Devices: which there are, what they can do, and what to do when one is out of memory."""

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import torch

from zsaudio.errors import ModelError, OptionError

Auto = TypeVar("Auto")

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: str) -> torch.device:
    """Return the torch device for a device option.

    ``auto`` is the GPU where torch can use one, else the CPU. ``cuda`` may carry an index
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


def resolve_dtype(dtype: str, device: torch.device, auto: Auto) -> torch.dtype | Auto:
    """Return the torch type for a precision option, for ``"auto"`` what ``auto`` is.

    Raises
    ------
    OptionError
        If there is no such precision, or the device cannot compute in it.
    """
    if dtype == "auto":
        return auto
    if dtype not in DTYPES:
        raise OptionError(f"unknown dtype {dtype!r}: choose one of auto, {', '.join(DTYPES)}")
    if dtype == "float16" and device.type == "cpu":
        raise OptionError("dtype 'float16' needs a GPU: use 'bfloat16' or 'float32' on a CPU")
    return DTYPES[dtype]


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 matrices natively; emulated, they are slow."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not has_onednn(torch.bfloat16):
        return False
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # old torch cannot tell
    return capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)


def has_onednn(dtype: torch.dtype) -> bool:
    """Return whether torch multiplies matrices of a type by oneDNN on this CPU."""
    mkldnn: Any = torch.backends.mkldnn
    available = mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return bool(available and (dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of torch means out of memory; some devices have no error class of their own."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error)


def out_of_memory(device: torch.device) -> ModelError:
    """Return the error that says what to do when a device is out of memory."""
    return ModelError(
        f"device '{device}' is out of memory: close other programs that use it, choose dtype 'bfloat16' "
        "or 'float16', or device 'cpu'"
    )


@contextlib.contextmanager
def explain_out_of_memory(device: torch.device) -> Iterator[None]:
    """Turn torch's out-of-memory error into one that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(device) from error


def free_cache(device: torch.device) -> None:
    """Release the memory of a device that torch keeps without using it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
