"""Audio that the tests make themselves, and a model whose answers are known."""

import builtins
import csv
import io
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from clap_checkpoint import save_clap_checkpoint
from hypothesis import settings

import zsaudio.cli
from zsaudio.labels import LabelSet
from zsaudio.models.base import EmbeddingBank, LabelBank, own_bank
from zsaudio.models.registry import load_model

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests out of the user's cache, and off the network."""
    monkeypatch.setenv("ZSAUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def usual_log() -> None:
    """Undo what ``--quiet`` or ``--verbose`` in another test did to the package's log."""
    logging.getLogger("zsaudio").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def clap_slaney(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clap_checkpoint(tmp_path_factory.mktemp("clap-slaney"), "rand_trunc")


@pytest.fixture(scope="session")
def clap_htk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clap_checkpoint(tmp_path_factory.mktemp("clap-htk"), "fusion")


def tone(frequency: float, seconds: float, rate: int = 16_000, amplitude: float = 0.5) -> np.ndarray:
    """A sine as float32 ``(n_samples,)``."""
    time_s = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time_s)).astype(np.float32)


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Ray look as if it was not installed."""
    real = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "ray":
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)


@pytest.fixture
def heeding_hangups() -> Iterator[None]:
    """Let processes that a test starts end on SIGHUP, also where the tests run under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def write_wav(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, samples: np.ndarray, rate: int = 16_000) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate)
        return path

    return write


@dataclass
class Ran:
    """What a run of the command line came to."""

    code: int
    out: str
    err: list[str]

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of csv output."""
        return list(csv.DictReader(io.StringIO(self.out)))


Run = Callable[..., Ran]


@pytest.fixture
def zs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``zsaudio`` in ``tmp_path``, with the tone model in the place of nano."""

    def load(model: str, **options: str) -> object:
        return ToneModel() if model == "nano" else load_model(model, **options)

    monkeypatch.setattr("zsaudio.recognizer.load_model", load)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "argv", ["zsaudio", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = 0
        try:
            zsaudio.cli.main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err or "--debug" in arguments
        return Ran(code, out, err.splitlines())

    return run


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Keep so small a model to one thread: two are slower, by far where another process has a processor.

    Two also sum a batch of three clips in another order than one clip, by up to 1.1e-5 on some processors.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


approx: Any = pytest.approx  # for a field of a result, which its own type does not fit


class ToneModel:
    """Hears tones: the logit of a label such as ``"440"`` is 10 where that frequency is loud, else -10.

    A frame every quarter of a second, no context.
    """

    name = "tones"
    sample_rate = 16_000
    window_s = 2.0
    context_s = 0.0
    frame_s = 0.25

    def __init__(self) -> None:
        self.batches: list[int] = []

    def embed_labels(self, labels: LabelSet) -> LabelBank:
        return EmbeddingBank(labels.names, np.array([float(name) for name in labels.names]))

    def logits(self, windows: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        self.batches.append(len(windows))
        return [self._window(window, own_bank(bank, EmbeddingBank).embeddings) for window in windows]

    def _window(self, samples: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
        size = round(self.frame_s * self.sample_rate)
        n_frames = -(-len(samples) // size)
        frames = np.pad(samples, (0, n_frames * size - len(samples))).reshape(n_frames, size)
        power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
        bins = np.rint(frequencies * self.frame_s).astype(int)
        share = power[:, bins] / (power.sum(axis=1, keepdims=True) + 1e-9)
        return np.where(share > 0.2, 10.0, -10.0).astype(np.float32)
