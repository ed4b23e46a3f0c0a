"""Blocks of any size -> windows of one size.

Conventions: positions are in samples from the start of the stream, at the stream's rate. Windows may
overlap. Each window *keeps* a part of the stream: neighbours share their overlap in the middle, so that every
sample is kept once, by the window in which it has most context on either side.

A model that resamples by itself gets its windows at the recording's own rate (``Excerpt``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import gcd
from typing import Any

import numpy as np

from zsaudio.audio.reader import AudioReader
from zsaudio.audio.resample import StreamResampler
from zsaudio.errors import AudioError

_SHORTEST_TAIL = 0.1  # of a window; a shorter rest would be mostly padding


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A window at the recording's own rate, with some of the recording on either side.

    Parameters
    ----------
    samples
        float32 ``(n,)``.
    sample_rate
        The recording's rate, in Hz.
    before
        How many of the samples are before the window.
    n_samples
        Length of the window at the model's rate.
    """

    samples: np.ndarray
    sample_rate: int
    before: int
    n_samples: int

    @classmethod
    def of(cls, samples: "np.ndarray | Excerpt", sample_rate: int) -> "Excerpt":
        """Return the samples of a window as an excerpt; those of an array are at ``sample_rate``."""
        return samples if isinstance(samples, Excerpt) else cls(samples, sample_rate, 0, len(samples))


@dataclass(frozen=True, eq=False)
class Window:
    """Consecutive samples of a stream, and the part of the stream that they keep.

    Parameters
    ----------
    start
        Position of the first sample.
    samples
        float32 ``(n_samples,)``, or an ``Excerpt``. The last window of a stream may be shorter.
    keep_from, keep_to
        The part ``[keep_from, keep_to)`` of the stream that this window keeps.
    """

    start: int
    samples: np.ndarray | Excerpt
    keep_from: int
    keep_to: int

    @property
    def end(self) -> int:
        """Position after the last sample."""
        samples = self.samples
        return self.start + (samples.n_samples if isinstance(samples, Excerpt) else len(samples))


