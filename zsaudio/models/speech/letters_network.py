"""The network that guesses pronunciations: from the letters of a word to log-probabilities of phonemes.

Each letter becomes three frames, which go through the blocks of nano-keyword's network. Trained with CTC on
the CMU Pronouncing Dictionary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zsaudio.models.speech.network import Block
from zsaudio.models.speech.phonemes import PHONEMES

FRAMES = 3  # per letter


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


def letter_numbers(words: Sequence[str]) -> Tensor:
    """Return words as rows of letter numbers, filled up with 0."""
    rows = torch.zeros(len(words), max(map(len, words)), dtype=torch.long)
    for row, word in zip(rows, words, strict=True):
        row[: len(word)] = torch.tensor([ord(letter) - ord("a") + 1 for letter in word])
    return rows
