"""Keywords and what resembles them, for training."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from training.keyword_rivals import KEYWORDS, LENGTHS, RIVALS, Rivals, best_ratios, rival_loss
from zsaudio.models.speech.alignment import AlignmentScoring

HOW = AlignmentScoring(bias=0.0, ratio=0.5, symbols=-0.3, dwell=0.1, doubt=1.5)


def banned(phones: tuple[str, ...]) -> bool:
    return "AA" in phones


def log_probs(rows: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.log_softmax(4 * torch.randn(rows, 60, 40, generator=generator), dim=-1)


def written(symbols: Sequence[int] | np.ndarray) -> str:
    return f" {' '.join(map(str, symbols))} "


def test_ratios_are_those_of_the_aligner() -> None:
    rng, heard = np.random.default_rng(0), log_probs(6, seed=1)
    keywords = [rng.integers(1, 40, size) for size in (1, 2, 5, 12)] + [np.array([3, 3]), np.array([7] * 4)]
    expected = [
        HOW.aligner([[keyword.tolist()]]).push(own.numpy()).ratio.max()
        for own, keyword in zip(heard, keywords, strict=True)
    ]
    np.testing.assert_allclose(best_ratios(heard, keywords, HOW).numpy(), expected, rtol=1e-5)


def test_a_pause_costs_nothing_here() -> None:
    heard, keywords = log_probs(1, seed=2), [np.array([4, 5])]
    free = best_ratios(heard, keywords, HOW)
    assert best_ratios(heard, keywords, replace(HOW, pause=3.0)) == free


def test_rivals_differ_from_what_is_said() -> None:
    said = [np.array([9, 8, 7, 6, 5, 4, 9, 3, 12]), np.array([20, 21]), np.array([30, 31, 32])]
    text = written([symbol for spoken in said for symbol in (*spoken, 0)])
    chooser = Rivals(banned, seed=0)
    for _ in range(20):
        groups = chooser.choose(said)
        assert [len(group) for group in groups] == [RIVALS + 1] * KEYWORDS
        for keyword, *others in groups:
            assert LENGTHS[0] <= len(keyword) and written(keyword) in text
            assert all(1 not in rival and written(rival) not in text for rival in others)
            assert all(abs(len(rival) - len(keyword)) <= max(2, len(keyword) // 2) for rival in others)


def test_a_row_without_long_utterances_has_no_keywords() -> None:
    assert Rivals(banned, seed=0).choose([np.array([1, 2])]) == []


def test_the_loss_falls_where_the_keyword_fits() -> None:
    keyword, others = np.array([2, 3, 4]), [np.array([2, 3, 5])] * RIVALS
    frames = torch.full((1, 20, 40), -8.0)
    for frame in range(20):
        frames[0, frame, {5: 2, 7: 3, 9: 4}.get(frame, 0)] = 8.0
    heard = torch.log_softmax(frames, dim=-1).requires_grad_()
    loss = rival_loss(heard, [[[keyword, *others]]], HOW)
    assert loss.item() == pytest.approx(0.0174, abs=1e-3)
    wrong = rival_loss(heard, [[[others[0], *[keyword] * RIVALS]]], HOW)
    assert wrong.item() == pytest.approx(7.90, abs=0.01)
    loss.backward()
    assert heard.grad is not None and heard.grad[0, 9, 5] >= 0 >= heard.grad[0, 9, 4]
