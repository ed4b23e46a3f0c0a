"""Alignments are the best there are, whatever the pieces they come in."""

from itertools import product

import numpy as np
import pytest

from zsaudio.models.speech.alignment import (
    Aligner,
    Alignment,
    AlignmentScoring,
    Keywords,
    KeywordSpotter,
    Spotted,
    ordinary_level,
)

Ways = list[tuple[int, ...]]  # the pronunciations of a keyword


def heard(n_frames: int, n_symbols: int = 4, seed: int = 0) -> np.ndarray:
    return np.log(np.random.default_rng(seed).dirichlet(np.full(n_symbols, 0.4), n_frames) + 1e-4)


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    kept = [symbol for i, symbol in enumerate(path) if i == 0 or symbol != path[i - 1]]
    return tuple(symbol for symbol in kept if symbol)


def best_by_force(log_probs: np.ndarray, keyword: tuple[int, ...], end: int) -> tuple[float, int]:
    """The best of all paths that spell the keyword, begin and end in its symbols, and end in a frame."""
    ratios = log_probs - log_probs.max(axis=1, keepdims=True)
    best, start = -np.inf, -1
    for first in range(end + 1):
        for path in product(range(log_probs.shape[1]), repeat=end + 1 - first):
            if path[0] and path[-1] and collapsed(path) == keyword:
                ratio = sum(ratios[first + i, symbol] for i, symbol in enumerate(path))
                if ratio > best + 1e-12:
                    best, start = ratio, first
    return best, start


@pytest.mark.parametrize("keyword", [(1,), (1, 2), (2, 2), (3, 1, 3)])
def test_the_best_of_all_paths(keyword: tuple[int, ...]) -> None:
    log_probs = heard(6)
    found = Aligner([[keyword]]).push(log_probs)
    for end in range(6):
        best, _ = best_by_force(log_probs, keyword, end)
        if np.isfinite(best):
            assert found.ratio[end, 0] == pytest.approx(best)
        else:
            assert found.ratio[end, 0] < -1e6
    assert (found.symbols == len(keyword)).all()


def test_where_it_begins() -> None:
    says = [0, 0, 1, 1, 0, 2, 0, 0, 1, 2]
    log_probs = np.log(np.where(np.arange(3) == np.array(says)[:, None], 0.9, 0.05))
    found = Aligner([[(1, 2)]]).push(log_probs)
    assert found.ratio[[5, 9], 0].tolist() == [0.0, 0.0]
    assert found.start[[5, 9], 0].tolist() == [3, 8]  # the symbol's last frame: to begin later costs nothing
    assert found.ratio[4, 0] < -1.0


def test_of_several_pronunciations_the_best() -> None:
    log_probs = heard(30, seed=1)
    apart = [Aligner([[way]]).push(log_probs) for way in [(1, 2, 3), (3, 2)]]
    both = Aligner([[(2,)], [(1, 2, 3), (3, 2)], [(1,)]]).push(log_probs)
    ratios = np.hstack([one.ratio for one in apart])
    assert np.array_equal(both.ratio[:, 1], ratios.max(axis=1))
    assert np.array_equal(both.symbols[:, 1], np.array([3, 2])[ratios.argmax(axis=1)])
    assert np.array_equal(both.ratio[:, 2], Aligner([[(1,)]]).push(log_probs).ratio[:, 0])


@pytest.mark.parametrize("size", [1, 7, 50])
def test_pieces_of_any_size(size: int) -> None:
    log_probs = heard(100, seed=2)
    keywords: list[Ways] = [[(1, 2, 1)], [(3,), (2, 2)]]
    costs = {"dwell": 0.1, "doubt": 1.5, "pause": 3.0}
    whole, aligner = Aligner(keywords, **costs).push(log_probs), Aligner(keywords, **costs)
    parts = [aligner.push(log_probs[at : at + size]) for at in range(0, 100, size)]
    assert np.array_equal(np.concatenate([part.ratio for part in parts]), whole.ratio)
    assert np.array_equal(np.concatenate([part.start for part in parts]), whole.start)


def test_a_keyword_without_symbols_is_refused() -> None:
    with pytest.raises(ValueError, match="keyword 1 has a pronunciation without symbols"):
        Aligner([[(1,)], [()]])


