"""The teacher: EfficientAT's mn04 (F. Schmid et al., ICASSP 2023), which tells AudioSet's classes of a clip.

A MobileNetV3-Large of width 0.4, mean average precision 0.432 on AudioSet. It says what else is true of a
recording than its label, and what sounds are alike; nothing of it ships. The data folder has its weights
(``teacher/``).
"""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import (
    batch_norm,
    binary_cross_entropy_with_logits,
    conv2d,
    hardswish,
    linear,
    normalize,
    relu,
)

from training.data import Sound, read_waveform

RATE = 32000
STRETCH_S, LONGEST_S = 2, 8  # it is asked about stretches of a sound, one a second
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

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        """Return the probability of each class in a waveform of 32 kHz, one second or more: ``(527,)``."""
        return self.tell(wave)[0]

    @torch.inference_mode()
    def tell(self, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities of the classes, ``(527,)``, and the features, ``(384,)``."""
        sound = torch.from_numpy(wave[1:] - np.float32(0.97) * wave[:-1])
        spectrum = torch.stft(sound, 1024, 320, 800, self.window, return_complex=True)[:512].abs().square()
        x = (((self.filters @ spectrum + 1e-5).log() + 4.5) / 5)[None, None]
        x = hardswish(self._convolve(x, "features.0", stride=2))
        for number, stride in enumerate(STRIDES, start=1):
            x = self._block(x, f"features.{number}.block", stride, number <= RELU_BLOCKS)
        feature = hardswish(self._convolve(x, "features.16")).mean((2, 3))
        logits = self._linear(hardswish(self._linear(feature, "classifier.2")), "classifier.5")
        return np.asarray(logits[0].sigmoid()), np.asarray(feature[0])

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


class Told:
    """What the teacher says of stretches of sounds; computed once, and kept in ``work/told.npz``.

    Parameters
    ----------
    data, work
        The data folder and the work folder.
    sounds
        All sounds, of whatever run.
    """

    def __init__(self, data: Path, work: Path, sounds: Sequence[Sound]) -> None:
        file, index = work / "told.npz", work / "told.json"
        if not index.exists():
            self._ask(file, index, Teacher(data), sounds)
        self.spans: dict[str, list[int]] = json.loads(index.read_text(encoding="utf-8"))
        with np.load(file) as stored:
            self.probabilities = torch.from_numpy(stored["probabilities"]).float()
            features = torch.from_numpy(stored["features"]).float()
        self.features = normalize(features - features.mean(0), dim=1)

    @staticmethod
    def _ask(file: Path, index: Path, teacher: Teacher, sounds: Sequence[Sound]) -> None:
        spans: dict[str, list[int]] = {}
        told: list[tuple[np.ndarray, np.ndarray]] = []
        for sound in sounds:
            wave = read_waveform(sound.path, RATE)[: LONGEST_S * RATE]
            wave = np.pad(wave, (0, max(0, STRETCH_S * RATE - len(wave))))
            starts = range(0, len(wave) - STRETCH_S * RATE + 1, RATE)
            spans[sound.key] = [len(told), len(told) + len(starts)]
            told += [teacher.tell(wave[start : start + STRETCH_S * RATE]) for start in starts]
        probabilities, features = (np.stack(part).astype(np.float16) for part in zip(*told, strict=True))
        np.savez(file, probabilities=probabilities, features=features)
        index.write_text(json.dumps(spans), encoding="utf-8")

    def row(self, sound: Sound, begin: float) -> int:
        """Return the number of the stretch of a sound that begins nearest to ``begin`` seconds."""
        first, end = self.spans[sound.key]
        return min(end - 1, first + round(begin))


class Pupil(nn.Module):
    """The loss of a network that learns from the teacher, too, with two layers that are for this only.

    Of a scene it tells the probabilities of AudioSet's classes, of several sounds the largest; of a scene of
    one sound it tells the features of the teacher, by their cosine.

    Parameters
    ----------
    told
        What the teacher says.
    sounds
        The sounds that scenes are made of.
    inputs
        Features of a frame that it learns from.
    """

    FEATURES_WEIGHT = 5.0  # of the features' loss, beside that of the classes

    def __init__(self, told: Told, sounds: Sequence[Sound], inputs: int) -> None:
        super().__init__()
        self.told, self.sounds = told, sounds
        self.classes = nn.Linear(inputs, told.probabilities.shape[1])
        self.features = nn.Linear(inputs, told.features.shape[1])
        nn.init.constant_(self.classes.bias, -5.0)

    def forward(self, frames: Tensor, scenes: list[list[int]], begins: list[list[float]]) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        frames
            ``(scenes, frames, inputs)``.
        scenes, begins
            The sounds of each scene, and where in each sound its stretch begins, in seconds.
        """
        rows = [
            [self.told.row(self.sounds[sound], begin) for sound, begin in zip(own, at, strict=True)]
            for own, at in zip(scenes, begins, strict=True)
        ]
        target = torch.stack([self.told.probabilities[own].amax(0) for own in rows])
        logits = self.classes(frames).logsumexp(1) - math.log(frames.shape[1])
        each = binary_cross_entropy_with_logits(logits, target.to(frames.device), reduction="none")
        loss = each.sum(1).mean() / 10
        alone = [scene for scene, own in enumerate(rows) if len(own) == 1]
        if alone:
            said = normalize(self.features(frames[alone].mean(1)), dim=1)
            features = self.told.features[[rows[scene][0] for scene in alone]].to(frames.device)
            loss = loss + self.FEATURES_WEIGHT * (1 - (said * features).sum(1)).sum() / len(rows)
        return loss
