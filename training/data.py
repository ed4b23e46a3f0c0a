"""The sounds that nano learns from and is tested on: where they are, what they are called, their log-mels.

Conventions: a ``Sound`` is one recording; ``category`` is its class (for ESC-50, one of the fifty names;
for a synthetic sound, the ESC-50 class that it resembles, or ""); log-mels are float16 ``(frames, bands)``
in dB, a multiple of 16 frames.
"""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, gcd
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import resample_poly

from zsaudio.audio.log_mel import LogMel
from zsaudio.models.nano.tower import TowerConfig, mel_filters

FREE = ("CC0", "CC-BY")  # the licences of the ESC-50 clips that shipped weights may learn from
FREESOUND = "FSDKaggle2018"  # where the instruments come from
KEYWORD_CLIPS = 700
PARTITIONS = {  # Xie & Virtanen 2021
    1: "brushing teeth, church bells, clock tick, cow, drinking sipping, fireworks, helicopter, mouse click, "
    "pig, washing machine",
    2: "clapping, crickets, glass breaking, hand saw, keyboard typing, laughing, siren, sneezing, "
    "thunderstorm, vacuum cleaner",
    3: "breathing, chainsaw, chirping birds, coughing, door wood creaks, door wood knock, frog, "
    "pouring water, rain, train",
    4: "airplane, can opening, crying baby, engine, footsteps, hen, insects, rooster, snoring, toilet flush",
    5: "car horn, cat, clock alarm, crackling fire, crow, dog, sea waves, sheep, water drops, wind",
}


@dataclass(frozen=True)
class Sound:
    """One recording and what is known of it."""

    path: Path
    texts: tuple[str, ...]  # ways to say what it is
    category: str
    source: str
    licence: str
    author: str = ""
    title: str = ""
    fold: int = 0  # of ESC-50; 0 elsewhere

    @property
    def key(self) -> str:
        """The sound's name in caches: its folder and file."""
        return "/".join(self.path.parts[-2:])


def partition(number: int) -> list[str]:
    """Return the ten classes of a partition."""
    return PARTITIONS[number].split(", ")


def phrases() -> dict[str, list[str]]:
    """Return for each class other common ways to say it."""
    with (Path(__file__).parent / "prompts.csv").open(newline="", encoding="utf-8") as handle:
        return {row["category"]: row["phrases"].split("|") for row in csv.DictReader(handle)}


def title_words(title: str) -> str:
    """Return the words in a recording's title, or ""."""
    stem = re.sub(r"\.(wav|aiff?|flac|mp3|ogg)$", "", title, flags=re.IGNORECASE)
    words = re.findall(r"[A-Za-z]{3,}", re.sub(r"([a-z])([A-Z])", r"\1 \2", stem))
    noise = {
        "wav",
        "aif",
        "mono",
        "stereo",
        "take",
        "zoom",
        "edit",
        "sound",
        "sounds",
        "khz",
        "bit",
        "mix",
        "recording",
    }
    return " ".join(word.lower() for word in words if word.lower() not in noise)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def esc50(data: Path) -> list[Sound]:
    """Return the 2,000 clips of ESC-50; the first text is the class name, the last the title."""
    extra = phrases()
    sounds = []
    for row in read_rows(data / "esc50" / "esc50.csv"):
        name, title = row["category"], title_words(row["title"])
        texts = (name, *extra[name], *([title] if title else []))
        path = data / "esc50" / row["file"]
        sounds.append(
            Sound(path, texts, name, "ESC-50", row["licence"], row["author"], row["title"], int(row["fold"]))
        )
    return sounds


def instruments(data: Path, learned: bool = True) -> list[Sound]:
    """Return recordings of instruments: two of three may be learned from, the third is to test on."""
    extra = phrases()
    author = "Freesound users, in E. Fonseca et al."
    sounds = []
    for number, row in enumerate(read_rows(data / "instruments" / "instruments.csv")):
        if (number % 3 < 2) == learned:
            texts = (row["category"], *extra[row["category"]])
            path = data / "instruments" / row["file"]
            sounds.append(Sound(path, texts, "", FREESOUND, "CC0 or CC-BY", author, row["category"]))
    return sounds


def others(data: Path, work: Path) -> list[Sound]:
    """Return what every run may learn from beside ESC-50: instruments, spoken phrases, synthetic sounds."""
    extra = phrases()
    sounds = instruments(data)
    lines = (data / "keywords" / "heldout_words.txt").read_text(encoding="utf-8").splitlines()
    forbidden = set(line.strip() for line in lines)
    spoken = [r for r in read_rows(data / "keywords" / "keywords.csv") if r["phrase"] not in forbidden]
    chosen = np.random.default_rng(0).permutation(len(spoken))[:KEYWORD_CLIPS]
    for row in (spoken[i] for i in sorted(chosen)):
        path = data / "keywords" / row["file"]
        sounds.append(
            Sound(path, tuple(extra["speech"]), "", row["corpus"], row["licence"], title=row["phrase"])
        )
    folder = work / "synthetic"
    for row in read_rows(folder / "manifest.csv"):
        texts = tuple(row["texts"].split("|"))
        sounds.append(
            Sound(folder / row["file"], texts, row["like"], row["source"], row["licence"], title=texts[0])
        )
    return sounds


def read_waveform(path: Path, sample_rate: int) -> np.ndarray:
    """Return a recording as float32 mono."""
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = wave.mean(1)
    if rate != sample_rate:
        common = gcd(rate, sample_rate)
        mono = resample_poly(mono, sample_rate // common, rate // common).astype(np.float32)
    return mono


class Mels:
    """Log-mels of sounds, computed once and kept in ``work/mels.npy``."""

    def __init__(
        self, work: Path, sounds: Sequence[Sound], config: TowerConfig, longest_s: float = 8.0
    ) -> None:
        file, index = work / "mels.npy", work / "mels.json"
        if not index.exists():
            self._compute(file, index, sounds, config, longest_s)
        self.spans: dict[str, list[int]] = json.loads(index.read_text(encoding="utf-8"))
        self.frames = np.load(file, mmap_mode=None)

    @staticmethod
    @torch.inference_mode()
    def _compute(
        file: Path, index: Path, sounds: Sequence[Sound], config: TowerConfig, longest_s: float
    ) -> None:
        front_end = LogMel(mel_filters(config), config.n_fft, config.hop_length, config.floor)
        spans, parts, at = {}, [], 0
        for sound in sounds:
            wave = read_waveform(sound.path, config.sample_rate)[: int(longest_s * config.sample_rate)]
            length = max(4, ceil(len(wave) / config.stride)) * config.stride
            wave = np.pad(wave, (0, length - len(wave)))
            mel = front_end(torch.from_numpy(wave)[None])[0, :-1].numpy().astype(np.float16)
            spans[sound.key] = [at, at + len(mel)]
            parts.append(mel)
            at += len(mel)
        np.save(file, np.concatenate(parts))
        index.write_text(json.dumps(spans), encoding="utf-8")

    def __getitem__(self, sound: Sound) -> np.ndarray:
        """Return the log-mel of a sound."""
        start, stop = self.spans[sound.key]
        return self.frames[start:stop]
