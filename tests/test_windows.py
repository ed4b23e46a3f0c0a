from itertools import pairwise

import numpy as np
import pytest

from zsaudio.windows import Window, Windower


def cut(n_samples: int, window: int, hop: int, size: int | None = None, grid: int = 1) -> list[Window]:
    samples = np.arange(n_samples, dtype=np.float32)
    windower = Windower(window, hop, grid)
    size = size or max(n_samples, 1)
    windows = [w for at in range(0, n_samples, size) for w in windower.push(samples[at : at + size])]
    return windows + windower.flush()


@pytest.mark.parametrize("n_samples", [1, 9, 10, 11, 14, 20, 21, 22, 95, 100, 101, 1000])
@pytest.mark.parametrize(("window", "hop"), [(10, 10), (10, 5), (10, 7), (10, 1), (100, 60)])
def test_every_sample_is_spoken_for_once(n_samples: int, window: int, hop: int) -> None:
    windows = cut(n_samples, window, hop)
    assert windows[0].keep_from == 0
    assert windows[-1].keep_to == n_samples
    for before, after in pairwise(windows):
        assert before.keep_to == after.keep_from
    for w in windows:
        assert w.start <= w.keep_from < w.keep_to <= w.start + len(w.samples)
        assert len(w.samples) <= window
        np.testing.assert_array_equal(w.samples, np.arange(w.start, w.start + len(w.samples)))


@pytest.mark.parametrize("size", [1, 3, 17, 509, 10_000])
def test_block_size_changes_nothing(size: int) -> None:
    whole = cut(2003, 100, 60)
    pieces = cut(2003, 100, 60, size)
    assert [(w.start, w.keep_from, w.keep_to) for w in whole] == [
        (w.start, w.keep_from, w.keep_to) for w in pieces
    ]
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)


def test_no_samples_no_windows() -> None:
    assert Windower(10, 5).flush() == []


def test_exact_fit_has_no_tail() -> None:
    assert [w.start for w in cut(30, 10, 10)] == [0, 10, 20]


def test_tail_is_kept() -> None:
    assert [(w.start, len(w.samples)) for w in cut(25, 10, 10)] == [(0, 10), (10, 10), (20, 5)]


def test_sliver_of_a_tail_moves_the_last_window_back() -> None:
    last = cut(205, 100, 100)[-1]
    assert (last.start, len(last.samples), last.keep_from, last.keep_to) == (105, 100, 200, 205)
    assert cut(205, 100, 100, grid=10)[-1].start == 110


@pytest.mark.parametrize(("window", "hop", "grid"), [(10, 0, 1), (10, 11, 1), (10, 5, 2)])
def test_impossible_hops(window: int, hop: int, grid: int) -> None:
    with pytest.raises(ValueError, match="hop"):
        Windower(window, hop, grid)