class Windower:
    """Cut a stream into overlapping windows.

    The windows do not depend on how the stream is cut into blocks. The last window may be shorter than the
    others. If less than a tenth of a window remains at the end, the last window is full and overlaps the one
    before it further instead.

    Parameters
    ----------
    window, hop
        Length of a window and distance between windows, in samples; ``0 < hop <= window``.
    grid
        Windows start at multiples of this number of samples (a model's frame); ``hop`` must be one of them.
    after
        How many samples of a window follow the part that it keeps; None: half of the overlap.
    margin
        A window is returned when the stream has this many samples after it, or has ended.

    Examples
    --------
    >>> import numpy as np
    >>> windower = Windower(window=10, hop=6)
    >>> windows = windower.push(np.zeros(14)) + windower.flush()
    >>> [(w.start, len(w.samples), w.keep_from, w.keep_to) for w in windows]
    [(0, 10, 0, 8), (6, 8, 8, 14)]
    """

    def __init__(
        self, window: int, hop: int, grid: int = 1, after: int | None = None, margin: int = 0
    ) -> None:
        if not 0 < hop <= window:
            raise ValueError(f"hop {hop} must be above 0 and at most the window, {window}")
        if hop % grid:
            raise ValueError(f"hop {hop} must be a multiple of the grid, {grid}")
        if after is not None and not 0 <= after <= window - hop:
            raise ValueError(f"after {after} must be at least 0 and at most the overlap, {window - hop}")
        self._window, self._hop, self._grid = window, hop, grid
        self._after = (window - hop) // 2 if after is None else after
        self._margin = margin
        self._buffer: np.ndarray = np.empty(4 * window + 2 * margin, np.float32)
        self._filled = 0  # samples in the buffer
        self._start = 0  # position of buffer[0]; the buffer keeps what the last window may still need
        self._next = 0  # position of the next window
        self._kept = 0  # all samples before this position are kept by a window
        self._stop: int | None = None  # no window starts here or later

    @property
    def window(self) -> int:
        """Length of a window with its margins, in samples."""
        return self._window + 2 * self._margin

    def restrict(self, begin: int, stop: int | None, position: int) -> None:
        """Before the first block: cut only some of the windows of a stream, as they are in the whole stream.

        Parameters
        ----------
        begin, stop
            Windows that start in ``[begin, stop)`` are cut; None: to the end of the stream.
        position
            Where the first block starts: 0, or at least a window (and its margin) before ``begin``.
        """
        self._next = -(-begin // self._hop) * self._hop
        self._kept = self._next - self._hop + self._window - self._after if self._next else 0
        self._start, self._stop = position, stop

    def push(self, block: np.ndarray) -> list[Window]:
        """Take the next samples; return the windows that they complete."""
        windows = []
        while len(block) and not self._has_stopped():
            taken = block[: len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            block = block[len(taken) :]
            windows += self._full_windows(self._margin)
            self._forget()
        return windows

    def flush(self) -> list[Window]:
        """End the stream; return the windows that are left: none, if the stream had no samples."""
        end = self._end()
        if end == 0:
            return []
        windows = self._full_windows(margin=0)
        start = self._next
        if self._stop is not None:  # another part of the stream has its last window
            return windows
        if self._next and end - self._next < _SHORTEST_TAIL * self._window:
            start = max(0, -(-(end - self._window) // self._grid) * self._grid)
        return [*windows, self._cut(start, end, last=True)]

    def _full_windows(self, margin: int) -> list[Window]:
        """Return the next windows that have ``margin`` samples of the stream after them."""
        windows = []
        # Strictly more than a window: one that ends the stream is the last one, and flush() returns it.
        while not self._has_stopped() and self._end() > self._next + self._window + margin:
            windows.append(self._cut(self._next, self._next + self._window, last=False))
            self._next += self._hop
        return windows

    def _has_stopped(self) -> bool:
        return self._stop is not None and self._next >= self._stop

    def _end(self) -> int:
        return self._start + self._filled

    def _cut(self, start: int, end: int, last: bool) -> Window:
        keep_from = self._kept
        self._kept = end if last else end - self._after
        return Window(start, self._samples(start, end), keep_from, self._kept)

    def _samples(self, start: int, end: int) -> np.ndarray:
        """Return those of the samples ``[start, end)`` of the stream that are in the buffer."""
        first, last = max(start - self._start, 0), min(end - self._start, self._filled)
        return np.array(self._buffer[first:last])

    def _forget(self) -> None:
        """Drop the samples that no later window needs: the next may be the last, and reach back a window."""
        surplus = min(self._next - self._window - self._margin - self._start, self._filled)
        if surplus > 0 and len(self._buffer) - self._filled < self._window:
            self._buffer[: self._filled - surplus] = self._buffer[surplus : self._filled]
            self._filled -= surplus
            self._start += surplus


class ExcerptWindower(Windower):
    """Cut a recording into excerpts, for a model that resamples; positions are at the model's rate.

    Parameters
    ----------
    sample_rate, model_rate
        Rates of the recording and of the model, in Hz.
    window, hop, grid, after
        As those of ``Windower``, in samples at the model's rate; ``fits`` must hold for each.
    margin
        How many samples of the recording the model needs on either side of a window to resample it.
    """

    def __init__(
        self,
        sample_rate: int,
        model_rate: int,
        margin: int,
        window: int,
        hop: int,
        grid: int = 1,
        after: int | None = None,
    ) -> None:
        self._rates = sample_rate, model_rate
        # Only multiples of this are a whole number of samples at both rates.
        step = sample_rate // gcd(sample_rate, model_rate)
        window, hop, grid = (length * sample_rate // model_rate for length in (window, hop, grid))
        after = None if after is None else after * sample_rate // model_rate
        super().__init__(window, hop, max(grid, step), after, margin=-(-margin // step) * step)

    @staticmethod
    def fits(length: int | None, sample_rate: int, model_rate: int) -> bool:
        """Return whether a length at the model's rate is a whole number of samples of the recording."""
        return (length or 0) * sample_rate % model_rate == 0

    def _cut(self, start: int, end: int, last: bool) -> Window:
        cut = super()._cut(start, end, last)
        excerpt = Excerpt(
            self._samples(start - self._margin, end + self._margin),
            self._rates[0],
            before=start - max(start - self._margin, self._start),
            n_samples=self._at_model_rate(end) - self._at_model_rate(start),
        )
        position = self._at_model_rate
        return Window(position(start), excerpt, position(cut.keep_from), position(cut.keep_to))

    def _at_model_rate(self, position: int) -> int:
        """Return a position at the model's rate, rounded as soxr rounds a length."""
        sample_rate, model_rate = self._rates
        return (2 * position * model_rate + sample_rate) // (2 * sample_rate)


def windower_for(
    model: Any, sample_rate: int, window: int, hop: int, grid: int = 1, after: int | None = None
) -> tuple[int, Windower]:
    """Return the rate at which a model takes a recording, and the windower that cuts it.

    Parameters
    ----------
    model
        Anything with a ``sample_rate``. If it resamples by itself, its ``resample_margin(sample_rate)`` is
        the number of samples that it needs on either side of a window; None: it does not take that rate.
    sample_rate
        The recording's rate, in Hz.
    window, hop, grid, after
        As those of ``Windower``, in samples at the model's rate.
    """
    margin = model.resample_margin(sample_rate) if hasattr(model, "resample_margin") else None
    if margin is not None and all(
        ExcerptWindower.fits(length, sample_rate, model.sample_rate) for length in (window, hop, after)
    ):
        return sample_rate, ExcerptWindower(sample_rate, model.sample_rate, margin, window, hop, grid, after)
    return model.sample_rate, Windower(window, hop, grid, after)


def clip_windower(model: Any, sample_rate: int) -> tuple[int, Windower]:
    """Return what ``windower_for`` returns for a model's longest windows, one after another."""
    frame, window = (round(seconds * model.sample_rate) for seconds in (model.frame_s, model.window_s))
    # a window that is one frame may start anywhere, so that the last one is never a short rest
    return windower_for(model, sample_rate, window, window - window % frame, frame if frame < window else 1)


def cut_recording(
    reader: AudioReader, windowers: Sequence[tuple[int, Windower]]
) -> Iterator[list[tuple[int, Window]]]:
    """Cut a recording in several ways at once; yield the windows that blocks complete, as soon as they do.

    It is decoded to the highest rate that is asked for, unless one windower takes it as it is.

    Parameters
    ----------
    reader, windowers
        The recording, and what ``StreamCutter`` takes.

    Raises
    ------
    AudioError
        If the recording cannot be read, or is too short for a single window.
    DamagedAudioError
        After all windows: if only a part of it can be decoded.
    """
    rates = [rate for rate, _ in windowers]
    rate = reader.sample_rate if reader.sample_rate in rates else max(rates)
    cutter = StreamCutter(rate, windowers)
    without = set(range(len(windowers)))  # those that have cut no window so far
    for cut in chain(chain.from_iterable(map(cutter.push, reader.blocks(rate))), cutter.flush()):
        without -= {number for number, _ in cut}
        yield cut
    if without:
        raise AudioError(f"{reader.name}: too short ({1000 * reader.seconds_read:.3g} ms)")
    if reader.damage is not None:
        raise reader.damage


class StreamCutter:
    """Cut one stream with several windowers.

    Parameters
    ----------
    sample_rate
        The stream's rate, in Hz.
    windowers
        Each with the rate at which it takes the stream. The stream is resampled once for each rate.
    """

    def __init__(self, sample_rate: int, windowers: Sequence[tuple[int, Windower]]) -> None:
        self._sample_rate, self._windowers = sample_rate, windowers
        self._resamplers = {rate: StreamResampler(sample_rate, rate) for rate, _ in windowers}

    def push(self, block: np.ndarray) -> Iterator[list[tuple[int, Window]]]:
        """Take the next block; yield the windows that it completes, each with its windower's number."""
        # in pieces, so that a whole recording given as one block does not become windows all at once
        for start in range(0, len(block), self._sample_rate):
            yield self._push(block[start : start + self._sample_rate])

    def flush(self) -> Iterator[list[tuple[int, Window]]]:
        """End the stream; yield its last windows."""
        yield self._push(np.zeros(0, np.float32), last=True)
        yield [
            (number, window)
            for number, (_, windower) in enumerate(self._windowers)
            for window in windower.flush()
            if window.end > window.start  # a few samples at a high rate are none at the model's
        ]

    def _push(self, piece: np.ndarray, last: bool = False) -> list[tuple[int, Window]]:
        at_rate = {rate: resampler.push(piece, last=last) for rate, resampler in self._resamplers.items()}
        return [
            (number, window)
            for number, (rate, windower) in enumerate(self._windowers)
            for window in windower.push(at_rate[rate])
        ]
