"""Letters -> phonemes, for words that no dictionary has.

A small convolutional network reads the letters of a word, three frames each, and says phonemes as
``keyword_network.py`` does; it learned from the CMU Pronouncing Dictionary. The likeliest sequences are found
by prefix beam search (Graves & Jaitly, ICML 2014).
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from zsaudio.models.speech.network import PHONEMES, Block

FRAMES = 3  # of a letter
MOST_LETTERS = 40
_BEAM = 8
_SHARE = 0.3  # of the likeliest pronunciation's probability: what another needs to be told


class LettersNetwork(nn.Module):
    """Letter numbers ``(batch, letters)`` to log-probabilities ``(batch, 3 * letters, 40)``."""

    def __init__(self, width: int = 128, depth: int = 4, drop: float = 0.0) -> None:
        super().__init__()
        self.letters = nn.Embedding(27, width * FRAMES)
        self.blocks = nn.ModuleList(Block(width, 2, 9, 4, drop) for _ in range(depth))
        self.out = nn.Linear(width, len(PHONEMES) + 1)

    def forward(self, letters: Tensor) -> Tensor:
        """Return log-probabilities of blank and the phonemes."""
        batch, length = letters.shape
        present = (letters > 0).repeat_interleave(FRAMES, dim=1).unsqueeze(2)
        x = self.letters(letters).view(batch, length * FRAMES, -1) * present
        for block in self.blocks:
            x = block(x) * present
        return torch.log_softmax(self.out(x).float(), dim=-1)


class Letters:
    """Guess how a word is said.

    Parameters
    ----------
    path
        The network's weights; read when a word is first asked for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @torch.inference_mode()
    def __call__(self, word: str) -> list[tuple[str, ...]]:
        """Return the pronunciations of a word of the letters a to z, likeliest first, one or two."""
        numbers = letter_numbers([word[:MOST_LETTERS]])
        found = best_sequences(self._network(numbers)[0].numpy(), 2)
        (_, best), *others = found
        said = [best] + [
            symbols for probability, symbols in others if probability > np.log(_SHARE) + found[0][0]
        ]
        return [tuple(PHONEMES[symbol - 1] for symbol in symbols) for symbols in said if symbols]

    @cached_property
    def _network(self) -> LettersNetwork:
        network = LettersNetwork()
        weights = {name: value.float() for name, value in load_file(self._path).items()}
        network.load_state_dict(weights, strict=False)
        return network.eval().requires_grad_(False)


def best_sequences(log_probs: np.ndarray, most: int) -> list[tuple[float, tuple[int, ...]]]:
    """Return the likeliest sequences of symbols with their log-probabilities, likeliest first.

    Parameters
    ----------
    log_probs
        ``(n_frames, n_symbols)``; symbol 0 is blank.
    most
        How many at most.
    """
    nothing = -np.inf
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, nothing)}  # ends in blank; in its symbol
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


def letter_numbers(words: Sequence[str]) -> Tensor:
    """Return words as rows of letter numbers, filled up with 0."""
    rows = torch.zeros(len(words), max(map(len, words)), dtype=torch.long)
    for row, word in zip(rows, words, strict=True):
        row[: len(word)] = torch.tensor([ord(letter) - ord("a") + 1 for letter in word])
    return rows
