"""Scenes: random mixtures of one to three sounds, made of log-mels.

Everything happens on mel powers, where sounds add up (but for their phases), levels are an offset in dB and
filters a curve in dB; so a scene costs less than a millisecond.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from training.data import FREESOUND, Mels, Sound
from zsaudio.models.nano.tower import TowerConfig, mel_filters

FLOOR_DB = -50.0
KINDS = ("ESC-50", "speech", "alarms", "formula", "drones", "soundfont", "instruments")
ALARMS = re.compile("alarm|siren|beep|ring|doorbell|horn")


def kind_and_family(sound: Sound) -> tuple[str, str]:
    """Return what kind of sound it is, and what it shares with others of its kind."""
    if sound.fold:
        return "ESC-50", sound.category
    if any("speech" in text for text in sound.texts):
        return "speech", sound.texts[0]
    if sound.texts[0] == "drone":
        return "drones", ""
    if sound.source == "formula":
        return "alarms" if ALARMS.search(sound.texts[0]) else "formula", sound.texts[0]
    if sound.source == FREESOUND:
        return "instruments", sound.texts[0]
    return "soundfont", sound.texts[1]


@dataclass(frozen=True)
class SceneOptions:
    """How scenes are made."""

    frames: int = 208
    sources: tuple[float, ...] = (0.45, 0.38, 0.17)  # how often 1, 2, 3 sounds
    level_db: float = 7.0  # sounds of a mixture differ by up to so much
    gain_db: float = 9.0  # standard deviation of the level of a scene
    filter_db: float = 5.0  # standard deviation of a random filter
    stretch: float = 0.15
    piece: float = 0.12  # how often only a piece of a sound is heard: a tone that stops is not yet a doorbell
    shift: int = 3  # bands
    masks: int = 2
    rooms: float = 0.35  # how often a sound is in a room
    noise: float = 0.7  # how often there is background noise
    white: float = 0.3  # how often this is white
    noise_db: tuple[float, float] = (3.0, 25.0)  # how far it is below the scene
    telephones: float = 0.2  # how often a scene comes through a telephone or a small loudspeaker
    shares: tuple[float, ...] = (0.56, 0.07, 0.08, 0.06, 0.02, 0.13, 0.08)  # of the kinds


class Picker:
    """Draws sounds: first a kind, then a family of it, then one of its sounds.

    So a name of many sounds does not crowd others out.

    Parameters
    ----------
    sounds
        The sounds.
    shares
        Of the kinds; a kind that has no sound is left out.
    rng
        Draws.
    """

    def __init__(self, sounds: Sequence[Sound], shares: Sequence[float], rng: np.random.Generator) -> None:
        self.rng = rng
        families: dict[str, dict[str, list[int]]] = {kind: {} for kind in KINDS}
        for index, sound in enumerate(sounds):
            kind, family = kind_and_family(sound)
            families[kind].setdefault(family, []).append(index)
        self.families = [list(families[kind].values()) for kind in KINDS]
        present = np.array([share * bool(own) for share, own in zip(shares, self.families, strict=True)])
        self.shares = present / present.sum()

    def __call__(self) -> int:
        """Return the index of a random sound."""
        families = self.families[self.rng.choice(len(self.shares), p=self.shares)]
        family = families[self.rng.integers(len(families))]
        return int(family[self.rng.integers(len(family))])


class Scenes:
    """Draws batches of scenes from sounds."""

    def __init__(self, sounds: Sequence[Sound], mels: Mels, options: SceneOptions, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.options = options
        self.mels = [mels[sound] for sound in sounds]
        self.loudness = [mel.astype(np.float32).max(1) for mel in self.mels]
        self.levels = np.array([np.percentile(loud, 95) for loud in self.loudness])
        self.pick = Picker(sounds, options.shares, self.rng)
        config = TowerConfig()
        filters = mel_filters(config).double().numpy()
        self.widths = filters.sum(0)  # of the bands, in bins
        self.centres = np.linspace(0, config.sample_rate / 2, len(filters)) @ filters / self.widths  # Hz

    def room(self, power: np.ndarray) -> np.ndarray:
        """Return mel powers in a made-up room: a tail that dies away under the direct sound."""
        rt60, below_db = self.rng.uniform(0.1, 1.0), self.rng.uniform(3, 20)
        decay = 10 ** (-6 * 0.01 / rt60)
        tail = lfilter([1 - decay], [1, -decay], power, axis=0)
        return np.asarray(power + 10 ** (-below_db / 10) * tail)

    def crop(self, index: int) -> tuple[np.ndarray, float]:
        """Return a random stretch of a sound, one in which it is heard, as long as a scene.

        Also return where in the sound it begins, in seconds.
        """
        rng, options = self.rng, self.options
        mel, loud = self.mels[index], self.loudness[index]
        speed = 1.0 + options.stretch * rng.uniform(-1, 1) if rng.random() < 0.5 else 1.0
        need = int(options.frames * speed) + 1
        result = np.full((options.frames, mel.shape[1]), FLOOR_DB, np.float32)
        if len(mel) > need:
            for _ in range(6):
                start = int(rng.integers(0, len(mel) - need))
                if loud[start : start + need].max() > self.levels[index] - 6.0:
                    break
            part = mel[start : start + need]
        else:
            part, start = mel, 0
        begin = start / 100
        take = (np.arange(min(options.frames, int(len(part) / speed))) * speed).astype(int)
        at = int(rng.integers(0, options.frames - len(take) + 1))
        result[at : at + len(take)] = part[take]
        if rng.random() < options.piece:
            length = int(rng.integers(20, 121))
            start = at + int(rng.integers(0, max(1, len(take) - length)))
            result[:start] = result[start + length :] = FLOOR_DB
        if rng.random() < 0.3:
            bands = np.clip(
                np.arange(mel.shape[1]) + rng.integers(-options.shift, options.shift + 1), 0, mel.shape[1] - 1
            )
            result = result[:, bands]
        return result, begin

    def noise(self, power: np.ndarray) -> np.ndarray:
        """Return mel powers of noise, white or of some colour from bluer to brown, for under a scene."""
        colour = self.widths
        if self.rng.random() >= self.options.white:
            slope = self.rng.uniform(-0.3, 2.2)
            colour = colour * self.centres**-slope * 10 ** (self.curve(len(colour)) / 20)
        level = power.sum(1).mean() * 10 ** (-self.rng.uniform(*self.options.noise_db) / 10)
        return np.asarray(
            level * colour / colour.sum() * self.rng.gamma(self.widths, 1 / self.widths, power.shape)
        )

    def curve(self, bands: int) -> np.ndarray:
        """Return a smooth random filter, in dB."""
        points = self.rng.normal(0, self.options.filter_db, 5)
        return np.interp(np.linspace(0, 4, bands), np.arange(5), points).astype(np.float32)

    def telephone(self) -> np.ndarray:
        """Return the filter of a telephone or a small loudspeaker, in dB: narrow, and nothing far above."""
        low, high = self.rng.uniform(100, 450), self.rng.uniform(2500, 5000)
        octaves = np.maximum(np.log2(self.centres / high), np.log2(low / self.centres)).clip(0)
        return np.where(self.centres > 1.2 * high, -80.0, -self.rng.uniform(24, 72) * octaves)

    def scene(self) -> tuple[np.ndarray, list[int], list[float]]:
        """Return one log-mel, the sounds in it, and where in each sound its stretch begins, in seconds."""
        rng, options = self.rng, self.options
        count = 1 + int(rng.choice(len(options.sources), p=options.sources))
        indices = [self.pick() for _ in range(count)]
        power, begins = np.zeros(()), []
        reference = self.levels[indices[0]]
        for index in indices:
            source, begin = self.crop(index)
            begins.append(begin)
            gain = 0.0
            if count > 1:
                gain = reference - self.levels[index] + options.level_db * rng.uniform(-1, 1)
                gain = float(np.clip(gain, -40, 40))
            quiet = source <= FLOOR_DB
            source = source + gain + self.curve(source.shape[1])
            own = np.where(quiet, 0.0, 10 ** (source / 10))
            power = power + (self.room(own) if rng.random() < options.rooms else own)
        level = float(np.clip(rng.normal(0, options.gain_db), -20, 20))
        level -= max(0.0, reference + level - 38)
        if rng.random() < options.noise:
            power = power + self.noise(power)
        db = 10 * np.log10(np.maximum(power, 1e-9)) + level
        if rng.random() < options.telephones:
            db = db + self.telephone()
        for _ in range(rng.integers(0, options.masks + 1)):
            width, start = int(rng.integers(2, 9)), int(rng.integers(0, db.shape[1]))
            db[:, start : start + width] = FLOOR_DB
        for _ in range(rng.integers(0, options.masks + 1)):
            width, start = int(rng.integers(4, 31)), int(rng.integers(0, db.shape[0]))
            db[start : start + width] = FLOOR_DB
        return np.maximum(db, FLOOR_DB).astype(np.float32), indices, begins

    def batch(self, size: int) -> tuple[np.ndarray, list[list[int]], list[list[float]]]:
        """Return ``size`` scenes."""
        mels, indices, begins = zip(*(self.scene() for _ in range(size)), strict=True)
        return np.stack(mels), list(indices), list(begins)
