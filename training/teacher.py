"""The teacher: EfficientAT's mn04 (F. Schmid et al., ICASSP 2023), which tells AudioSet's classes of a clip.

A MobileNetV3-Large of width 0.4, mean average precision 0.432 on AudioSet. It says what else is true of a
recording than its label; nothing of it ships. The data folder has its weights (``teacher/``).
"""

import csv
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, hardswish, linear, relu

RATE = 32000
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1)
RELU_BLOCKS = 6  # the later ones have Hardswish


def mel_filters() -> Tensor:
    """Return 128 triangular filters, linear in mel (1127 log(1 + f / 700)), ``(128, 512)``."""
    edges = np.linspace(0, 1127 * np.log1p(15000 / 700), 130)[:, None]
    bins = 1127 * np.log1p(np.arange(512) * RATE / 1024 / 700)
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.from_numpy(np.maximum(0, np.minimum(rise, fall))).float()


class Teacher:
    """The network; ``classes`` are the names of its outputs.

    Parameters
    ----------
    data
        The data folder.
    """

    def __init__(self, data: Path) -> None:
        folder = data / "teacher"
        self.weights = load_file(folder / "mn04_as.safetensors")
        with (folder / "classes.csv").open(newline="", encoding="utf-8") as handle:
            self.classes = [row["display_name"] for row in csv.DictReader(handle)]
        self.filters, self.window = mel_filters(), torch.hann_window(800, periodic=False)

    @torch.inference_mode()
    def __call__(self, wave: np.ndarray) -> np.ndarray:
        """Return the probability of each class in a waveform of 32 kHz, one second or more: ``(527,)``."""
        sound = torch.from_numpy(wave[1:] - np.float32(0.97) * wave[:-1])
        spectrum = torch.stft(sound, 1024, 320, 800, self.window, return_complex=True)[:512].abs().square()
        x = (((self.filters @ spectrum + 1e-5).log() + 4.5) / 5)[None, None]
        x = hardswish(self._convolve(x, "features.0", stride=2))
        for number, stride in enumerate(STRIDES, start=1):
            x = self._block(x, f"features.{number}.block", stride, number <= RELU_BLOCKS)
        feature = hardswish(self._convolve(x, "features.16")).mean((2, 3))
        logits = self._linear(hardswish(self._linear(feature, "classifier.2")), "classifier.5")
        return np.asarray(logits[0].sigmoid())

    def _block(self, x: Tensor, name: str, stride: int, with_relu: bool) -> Tensor:
        """Expand, convolve each channel, weigh the channels, project; add the input where it fits."""
        activate, out, part = relu if with_relu else hardswish, x, 0
        if self.weights[f"{name}.0.0.weight"].shape[2] == 1:  # the first block does not expand
            out, part = activate(self._convolve(out, f"{name}.0")), 1
        out = activate(self._convolve(out, f"{name}.{part}", stride))
        squeeze = f"{name}.{part + 1}.conc_se_layers.0"
        if f"{squeeze}.fc1.weight" in self.weights:
            inner = relu(self._linear(out.mean((2, 3)), f"{squeeze}.fc1"))
            out = out * self._linear(inner, f"{squeeze}.fc2").sigmoid()[:, :, None, None]
            part += 1
        out = self._convolve(out, f"{name}.{part + 1}")
        return out + x if out.shape == x.shape else out

    def _convolve(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.weights[f"{name}.0.weight"]
        kernel, groups = weight.shape[2], x.shape[1] // weight.shape[1]
        out = conv2d(x, weight, stride=stride, padding=kernel // 2, groups=groups)
        mean, variance, scale, shift = (
            self.weights[f"{name}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(out, mean, variance, scale, shift, eps=1e-3)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])
