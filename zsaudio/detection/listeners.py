"""What listens to a stream: windows in; scores, frame by frame, and events out.

A ``SoundListener`` stands for a model of sounds and its labels, a ``KeywordListener`` for a model of speech
and its keywords. Each says how it wants the stream to be cut; both can listen to the same one
(``zsaudio.detection.engine``).

Which windows. A model that sees a bounded context on either side of a frame gives the same scores for a frame
in any window that holds that context. So files go through in long stretches, which costs least, and live
audio in short ones, which are early; events are the same. Any other model gets windows of its own length,
half overlapping, and each speaks for its middle.

Conventions: positions are in samples at the model's rate, from the start; times are seconds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from zsaudio.audio.windows import Window, Windower, windower_for
from zsaudio.detection.hysteresis import DetectionOptions, EventDetector
from zsaudio.detection.keyword_peaks import KeywordDetector
from zsaudio.detection.scoring import to_scores
from zsaudio.errors import OptionError
from zsaudio.labels import Label
from zsaudio.models.base import LabelBank, Model, SpeechModel
from zsaudio.models.speech.alignment import KeywordSpotter
from zsaudio.results import Event, FrameScores

KEYWORD_HOP_S = 0.09  # new audio in each window of live speech: more would be late
KEYWORD_FRAMES = 5  # of a model of speech that are told as one


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


class Listener(Protocol):
    """One model and its labels."""

    sample_rate: int
    plan: WindowPlan

    @property
    def labels(self) -> Sequence[Label]:
        """The labels that its scores are of."""
        ...

    def windower(self, sample_rate: int) -> tuple[int, Windower]:
        """Return what cuts audio of a rate for the listener, and the rate at which that takes it."""
        ...

    def begin(self) -> None:
        """Begin a new stream."""
        ...

    def hear(self, windows: Sequence[Window]) -> Iterator[tuple[FrameScores, list[Event]]]:
        """Take the next windows; yield frames, with the events that each of them closes."""
        ...

    def end(self) -> list[Event]:
        """End the stream; return the events that were still open."""
        ...


def plan_windows(model: Model, options: DetectionOptions, usual_hop_s: float) -> WindowPlan:
    """Choose windows for a model of sounds.

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


def plan_keyword_windows(model: SpeechModel, hop_s: float) -> WindowPlan:
    """Choose windows for a model of speech: its context, and ``hop_s`` of new audio."""
    frame = round(model.frame_s * model.sample_rate)
    before, after, hop = (
        math.ceil(seconds * model.sample_rate / frame - 1e-6) * frame
        for seconds in (model.before_s, model.after_s, hop_s)
    )
    return WindowPlan(before + hop + after, hop, after, frame)


def keyword_windower(model: SpeechModel, hop_s: float) -> tuple[int, Windower]:
    """Return what cuts audio for a model of speech, and the rate at which that takes it."""
    plan = plan_keyword_windows(model, hop_s)
    return model.sample_rate, Windower(plan.window, plan.hop, plan.grid, plan.after)


class SoundListener:
    """Listens for sounds.

    Parameters
    ----------
    model, bank, labels
        What listens, and for what; background labels compete and are not reported.
    options
        How events are found.
    usual_hop_s
        See ``plan_windows``.
    """

    def __init__(
        self,
        model: Model,
        bank: LabelBank,
        labels: Sequence[Label],
        options: DetectionOptions,
        usual_hop_s: float,
    ) -> None:
        self._model, self._bank, self._options = model, bank, options
        self.sample_rate = model.sample_rate
        self.plan = plan_windows(model, options, usual_hop_s)
        self._background = np.array([label.background for label in labels])
        self.labels = [label for label in labels if not label.background]
        self._frame = round(model.frame_s * model.sample_rate)
        self.begin()

    def windower(self, sample_rate: int) -> tuple[int, Windower]:
        """Return what cuts audio of a rate for the listener, and the rate at which that takes it."""
        plan = self.plan
        return windower_for(self._model, sample_rate, plan.window, plan.hop, plan.grid, plan.after)

    def begin(self) -> None:
        """Begin a new stream."""
        # where a window is one frame, a frame speaks for a hop
        frame_s = min(self._model.frame_s, self.plan.hop / self.sample_rate)
        self._detector = EventDetector(self.labels, self._options, frame_s)

    def hear(self, windows: Sequence[Window]) -> Iterator[tuple[FrameScores, list[Event]]]:
        """Take the next windows; yield frames, with the events that each of them closes."""
        logits = self._model.logits([window.samples for window in windows], self._bank)
        for window, frames in zip(windows, logits, strict=True):
            scores = to_scores(frames, self._background)[:, ~self._background]
            for kept, start, end in frames_kept(window, len(frames), self._frame):
                onset, offset = start / self.sample_rate, end / self.sample_rate
                closed = self._detector.push(onset, offset, scores[kept])
                yield FrameScores(onset, offset, scores[kept], self._detector.heard), closed

    def end(self) -> list[Event]:
        """End the stream; return the events that were still open."""
        return self._detector.flush()


