"""Words that no dictionary has."""

from itertools import product

import numpy as np
import pytest
import torch

from zsaudio.models.speech.letter_to_sound import Letters, best_sequences
from zsaudio.models.speech.letters_network import FRAMES, LettersNetwork, letter_numbers
from zsaudio.models.speech.phonemes import PHONEMES
from zsaudio.models.speech.pronunciation import WEIGHTS


def by_force(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of every sequence, summed over all of its paths."""
    total: dict[tuple[int, ...], float] = {}
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        kept = [symbol for i, symbol in enumerate(path) if i == 0 or symbol != path[i - 1]]
        sequence = tuple(symbol for symbol in kept if symbol)
        total[sequence] = total.get(sequence, 0.0) + float(np.exp(log_probs[range(len(path)), path].sum()))
    return total


@pytest.mark.parametrize("seed", range(5))
def test_the_likeliest_sequences(seed: int) -> None:
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(3), 5))
    expected = sorted(by_force(log_probs).items(), key=lambda item: -item[1])[:2]
    found = best_sequences(log_probs, 2)
    assert [sequence for _, sequence in found] == [sequence for sequence, _ in expected]
    assert [probability for probability, _ in found] == pytest.approx(
        [np.log(p) for _, p in expected], abs=0.05
    )


def test_neighbours_in_a_batch_change_nothing() -> None:
    torch.manual_seed(0)
    network = LettersNetwork().eval()
    for name, weights in network.named_parameters():
        if name.endswith(".down.weight"):
            torch.nn.init.normal_(weights, std=0.1)
    alone, together = network(letter_numbers(["abc"])), network(letter_numbers(["abc", "longerword"]))
    assert together.shape == (2, 10 * FRAMES, len(PHONEMES) + 1)
    assert torch.allclose(alone[0], together[0, : 3 * FRAMES], atol=1e-6)


def test_guesses() -> None:
    guess = Letters(WEIGHTS / "letters.safetensors")
    # no words of the dictionary, said as anyone would
    for word, said in (
        ("blick", "B L IH K"),
        ("fensterman", "F EH N S T ER M AH N"),
        ("spant", "S P AE N T"),
    ):
        assert said.split() in [list(way) for way in guess(word)]
    assert 1 <= len(guess("zsaudio")) <= 2
    assert guess("a" * 60)[0]
