"""Windows -> scores -> events, as the audio comes: the one engine behind files and live sound.

Which windows. A model that sees a bounded context on either side of a frame gives the same scores for a frame
in any window that holds that context. So files go through in long stretches, which costs least, and live
audio in short ones, which are early; events are the same. Any other model gets windows of its own length,
half overlapping, and each speaks for its middle.

Conventions: positions are in samples at the model's rate, from the start; times are seconds.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np

from zsaudio.audio import AudioReader, Source, source_name
from zsaudio.errors import AudioError, OptionError
from zsaudio.events import ClipEvents, DetectionOptions, Event, EventDetector, FrameScores
from zsaudio.labels import Label, LabelSet
from zsaudio.models.base import LabelBank, Model
from zsaudio.prefetch import read_ahead
from zsaudio.resample import StreamResampler
from zsaudio.scoring import to_scores
from zsaudio.windows import Window, Windower

FILE_HOP_S = 30.0  # new audio in each window of a file, for models of bounded context
LIVE_HOP_S = 0.5  # the same for live audio

OnScores = Callable[[FrameScores], None]


@dataclass(frozen=True)
class WindowPlan:
    """How a stream is cut: lengths in samples at the model's rate.

    ``after`` is what a window holds beyond the part that it speaks for, ``grid`` what positions are
    multiples of.
    """

    window: int
    hop: int
    after: int
    grid: int


def plan_windows(model: Model, options: DetectionOptions, usual_hop_s: float) -> WindowPlan:
    """Choose windows for a model.

    Parameters
    ----------
    model
        Its ``context_s``, ``frame_s`` and ``window_s`` decide what the options leave open.
    options
        The user's wishes; lengths are rounded to whole frames.
    usual_hop_s
        Hop of a model of bounded context, where the options name none.

    Raises
    ------
    OptionError
        If the wishes do not go together.
    """
    rate = model.sample_rate
    frame = round(model.frame_s * rate)
    grid = frame if frame < round(model.window_s * rate) else 1

    def samples(seconds: float | None, least: int = 0) -> int | None:
        return None if seconds is None else max(least, round(seconds * rate / grid) * grid)

    window, hop = samples(options.window_s, grid), samples(options.hop_s, grid)
    overlap, after = samples(options.overlap_s), samples(options.lookahead_s)
    if model.context_s:
        context = math.ceil(model.context_s * rate / grid) * grid
        after = context if after is None else after
        overlap = context + after if overlap is None else overlap
        if window is None:
            hop = hop or round(usual_hop_s * rate / grid) * grid
            window = hop + overlap
        hop = hop or window - overlap
    else:
        longest = round(model.window_s * rate)
        window = window or longest
        if window > longest:
            raise OptionError(
                f"a window of {window / rate:g} s is too long: {model.name} takes {longest / rate:g} s"
            )
        hop = hop or (round(window / 2 / grid) * grid if overlap is None else window - overlap)
    if hop <= 0:
        raise OptionError(f"a window of {window / rate:g} s leaves nothing beside the overlap")
    if hop > window:
        raise OptionError(f"a hop of {hop / rate:g} s leaves gaps between windows of {window / rate:g} s")
    if after is None or after > window - hop:
        after = round((window - hop) / 2 / grid) * grid
    return WindowPlan(window, hop, after, grid)


class EventFinder:
    """Find the events of one stream or recording after another.

    Parameters
    ----------
    model, bank, labels
        What listens, and for what.
    options
        How events are found.
    usual_hop_s
        See ``plan_windows``.
    on_scores
        Called with every frame's scores as they are computed.
    """

    def __init__(
        self,
        model: Model,
        bank: LabelBank,
        labels: LabelSet,
        options: DetectionOptions,
        usual_hop_s: float,
        on_scores: OnScores | None = None,
    ) -> None:
        self._model, self._bank, self._options, self._on_scores = model, bank, options, on_scores
        self._plan = plan_windows(model, options, usual_hop_s)
        self._background = np.array([label.background for label in labels])
        self._reported: list[Label] = [label for label in labels if not label.background]

    def stream(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[Event]:
        """Yield the events of a stream, each as it closes."""
        return self._events(self._windows(map(_checked, blocks), sample_rate))

    def clips(
        self, sources: Iterable[Source], sample_rate: int | None, channel: int | None, batch_size: int
    ) -> Iterator[ClipEvents]:
        """Yield the events of recordings, in order; the next audio is decoded meanwhile."""

        def read(clip: _Clip) -> Iterator[Window]:
            """Decode, resample and cut one recording; runs in a thread."""
            reader = AudioReader(clip.source, sample_rate, channel)
            rate = self._model.sample_rate
            for windows in self._windows(reader.blocks(rate), rate):
                yield from windows
            clip.duration_s, clip.sample_rate = reader.seconds_read, reader.sample_rate

        if self._model.context_s:
            batch_size = 1  # a long stretch is as good as a batch, and takes less memory
        with closing(read_ahead(read, map(_Clip, sources))) as reading:
            for clip, windows in reading:
                name = source_name(clip.source)
                events = sorted(self._events(_batches(clip.guard(windows), batch_size)))
                found = () if clip.error else tuple(events)
                yield ClipEvents(name, clip.duration_s, clip.sample_rate, found, clip.error)

    def _windows(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[list[Window]]:
        """Yield the windows that blocks complete, as soon as they do."""
        resampler = StreamResampler(sample_rate, self._model.sample_rate)
        plan = self._plan
        windower = Windower(plan.window, plan.hop, plan.grid, plan.after)
        for block in blocks:
            # in pieces, so that a whole recording given as one block does not become windows all at once
            for start in range(0, len(block), sample_rate):
                yield windower.push(resampler.push(block[start : start + sample_rate]))
        yield windower.push(resampler.push(np.zeros(0, np.float32), last=True))
        yield windower.flush()

    def _events(self, batches: Iterable[list[Window]]) -> Iterator[Event]:
        rate = self._model.sample_rate
        # where a window is one frame, a frame speaks for a hop
        frame_s = min(self._model.frame_s, self._plan.hop / rate)
        detector = EventDetector(self._reported, self._options, frame_s)
        for windows in batches:
            if not windows:
                continue
            logits = self._model.logits([window.samples for window in windows], self._bank)
            for window, frames in zip(windows, logits, strict=True):
                scores = to_scores(frames, self._background)[:, ~self._background]
                for kept, start, end in frames_kept(window, len(frames), round(self._model.frame_s * rate)):
                    onset, offset = start / rate, end / rate
                    closed = detector.push(onset, offset, scores[kept])
                    if self._on_scores is not None:
                        self._on_scores(FrameScores(onset, offset, scores[kept], detector.heard))
                    yield from closed
        yield from detector.flush()


@dataclass
class _Clip:
    """A recording on its way through the pipeline."""

    source: Source
    duration_s: float = 0.0
    sample_rate: int = 0
    error: Exception | None = None

    def guard(self, windows: Iterator[Window]) -> Iterator[Window]:
        """Yield the windows; keep the error that ends them to the recording itself."""
        try:
            yield from windows
        except Exception as error:
            self.error = error


def frames_kept(window: Window, n_frames: int, frame: int) -> Iterator[tuple[int, int, int]]:
    """Yield the frames that speak for a window's part of the stream: number, start and end in samples.

    A frame's span is cut to the window's samples; it belongs where its middle lies. The spans that are
    yielded fill the part ``[keep_from, keep_to)`` without gaps.
    """
    starts = window.start + frame * np.arange(n_frames)
    ends = np.minimum(starts + frame, window.start + len(window.samples))
    middles = (starts + ends) / 2
    kept = np.flatnonzero((middles >= window.keep_from) & (middles < window.keep_to) & (starts < ends))
    if not len(kept):  # the frame is longer than the part that it speaks for
        kept = np.argmin(np.abs(middles - (window.keep_from + window.keep_to) / 2), keepdims=True)
    edges = [window.keep_from, *starts[kept[1:]].tolist(), window.keep_to]
    yield from zip(kept.tolist(), edges[:-1], edges[1:], strict=True)


def _checked(block: np.ndarray) -> np.ndarray:
    block = np.asarray(block, np.float32)
    if block.ndim != 1:
        raise AudioError(f"a block must be mono, (n_samples,), not {block.shape}")
    if not np.isfinite(block).all():
        raise AudioError("a block holds NaN or infinite samples")
    return block


def _batches(windows: Iterator[Window], size: int) -> Iterator[list[Window]]:
    while batch := list(islice(windows, size)):
        yield batch