def test_log_odds() -> None:
    how = AlignmentScoring(bias=-2.0, ratio=0.5, symbols=1.0, level=0.5, most=4.0)
    found = Alignment(np.array([0.0, -4.0, 0.0]), np.zeros(3), np.array([3, 3, 8]), np.zeros(3))
    assert how.log_odds(found, np.array([0.0, -1.0, 0.0])).tolist() == pytest.approx([1.0, -0.5, 4.0])


def test_scores_of_a_stream() -> None:
    how, log_probs = AlignmentScoring(bias=1.0, ratio=1.0, symbols=0.0, level=1.0), heard(40, seed=3)
    keywords = Keywords([[(1, 2)]], np.array([0.25]))
    found, spotter = Aligner(keywords.pronunciations).push(log_probs), KeywordSpotter(keywords, how)
    spotted = [spotter.push(log_probs[:13]), spotter.push(log_probs[13:])]
    assert np.concatenate([part.logits for part in spotted]) == pytest.approx(found.ratio + 0.75)
    assert np.array_equal(np.concatenate([part.start for part in spotted]), found.start)


def test_the_level_of_ordinary_speech() -> None:
    cohort = [heard(n, seed=n) for n in range(20, 31)]
    ways: list[Ways] = [[(1, 2, 3, 2, 1, 3, 1)], [(2, 3, 1, 3, 2, 1), (1, 1, 3, 3, 2, 2, 1)]]
    how = AlignmentScoring(bias=5.0, ratio=0.5, symbols=1.0, level=0.5, most=1.0)
    best = [Aligner(ways).push(one).ratio.max(axis=0) for one in cohort]
    level = ordinary_level(ways, cohort, how)
    assert level == pytest.approx(np.quantile(best, 0.9, axis=0))
    assert (level < -0.4).all()
    assert ordinary_level(ways, [], how).tolist() == [0.0, 0.0]


def test_doubt_costs() -> None:
    sure = np.log(np.array([[0.02, 0.96, 0.02], [0.02, 0.02, 0.96]]))
    unsure = np.log(np.array([[0.3, 0.36, 0.34], [0.3, 0.34, 0.36]]))
    ways = [[(1, 2)]]
    for heard, best in ((sure, 0.96), (unsure, 0.36)):
        assert Aligner(ways).push(heard).ratio[1, 0] == pytest.approx(0.0)
        doubted = Aligner(ways, dwell=0.1, doubt=1.5).push(heard).ratio[1, 0]
        assert doubted == pytest.approx(2 * (1.5 * np.log(best) - 0.1))


@pytest.mark.parametrize(
    ("before", "cost"),
    [
        ([], 0.0),  # the stream begins
        ([1, 0, 0, 0, 0, 0], 0.0),
        ([0, 0, 0, 0, 0, 2], 3.0),
        ([2, 0, 0, 0, 0], 3.0),
        ([2, 2, 2, 2, 2], 3.0),
    ],
)
def test_the_lack_of_a_pause_costs(before: list[int], cost: float) -> None:
    says = np.array([*before, 1, 2])
    log_probs = np.log(np.where(np.arange(3) == says[:, None], 0.9998, 0.0001))
    found = Aligner([[(1, 2)]], pause=3.0).push(log_probs)
    assert found.ratio[-1, 0] == pytest.approx(-cost, abs=0.001)


def test_half_a_pause_costs_half() -> None:
    log_probs = np.log(np.array([[0.3, 0.1, 0.6], [0.0001, 0.9998, 0.0001]]))
    found = Aligner([[(1,)]], pause=3.0).push(log_probs)
    assert found.ratio[-1, 0] == pytest.approx(-1.5)  # blank is half as likely as the likeliest


def test_the_best_frame_is_followed_by_a_pause() -> None:
    how = AlignmentScoring(bias=0.0, ratio=0.5, symbols=0.0, pause=4.0)
    logits = np.array([[3.0, -5.0], [2.5, -5.0], [-5.0, -5.0], [-5.0, 1.0]])
    blank = np.array([-12.0, -12.0, np.log(0.5), 0.0])
    best = how.best(Spotted(logits, np.zeros(logits.shape, int), blank))
    assert best == pytest.approx([2.5 - 0.5 * 4.0 * 0.5, 1.0], abs=1e-4)  # 3.0 without a pause is 1.0
