"""An encoder whose embedding space is the spectrum: a prompt with a frequency in it names a tone."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
from typer.testing import CliRunner

from zsaudio import cli
from zsaudio.labels import LabelSet
from zsaudio.models import registry
from zsaudio.models.base import EmbeddingBank, LabelBank, LogitsByComparing, own_bank

BANDS = np.geomspace(100, 6400, 13)  # Hz; an octave has two


class ToneEncoder(LogitsByComparing):
    """Hears tones between 100 and 6400 Hz; a frame every quarter of a second."""

    name = "tone-encoder"
    sample_rate = 16_000
    window_s = 2.0
    context_s = 0.0
    frame_s = 0.25
    dim = len(BANDS)

    def __init__(self) -> None:
        self.n_encoded = 0
        self.prompts: list[str] = []

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.n_encoded += len(windows)
        return [self._window(window) for window in windows]

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        self.prompts += prompts
        return np.stack([self._prompt(prompt) for prompt in prompts])

    def embed_labels(self, labels: LabelSet) -> LabelBank:
        means = np.stack([self.encode_text(own).mean(axis=0) for own in labels.prompts()])
        return EmbeddingBank(labels.names, means / np.linalg.norm(means, axis=1, keepdims=True))

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        labels = own_bank(bank, EmbeddingBank).embeddings
        return [20 * (frames @ labels.T) - 10 for frames in embeddings]

    def _window(self, samples: np.ndarray) -> np.ndarray:
        size = round(self.frame_s * self.sample_rate)
        n_frames = -(-len(samples) // size)
        frames = np.pad(samples, (0, n_frames * size - len(samples))).reshape(n_frames, size)
        power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 + 1e-9
        bins = np.fft.rfftfreq(size, 1 / self.sample_rate)
        return _unit(np.sqrt(power @ _near(bins)).astype(np.float32))

    def _prompt(self, prompt: str) -> np.ndarray:
        found = re.search(r"\d+", prompt)
        if found:
            return _unit(_near(np.array([float(found[0])])))[0].astype(np.float32)
        seed = sum(map(ord, prompt))
        return _unit(np.random.default_rng(seed).normal(size=(1, self.dim)))[0].astype(np.float32)


def _near(frequencies: np.ndarray) -> np.ndarray:
    """How near frequencies are to each band, ``(n_frequencies, n_bands)``."""
    distance = np.log2(np.maximum(frequencies, 1)[:, None]) - np.log2(BANDS)
    return np.exp(-((distance / 0.4) ** 2))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class ToneCommand:
    """Base of tests of commands, with ``ToneEncoder`` in the place of nano."""

    @pytest.fixture(autouse=True)
    def model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        load = registry.load_model
        monkeypatch.setattr(
            registry, "load_model", lambda name, **how: ToneEncoder() if name == "nano" else load(name, **how)
        )

    def run(self, *arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli.app, [*map(str, arguments)])
        return result.exit_code, result.stdout, result.stderr + str(result.exception or "")
