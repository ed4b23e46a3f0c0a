from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsaudio.audio.windows import Excerpt, ExcerptWindower, Window, Windower, clip_windower, windower_for


def cut(n_samples: int, window: int, hop: int, size: int | None = None, grid: int = 1) -> list[Window]:
    samples = np.arange(n_samples, dtype=np.float32)
    windower = Windower(window, hop, grid)
    size = size or max(n_samples, 1)
    windows = [w for at in range(0, n_samples, size) for w in windower.push(samples[at : at + size])]
    return windows + windower.flush()


@pytest.mark.parametrize("n_samples", [1, 9, 10, 11, 14, 20, 21, 22, 95, 100, 101, 1000])
@pytest.mark.parametrize(("window", "hop"), [(10, 10), (10, 5), (10, 7), (10, 1), (100, 60)])
def test_every_sample_is_kept_once(n_samples: int, window: int, hop: int) -> None:
    windows = cut(n_samples, window, hop)
    assert windows[0].keep_from == 0
    assert windows[-1].keep_to == n_samples
    for before, after in pairwise(windows):
        assert before.keep_to == after.keep_from
    for w in windows:
        assert w.start <= w.keep_from < w.keep_to <= w.end
        assert w.end - w.start <= window
        np.testing.assert_array_equal(w.samples, np.arange(w.start, w.end))


@pytest.mark.parametrize(("begin", "stop", "position"), [(0, 600, 0), (600, 1213, 450), (1213, None, 900)])
def test_a_part_has_the_windows_that_start_in_it(begin: int, stop: int | None, position: int) -> None:
    expected = [w for w in cut(2003, 100, 60) if begin <= w.start and (stop is None or w.start < stop)]
    windower = Windower(100, 60)
    windower.restrict(begin, stop, position)
    samples = np.arange(position, 2003, dtype=np.float32)
    windows = [w for at in range(0, len(samples), 77) for w in windower.push(samples[at : at + 77])]
    windows += windower.flush()
    assert [(w.start, w.keep_from, w.keep_to) for w in windows] == [
        (w.start, w.keep_from, w.keep_to) for w in expected
    ]
    for part, whole in zip(windows, expected, strict=True):
        np.testing.assert_array_equal(part.samples, whole.samples)


@pytest.mark.parametrize("size", [1, 3, 17, 509, 10_000])
def test_block_size_changes_nothing(size: int) -> None:
    whole = cut(2003, 100, 60)
    pieces = cut(2003, 100, 60, size)
    assert [(w.start, w.keep_from, w.keep_to) for w in whole] == [
        (w.start, w.keep_from, w.keep_to) for w in pieces
    ]
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)


@given(data=st.data())
def test_windows_of_any_stream(data: st.DataObject) -> None:
    """Every sample is kept once, by a window that holds it, however the stream is cut into blocks."""
    grid = data.draw(st.integers(1, 8), "grid")
    hop = grid * data.draw(st.integers(1, 8), "hop in grid")
    window = hop + data.draw(st.integers(0, 40), "overlap")
    after = data.draw(st.none() | st.integers(0, window - hop), "after")
    margin = data.draw(st.integers(0, 20), "margin")
    stream = np.arange(data.draw(st.integers(1, 400), "samples"), dtype=np.float32)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8), "cuts")
    windower, whole = (Windower(window, hop, grid, after, margin) for _ in range(2))
    windows = [w for block in np.split(stream, sorted(cuts)) for w in windower.push(block)] + windower.flush()
    assert [w.keep_from for w in windows] + [len(stream)] == [0] + [w.keep_to for w in windows]
    for w in windows:
        assert w.start % grid == 0 and w.start <= w.keep_from < w.keep_to <= w.end
        assert w.end - w.start <= window
        np.testing.assert_array_equal(w.samples, stream[w.start : w.end])
    same = whole.push(stream) + whole.flush()
    assert [(w.start, w.end, w.keep_to) for w in windows] == [(w.start, w.end, w.keep_to) for w in same]


def test_no_samples_no_windows() -> None:
    assert Windower(10, 5).flush() == []


