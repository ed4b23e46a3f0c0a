import numpy as np
import pytest
from conftest import approx

from zsaudio.detection.scoring import pool_frames, pool_windows, rank, to_scores
from zsaudio.labels import Label, LabelSet
from zsaudio.results import Tag

NO_BACKGROUND = np.zeros(3, bool)


def test_independent_scores_are_the_sigmoid() -> None:
    scores = to_scores(np.array([0.0, np.log(3), -1000.0]), NO_BACKGROUND)
    np.testing.assert_allclose(scores, [0.5, 0.75, 0.0], atol=1e-7)


def test_one_label_alone_is_not_certain() -> None:
    assert to_scores(np.array([-2.0]), np.zeros(1, bool))[0] == pytest.approx(1 / (1 + np.exp(2)))


def test_exclusive_scores_are_the_softmax() -> None:
    scores = to_scores(np.log([[1.0, 2.0, 5.0]]), NO_BACKGROUND, exclusive=True)
    np.testing.assert_allclose(scores, [[0.125, 0.25, 0.625]], rtol=1e-6)


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([1e4, -1e4, 0.0])
    np.testing.assert_allclose(to_scores(logits, NO_BACKGROUND), [1, 0, 0.5])
    np.testing.assert_allclose(to_scores(logits, NO_BACKGROUND, exclusive=True), [1, 0, 0])


def test_background_takes_its_share() -> None:
    scores = to_scores(np.log([4.0, 1.0, 3.0]), np.array([False, False, True]))
    np.testing.assert_allclose(scores, [4 / 8, 1 / 5, 3 / 4], rtol=1e-6)


def test_pool_frames_is_the_mean_of_the_odds() -> None:
    np.testing.assert_allclose(np.exp(pool_frames(np.log([[1.0, 8.0], [3.0, 0.5]]))), [2.0, 4.25])


def test_pool_windows() -> None:
    logits = np.log([[3.0, 1.0, 1.0], [1.0, 1.0, 9.0]])
    seconds = np.array([3.0, 1.0])
    np.testing.assert_allclose(pool_windows(logits, seconds, NO_BACKGROUND, "max", False), [0.75, 0.5, 0.9])
    np.testing.assert_allclose(
        pool_windows(logits, seconds, NO_BACKGROUND, "mean", False), [0.6875, 0.5, 0.6], rtol=1e-6
    )
    exclusive = pool_windows(logits, seconds, NO_BACKGROUND, "max", True)
    np.testing.assert_allclose(exclusive, np.array([3, 1, 9]) / 13, rtol=1e-6)


def test_rank() -> None:
    labels = LabelSet([Label("a", threshold=0.5), "b", Label("c", background=True), "d"])
    scores = np.array([0.4, 0.3, 0.9, 0.6])
    assert [tag.label for tag in rank(scores, labels, None, None)] == ["d", "b"]
    assert [tag.label for tag in rank(scores, labels, None, 0.0)] == ["d", "a", "b"]
    assert rank(scores, labels, 1, None) == (Tag("d", approx(0.6)),)
