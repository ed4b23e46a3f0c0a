"""The optimiser, learning rate and precision that the networks are trained with."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

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


def depthwise_in_float32(network: Network) -> Network:
    """Let convolutions of each channel alone compute in float32, also within ``autocast``.

    On a processor their gradients take several times as long in bfloat16, which dense ones do not.
    """

    def exactly(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float())

    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.forward = partial(exactly, module.forward)  # type: ignore[method-assign]
    return network


def autocast(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 where a device has it natively; emulated, it takes ten times as long as float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))
