"""The optimiser, learning rate and precision that the networks are trained with."""

import math
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import nn

from zsaudio.models.device import has_bfloat16

Network = TypeVar("Network", bound=nn.Module)


def adamw(parameters: Iterable[nn.Parameter], rate: float, decay: float) -> torch.optim.AdamW:
    """Return AdamW (arXiv 1711.05101) in which matrices and kernels decay; vectors and scalars do not."""
    every = list(parameters)
    groups = [
        {"params": [p for p in every if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, rate, betas=(0.9, 0.98))


def channels_last(network: Network) -> Network:
    """Store pictures with their channels innermost, which convolutions on a CPU are fastest with."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it


def set_rate(optimizer: torch.optim.Optimizer, rate: float, step: int, steps: int, warm_up: int) -> None:
    """Set the learning rate of a step: up in a line, then down to a hundredth along a cosine."""
    factor = min(1.0, step / warm_up) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
    for group in optimizer.param_groups:
        group["lr"] = rate * factor


def autocast(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 where a device has it natively; emulated, it takes ten times as long as float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))
