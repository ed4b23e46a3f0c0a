"""What the two bundled networks share: a convolution block, their config, and loading of their weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn import init
from torch.nn.utils import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from zsaudio.errors import ModelError

Config = TypeVar("Config")


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, activation; ``fuse`` folds the second into the first."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Any = 3,
        stride: Any = 1,
        padding: Any = 1,
        groups: int = 1,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            activation(inplace=True),  # nn.Identity ignores the argument
        )

    def fuse(self) -> None:
        """Fold the normalisation into the convolution; for inference only."""
        convolution, norm = self[0], self[1]
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        self[0] = fuse_conv_bn_eval(convolution, norm)
        self[1] = nn.Identity()


class Blank(TorchFunctionMode):
    """Context manager in which networks are made without random weights, in this thread.

    For weights that ``load_weights`` puts in their place; random ones would take a fifth of nano's start.
    """

    _RANDOM = frozenset((init.uniform_, init.normal_, init.kaiming_uniform_, Tensor.uniform_, Tensor.normal_))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Return the tensor as it is, or what any other function returns."""
        kwargs = kwargs or {}
        if func in self._RANDOM:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def config_from_dict(settings: dict[str, Any], kind: type[Config]) -> Config:
    """Return a config dataclass from what JSON holds, where tuples are lists."""
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})


def load_weights(network: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    """Load weights into a network, ready for inference.

    Raises
    ------
    ModelError
        If names or shapes do not fit the network, which was made from the folder's ``config.json``.
    """
    try:
        missing, unexpected = network.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:  # another shape
        raise ModelError(f"the weights in {folder} do not fit their config.json") from error
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise ModelError(f"the weights in {folder} do not fit their config.json")
    network.eval().requires_grad_(False)
