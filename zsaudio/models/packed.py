"""Dense layers on a CPU, with weights that oneDNN packs beforehand, and what follows them in the same pass.

They compute what torch's own layers do, up to rounding. Those multiply by MKL, which is slower than oneDNN on
AMD with AVX-512, and pass over the result once more for an activation.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zsaudio.models.device import has_onednn

_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}


class Packed:
    """A linear layer, optionally with an activation or with a sum, in one pass.

    Parameters
    ----------
    weight, bias
        As those of ``torch.nn.Linear``, ``(outputs, inputs)`` and ``(outputs,)``.
    dtype
        float32 or bfloat16.
    activation
        ``"none"``, or a function of ``torch.nn.functional``: ``"gelu"``, ``"relu"``, ``"hardtanh"``.
    limits
        What comes out of ``"hardtanh"`` lies between these.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        activation: str = "none",
        limits: list[float] | None = None,
    ) -> None:
        self._weight = weight.detach().to(dtype)
        self._bias = None if bias is None else bias.detach().to(dtype)
        self._dtype, self._activation, self._limits = dtype, activation, limits or []
        # with AVX2, oneDNN's own GELU takes twice as long as torch's
        self._separate = dtype == torch.float32 and torch.backends.cpu.get_cpu_capability() == "AVX2"
        self._packed = has_onednn(dtype)
        if self._packed:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight, None)

    def __reduce__(self) -> tuple[Any, ...]:
        """Be pickled with a plain weight, since a packed one cannot be."""
        weight = self._weight.to_dense() if self._packed else self._weight
        return Packed, (weight, self._bias, self._dtype, self._activation, self._limits)

    def __call__(self, x: Tensor, add_to: Tensor | None = None) -> Tensor:
        """Return ``(..., outputs)`` of ``(..., inputs)``."""
        if not self._packed:
            x = functional.linear(x, self._weight, self._bias)
            if self._activation != "none":
                x = getattr(functional, self._activation)(x, *self._limits)
            return x if add_to is None else x + add_to
        multiply: Any = torch.ops.mkldnn._linear_pointwise
        if self._activation == "gelu" and self._separate:
            x = multiply(x, self._weight, self._bias, "none", [], "none")
            torch.ops.aten.gelu_(x)
            return x
        result: Tensor = (
            multiply(x, self._weight, self._bias, self._activation, self._limits, "none")
            if add_to is None
            else multiply.binary(x, add_to, self._weight, self._bias, "add")
        )
        return result


class PackedLinear(nn.Module):
    """Stands for a ``torch.nn.Linear``."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.linear = Packed(layer.weight, layer.bias, layer.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(..., outputs)`` of ``(..., inputs)``."""
        return self.linear(x)


class PackedPointwise(nn.Module):
    """Stands for a 1 x 1 convolution and the activation after it.

    Maps ``(batch, channels, height, width)`` have their channels innermost in memory.
    """

    def __init__(self, layer: nn.Conv2d, activation: nn.Module | None) -> None:
        super().__init__()
        name, limits = _ACTIVATIONS.get(type(activation), ("none", []))  # type: ignore[arg-type]
        self.linear = Packed(layer.weight.flatten(1), layer.bias, layer.weight.dtype, name, limits)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map with other channels."""
        return self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def pack(network: nn.Module) -> None:
    """Let the dense layers of a network compute with packed weights, where oneDNN can; for inference only.

    The network stays as it is elsewhere (a processor that is no x86, for one).
    """
    if not has_onednn(torch.float32):
        return
    for module in list(network.modules()):
        children = list(module.named_children())
        for place, (name, child) in enumerate(children):
            if isinstance(child, nn.Linear):
                setattr(module, name, PackedLinear(child))
            elif isinstance(child, nn.Conv2d) and _is_pointwise(child):
                after = [each for each in children[place + 1 :] if not isinstance(each[1], nn.Identity)][:1]
                follows = isinstance(module, nn.Sequential) and after and type(after[0][1]) in _ACTIVATIONS
                setattr(module, name, PackedPointwise(child, after[0][1] if follows else None))
                if follows:
                    setattr(module, after[0][0], nn.Identity())


def _is_pointwise(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == layer.stride == (1, 1) and layer.groups == 1 and layer.padding == (0, 0)