def test_exact_fit_has_no_tail() -> None:
    assert [w.start for w in cut(30, 10, 10)] == [0, 10, 20]


def test_tail_is_kept() -> None:
    assert [(w.start, w.end) for w in cut(25, 10, 10)] == [(0, 10), (10, 20), (20, 25)]


def test_sliver_of_a_tail_moves_the_last_window_back() -> None:
    last = cut(205, 100, 100)[-1]
    assert (last.start, last.end, last.keep_from, last.keep_to) == (105, 205, 200, 205)
    assert cut(205, 100, 100, grid=10)[-1].start == 110


@pytest.mark.parametrize(("window", "hop", "grid"), [(10, 0, 1), (10, 11, 1), (10, 5, 2)])
def test_impossible_hops(window: int, hop: int, grid: int) -> None:
    with pytest.raises(ValueError, match="hop"):
        Windower(window, hop, grid)


def cut_excerpts(
    n_samples: int, rate: int, window: int, hop: int, size: int, margin: int, after: int | None = None
) -> list[Window]:
    windower = ExcerptWindower(rate, 48, margin, window, hop, after=after)
    samples = np.arange(n_samples, dtype=np.float32)
    windows = [w for at in range(0, n_samples, size) for w in windower.push(samples[at : at + size])]
    return windows + windower.flush()


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("n_samples", [1, 20, 160, 161, 165, 175, 320, 321, 1000])
@pytest.mark.parametrize(("window", "hop"), [(480, 480), (480, 240)])
def test_excerpts_are_the_windows_of_the_resampled_recording(
    n_samples: int, window: int, hop: int, size: int
) -> None:
    excerpts = cut_excerpts(n_samples, 16, window, hop, size, margin=10)
    windows = cut(3 * n_samples, window, hop, grid=3)
    assert [(w.start, w.end, w.keep_from, w.keep_to) for w in excerpts] == [
        (w.start, w.end, w.keep_from, w.keep_to) for w in windows
    ]
    for w in excerpts:
        assert isinstance(w.samples, Excerpt)
        first, last = max(0, w.start // 3 - 10), min(n_samples, w.end // 3 + 10)
        np.testing.assert_array_equal(w.samples.samples, np.arange(first, last))
        assert (w.samples.before, w.samples.sample_rate) == (w.start // 3 - first, 16)


def test_a_margin_is_a_whole_number_of_samples_at_both_rates() -> None:
    windows = cut_excerpts(2160, 44, 480, 480, 100, margin=3)
    assert [w.start for w in windows] == [480 * number for number in range(5)]
    assert [Excerpt.of(w.samples, 44).before for w in windows] == [0, 11, 11, 11, 11]
    assert windows[-1].end == windows[-1].keep_to == 2356  # 2356.4


class Resamples:
    sample_rate, window_s, frame_s = 48_000, 10.0, 10.0

    def resample_margin(self, sample_rate: int) -> int | None:
        return 93 if sample_rate == 44_100 else None


def test_only_what_fits_is_cut_at_its_own_rate() -> None:
    rate, windower = clip_windower(Resamples(), 44_100)
    assert rate == 44_100
    assert isinstance(windower, ExcerptWindower)
    for rate, windower in (
        clip_windower(Resamples(), 44_099),
        windower_for(Resamples(), 44_100, 480_000, 160_001),
        windower_for(Resamples(), 44_100, 480_000, 160_000, after=1),
    ):
        assert rate == 48_000
        assert type(windower) is Windower


class OneFrame:
    sample_rate, window_s, frame_s = 1000, 5.0, 5.0


def test_a_rest_of_a_sample_is_no_window_of_its_own() -> None:
    """Clips of five seconds have a sample more after resampling; a network makes anything of a sample."""
    _, windower = clip_windower(OneFrame(), 1000)
    windows = [*windower.push(np.arange(10_001, dtype=np.float32)), *windower.flush()]
    assert [(w.start, w.end, w.keep_from, w.keep_to) for w in windows] == [
        (0, 5000, 0, 5000),
        (5000, 10_000, 5000, 10_000),
        (5001, 10_001, 10_000, 10_001),
    ]
