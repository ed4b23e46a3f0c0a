"""nano-keyword: the bundled keyword spotter, for any English words.

A small network (``network.py``) gives log-probabilities of phonemes; the pronunciation of a keyword
(``pronunciation.py``) is aligned with them (``alignment.py``). English only: another language needs its own
phonemes, dictionary and training speech.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from zsaudio.models.bundled import Blank, config_from_dict, load_weights
from zsaudio.models.device import resolve_device
from zsaudio.models.packed import pack
from zsaudio.models.speech.alignment import AlignmentScoring
from zsaudio.models.speech.base import Speech
from zsaudio.models.speech.network import KeywordConfig, KeywordNetwork
from zsaudio.models.speech.phonemes import PHONEMES
from zsaudio.models.speech.promise import KeywordPromise
from zsaudio.models.speech.pronunciation import WEIGHTS, pronouncer

COHORT_STEP = 0.05  # log-probabilities of the cohort are stored as multiples of this, below 0
_NUMBER = {phoneme: number for number, phoneme in enumerate(PHONEMES, start=1)}


class NanoKeyword(Speech):
    """The bundled keyword spotter, a ``zsaudio.models.base.SpeechModel`` and ``Model``.

    Parameters
    ----------
    folder
        Where ``model.safetensors``, ``letters.safetensors``, ``cohort.npz``, ``config.json``,
        ``dictionary.gz`` and perhaps ``statistics.json`` are; by default the bundled ones.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """

    name = "nano-keyword"
    window_s = 10.0

    def __init__(self, folder: Path | None = None, device: str = "cpu") -> None:
        folder = folder or WEIGHTS
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        settings.pop("model_type", None)
        self.scoring = AlignmentScoring(**settings.pop("scoring"))
        self._folder = folder
        statistics = folder / "statistics.json"
        if statistics.is_file():
            curves = json.loads(statistics.read_text(encoding="utf-8"))
            self.promise = KeywordPromise.from_dict(curves, self.scoring.most)
        self.config = config = config_from_dict(settings, KeywordConfig)
        self.device = resolve_device(device)
        with Blank():
            self.network = KeywordNetwork(config)
        weights = {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}
        load_weights(self.network, weights, folder)
        self.network.fuse()
        if self.device.type == "cpu":
            pack(self.network)
        self.network.to(self.device)
        self.pronounce = pronouncer(folder)
        with np.load(folder / "cohort.npz") as cohort:
            log_probs = cohort["log_probs"].astype(np.float32) * -COHORT_STEP
            self.cohort = np.split(log_probs, np.cumsum(cohort["lengths"])[:-1])
        self.sample_rate = config.sample_rate
        self.frame_s = config.stride / config.sample_rate
        self.before_s = config.before / config.sample_rate
        self.after_s = config.after / config.sample_rate

    @property
    def common_words(self) -> list[str]:
        """Common English words, the most common first, that keywords may be confused with."""
        path = self._folder / "common_words.txt"
        return path.read_text(encoding="ascii").split() if path.is_file() else []

    def symbols(self, text: str) -> list[tuple[int, ...]]:
        """Return the pronunciations of a text as symbols."""
        return [tuple(_NUMBER[phoneme] for phoneme in said) for said in self.pronounce(text)]

    @torch.inference_mode()
    def log_probs(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the log-probabilities ``(n_frames, 40)`` of blank and the phonemes."""
        return [
            self.network(torch.from_numpy(window[None].astype(np.float32)).to(self.device))[0].cpu().numpy()
            for window in windows
        ]


def load_nano_keyword(source: str, device: str, dtype: str) -> NanoKeyword:
    """Load nano-keyword from a folder, by default the bundled one; it has one precision."""
    return NanoKeyword(Path(source) if source else None, device)