class KeywordListener:
    """Listens for keywords.

    Parameters
    ----------
    model, bank, labels
        What listens, and for what.
    options
        Thresholds of events.
    hop_s
        New audio in each window.
    """

    def __init__(
        self,
        model: SpeechModel,
        bank: LabelBank,
        labels: Sequence[Label],
        options: DetectionOptions,
        hop_s: float,
    ) -> None:
        self._model, self._bank, self._options = model, bank, options
        self.sample_rate, self.labels = model.sample_rate, labels
        self.plan, self._hop_s = plan_keyword_windows(model, hop_s), hop_s
        self.begin()

    def windower(self, sample_rate: int) -> tuple[int, Windower]:
        """Return what cuts audio of a rate for the listener, and the rate at which that takes it."""
        return keyword_windower(self._model, self._hop_s)

    def begin(self) -> None:
        """Begin a new stream."""
        how, frame_s = self._model.calibration, self._model.frame_s
        self._spotter = KeywordSpotter(self._bank.data, how)
        self._detector = KeywordDetector(self.labels, self._options, how, frame_s)

    def hear(self, windows: Sequence[Window]) -> Iterator[tuple[FrameScores, list[Event]]]:
        """Take the next windows; yield stretches of frames, with the events that each of them settles."""
        heard = np.zeros(len(self.labels), bool)  # an event is over before it is known
        for window in windows:
            (frames,) = self._model.log_probs([window.samples])
            spans = list(frames_kept(window, len(frames), self.plan.grid))
            for first in range(0, len(spans), KEYWORD_FRAMES):
                stretch = spans[first : first + KEYWORD_FRAMES]
                spotted = self._spotter.push(frames[stretch[0][0] : stretch[-1][0] + 1])
                events = self._detector.push(spotted)
                scores = to_scores(spotted.logits.max(axis=0), heard)  # no background, as none is heard
                start, end = stretch[0][1] / self.sample_rate, stretch[-1][2] / self.sample_rate
                yield FrameScores(start, end, scores, heard), events

    def end(self) -> list[Event]:
        """End the stream; return the events that were not settled."""
        return self._detector.flush()


def frames_kept(window: Window, n_frames: int, frame: int) -> Iterator[tuple[int, int, int]]:
    """Yield the frames that speak for a window's part of the stream: number, start and end in samples.

    A frame's span is cut to the window's samples; it belongs where its middle lies. The spans that are
    yielded fill the part ``[keep_from, keep_to)`` without gaps.
    """
    starts = window.start + frame * np.arange(n_frames)
    ends = np.minimum(starts + frame, window.end)
    middles = (starts + ends) / 2
    kept = np.flatnonzero((middles >= window.keep_from) & (middles < window.keep_to) & (starts < ends))
    if not len(kept):  # the frame is longer than the part that it speaks for
        kept = np.argmin(np.abs(middles - (window.keep_from + window.keep_to) / 2), keepdims=True)
    edges = [window.keep_from, *starts[kept[1:]].tolist(), window.keep_to]
    yield from zip(kept.tolist(), edges[:-1], edges[1:], strict=True)
