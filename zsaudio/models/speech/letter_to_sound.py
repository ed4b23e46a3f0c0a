"""Pronunciations of words that the dictionary lacks, guessed from their letters.

A small convolutional network (``letters_network.py``) gives log-probabilities of phonemes; the most likely
sequences are found by prefix beam search (Graves & Jaitly, ICML 2014). torch is imported when the first word
is guessed.
"""

from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zsaudio.models.speech.phonemes import PHONEMES

if TYPE_CHECKING:
    from zsaudio.models.speech.letters_network import LettersNetwork

MOST_LETTERS = 40
_BEAM = 8
_SHARE = 0.3  # a second pronunciation is returned from this share of the first one's probability on


class Letters:
    """Guess the pronunciation of words.

    Parameters
    ----------
    path
        The network's weights; read when the first word is guessed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, word: str) -> list[tuple[str, ...]]:
        """Return the pronunciations of a word of the letters a to z, most likely first, one or two."""
        from zsaudio.models.speech.letters_network import letter_numbers

        numbers = letter_numbers([word[:MOST_LETTERS]])
        found = best_sequences(self._network(numbers)[0].numpy(), 2)
        (_, best), *others = found
        said = [best] + [
            symbols for probability, symbols in others if probability > np.log(_SHARE) + found[0][0]
        ]
        return [tuple(PHONEMES[symbol - 1] for symbol in symbols) for symbols in said if symbols]

    @cached_property
    def _network(self) -> "LettersNetwork":
        from safetensors.torch import load_file

        from zsaudio.models.speech.letters_network import LettersNetwork

        network = LettersNetwork()
        weights = {name: value.float() for name, value in load_file(self._path).items()}
        network.load_state_dict(weights, strict=False)
        return network.eval().requires_grad_(False)


def best_sequences(log_probs: np.ndarray, most: int) -> list[tuple[float, tuple[int, ...]]]:
    """Return the most likely sequences of symbols with their log-probabilities, most likely first.

    Parameters
    ----------
    log_probs
        ``(n_frames, n_symbols)``; symbol 0 is blank.
    most
        Number of sequences, at most.
    """
    nothing = -np.inf
    # log-probabilities of ending in blank, and in the last symbol
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, nothing)}
    for frame in log_probs:
        likely = np.flatnonzero(frame > -7.0)
        grown: defaultdict[tuple[int, ...], list[float]] = defaultdict(lambda: [nothing, nothing])
        for prefix, (blank, symbol) in beam.items():
            for number in likely.tolist():
                gain = float(frame[number])
                if number == 0:
                    grown[prefix][0] = np.logaddexp(grown[prefix][0], np.logaddexp(blank, symbol) + gain)
                    continue
                repeated = bool(prefix) and number == prefix[-1]
                before = blank if repeated else np.logaddexp(blank, symbol)
                longer = grown[prefix + (number,)]  # noqa: RUF005
                longer[1] = np.logaddexp(longer[1], before + gain)
                if repeated:
                    grown[prefix][1] = np.logaddexp(grown[prefix][1], symbol + gain)
        ranked = sorted(grown.items(), key=lambda item: -float(np.logaddexp(item[1][0], item[1][1])))[:_BEAM]
        beam = {prefix: (float(a), float(b)) for prefix, (a, b) in ranked}
    scored = [(float(np.logaddexp(*ends)), prefix) for prefix, ends in beam.items()]
    return sorted(scored, reverse=True)[:most]
