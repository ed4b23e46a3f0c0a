"""Blocks of any size -> windows of one size.

Conventions: positions are in samples from the start of the stream, at the stream's rate. A window *speaks
for* a part of the stream: neighbouring windows that overlap share their overlap in the middle, so that every
sample is spoken for once, by the window in which it has most context on either side.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zsaudio.resample import StreamResampler

_SHORTEST_TAIL = 0.1  # of a window; a shorter rest would be mostly padding


@dataclass(frozen=True)
class Window:
    """A stretch of samples, and the part of the stream that it speaks for.

    Parameters
    ----------
    start
        Position of the first sample.
    samples
        float32 ``(n_samples,)``; the last window of a stream may be shorter than the others.
    keep_from, keep_to
        The part ``[keep_from, keep_to)`` of the stream that this window speaks for.
    """

    start: int
    samples: np.ndarray
    keep_from: int
    keep_to: int


class Windower:
    """Cut a stream into overlapping windows.

    The windows depend on the samples alone, not on how they were cut into blocks. The last window is kept
    even where it is not full; a rest shorter than a tenth of a window is covered by moving the last
    window back over samples that were seen before.

    Parameters
    ----------
    window, hop
        Length of a window and distance between windows, in samples; ``0 < hop <= window``.
    grid
        Windows start at multiples of this many samples (a model's frame); ``hop`` must be one.
    after
        How much of a window lies beyond the part that it speaks for; None: half of the overlap.

    Examples
    --------
    >>> import numpy as np
    >>> windower = Windower(window=10, hop=6)
    >>> windows = windower.push(np.zeros(14)) + windower.flush()
    >>> [(w.start, len(w.samples), w.keep_from, w.keep_to) for w in windows]
    [(0, 10, 0, 8), (6, 8, 8, 14)]
    """

    def __init__(self, window: int, hop: int, grid: int = 1, after: int | None = None) -> None:
        if not 0 < hop <= window:
            raise ValueError(f"hop {hop} must be above 0 and at most the window, {window}")
        if hop % grid:
            raise ValueError(f"hop {hop} must be a multiple of the grid, {grid}")
        if after is not None and not 0 <= after <= window - hop:
            raise ValueError(f"after {after} must be at least 0 and at most the overlap, {window - hop}")
        self._window, self._hop, self._grid = window, hop, grid
        self._after = (window - hop) // 2 if after is None else after
        self._buffer = np.empty(4 * window, np.float32)
        self._filled = 0  # samples in the buffer
        self._start = 0  # position of buffer[0]: where the next window starts, less what a tail may need
        self._next = 0  # position of the next window
        self._spoken_for = 0

    def push(self, block: np.ndarray) -> list[Window]:
        """Take the next samples; return the windows that they complete."""
        windows = []
        while len(block):
            taken = block[: len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            block = block[len(taken) :]
            # Strictly more than a window: one that ends the stream is the last one, and flush() returns it.
            while self._end() > self._next + self._window:
                windows.append(self._cut(self._next, self._next + self._window, last=False))
                self._next += self._hop
            self._forget()
        return windows

    def flush(self) -> list[Window]:
        """End the stream; return its last window. A stream without samples has none."""
        end = self._end()
        if end == 0:
            return []
        start = self._next
        if self._next and end - self._next < _SHORTEST_TAIL * self._window:
            start = max(0, -(-(end - self._window) // self._grid) * self._grid)
        return [self._cut(start, end, last=True)]

    def _end(self) -> int:
        return self._start + self._filled

    def _cut(self, start: int, end: int, last: bool) -> Window:
        samples = self._buffer[start - self._start : end - self._start].copy()
        keep_from = self._spoken_for
        self._spoken_for = end if last else end - self._after
        return Window(start, samples, keep_from, self._spoken_for)

    def _forget(self) -> None:
        """Drop what no later window needs: all but the window before the next one."""
        surplus = self._next - self._window - self._start
        if surplus > 0 and len(self._buffer) - self._filled < self._window:
            self._buffer[: self._filled - surplus] = self._buffer[surplus : self._filled]
            self._filled -= surplus
            self._start += surplus


def cut_blocks(
    blocks: Iterable[np.ndarray], sample_rate: int, windowers: Sequence[tuple[int, Windower]]
) -> Iterator[list[tuple[int, Window]]]:
    """Cut one stream in several ways at once; yield what blocks complete, as soon as they do.

    Parameters
    ----------
    blocks, sample_rate
        The stream, float32 mono, and its rate in Hz.
    windowers
        Each with the rate at which it is to get the stream.

    Yields
    ------
    Windows, each with the number of its windower.
    """
    resamplers = {rate: StreamResampler(sample_rate, rate) for rate, _ in windowers}

    def push(piece: np.ndarray, last: bool = False) -> list[tuple[int, Window]]:
        at_rate = {rate: resampler.push(piece, last=last) for rate, resampler in resamplers.items()}
        return [
            (number, window)
            for number, (rate, windower) in enumerate(windowers)
            for window in windower.push(at_rate[rate])
        ]

    for block in blocks:
        # in pieces, so that a whole recording given as one block does not become windows all at once
        for start in range(0, len(block), sample_rate):
            yield push(block[start : start + sample_rate])
    yield push(np.zeros(0, np.float32), last=True)
    yield [(number, window) for number, (_, windower) in enumerate(windowers) for window in windower.flush()]
