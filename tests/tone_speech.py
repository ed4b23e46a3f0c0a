"""A model of speech whose letters are tones, so that tests know what is said and when."""

from collections.abc import Sequence

import numpy as np
from conftest import tone

from zsaudio.models.speech.alignment import AlignmentScoring
from zsaudio.models.speech.base import Speech

RATE = 16_000
FRAME_S = 0.03
LETTERS = "abcdefgh"
LETTER_S = 0.12


def pitch(letter: str) -> float:
    return 400.0 * (1 + LETTERS.index(letter))


def speak(text: str) -> np.ndarray:
    """A tone a letter; a space is as long a silence."""
    silence = np.zeros(round(LETTER_S * RATE), np.float32)
    return np.concatenate([silence if letter == " " else tone(pitch(letter), LETTER_S) for letter in text])


class ToneSpeech(Speech):
    """Hears the letters a to h; a frame depends on its neighbours, as those of a network do."""

    name = "tone-speech"
    sample_rate = RATE
    window_s = 10.0
    before_s, after_s = 0.06, 0.03
    frame_s = FRAME_S
    scoring = AlignmentScoring(bias=-4.0, ratio=1.0, symbols=3.0, lead_s=0.01, tail_s=0.02)

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def symbols(self, text: str) -> list[tuple[int, ...]]:
        return [tuple(1 + LETTERS.index(letter) for letter in text if letter != " ")]

    def log_probs(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.lengths += map(len, windows)
        return [self._window(window) for window in windows]

    def _window(self, samples: np.ndarray) -> np.ndarray:
        size = round(FRAME_S * RATE)
        n_frames = max(1, -(-len(samples) // size))
        frames = np.pad(samples, (0, n_frames * size - len(samples))).reshape(n_frames, size)
        power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 / size**2
        bins = [round(pitch(letter) * FRAME_S) for letter in LETTERS]
        level = np.pad(power[:, bins], ((2, 1), (0, 0)))
        near = 0.1 * level[:-3] + 0.2 * level[1:-2] + 0.5 * level[2:-1] + 0.2 * level[3:]
        odds = np.hstack([np.full((n_frames, 1), 1e-3), near])
        return np.log(odds / odds.sum(axis=1, keepdims=True) + 1e-6)
