"""Where a model runs."""

import torch

from zsaudio.errors import OptionError

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
