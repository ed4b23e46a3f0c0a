"""A model with its labels on a stream: how it is cut into windows, and how outputs become events.

A ``SoundListener`` joins a model of sounds and its labels, a ``KeywordListener`` a model of speech and its
keywords. Both can run on the same audio (``zsaudio.detection.events``). A listener has no state; its
``start()`` returns a tracker, which holds that of one stream.

Which windows: a model with a bounded context on either side of a frame gives the same scores for a frame in
any window that holds that context. So files are cut into long windows, which cost least, and live audio into
short ones, which are early; the events are the same. Any other model gets windows of its own length with an
overlap of half (or its own ``overlap_s``), and of each window its middle is used.

Conventions: positions are in samples at the model's rate, from the start; times are seconds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

import numpy as np

from zsaudio.audio.windows import Window, Windower, windower_for
from zsaudio.detection.engine import Stage
from zsaudio.detection.hysteresis import DetectionOptions, EventDetector
from zsaudio.detection.keyword_peaks import KeywordDetector
from zsaudio.detection.scoring import to_scores
from zsaudio.errors import OptionError
from zsaudio.labels import Label
from zsaudio.models.base import Encoder, KeywordBank, LabelBank, Model, SpeechModel
from zsaudio.models.speech.alignment import KeywordSpotter
from zsaudio.results import Event, FrameScores

FILE_HOP_S = 30.0  # new audio in each window of a file, for models of bounded context
LIVE_HOP_S = 0.5  # the same for live audio
KEYWORD_HOP_S = 0.09  # the same for keywords in live audio: a longer one would report them late
KEYWORD_FRAMES = 5  # frames of a model of speech that are reported as one


@dataclass(frozen=True)
class WindowPlan:
    """How a stream is cut: lengths in samples at the model's rate.

    ``after`` is the length of a window after its own part; positions are multiples of ``grid``.
    """

    window: int
    hop: int
    after: int
    grid: int


class Tracker(Protocol):
    """Makes events of a model's outputs for one stream."""

    def push(self, window: Window, output: np.ndarray) -> Iterator[tuple[FrameScores, list[Event]]]:
        """Take the output for the next window; yield its frames, each with the events that it closes."""
        ...

    def flush(self) -> list[Event]:
        """End the stream; return the events that were still open."""
        ...


class Listener(Protocol):
    """A model with labels: how its audio is cut, what it computes, and how events are found in that."""

    stage: Stage
    kept_stage: Stage  # the same, for outputs that are kept (``zsaudio.detection.heard``)
    kept_as: object  # equal where a listener can use what another one has kept
    sample_rate: int  # of its windows, in Hz

    @property
    def labels(self) -> Sequence[Label]:
        """The labels that its scores are of."""
        ...

    def start(self) -> Tracker:
        """Return a tracker for a new stream."""
        ...

    def scored(self, kept: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the outputs of ``stage`` from those of ``kept_stage``."""
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
        usual = samples(getattr(model, "overlap_s", window / rate / 2)) or 0
        if overlap is None:
            overlap = min(usual, round(window / 2 / grid) * grid)
        hop = hop or window - overlap
    if hop <= 0:
        raise OptionError(f"a window of {window / rate:g} s leaves nothing beside the overlap")
    if hop > window:
        raise OptionError(f"a hop of {hop / rate:g} s leaves gaps between windows of {window / rate:g} s")
    if after is None or after > window - hop:
        after = round((window - hop) / 2 / grid) * grid
    return WindowPlan(window, hop, after, grid)


def windows_together(model: Model | None, batch_size: int) -> int:
    """Return how many windows of recordings run together, at most ``batch_size``.

    A model with a bounded context, as one of speech (None), gets long windows: a few keep the CPU's threads
    busy, more would only take memory.
    """
    return min(batch_size, 4) if model is None or model.context_s else batch_size


def plan_keyword_windows(model: SpeechModel, hop_s: float) -> WindowPlan:
    """Choose windows for a model of speech: its context, and ``hop_s`` of new audio."""
    frame = round(model.frame_s * model.sample_rate)
    before, after, hop = (
        math.ceil(seconds * model.sample_rate / frame - 1e-6) * frame
        for seconds in (model.before_s, model.after_s, hop_s)
    )
    return WindowPlan(before + hop + after, hop, after, frame)


def keyword_stage(model: SpeechModel, hop_s: float) -> Stage:
    """Return how a model of speech runs, on windows with ``hop_s`` of new audio each."""
    plan = plan_keyword_windows(model, hop_s)
    return Stage(
        model.name,
        lambda _: (model.sample_rate, Windower(plan.window, plan.hop, plan.grid, plan.after)),
        model.log_probs,
    )


class SoundListener:
    """A model of sounds with its labels.

    Parameters
    ----------
    model, bank, labels
        The model, and its labels; background labels compete and are not reported.
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
        self._model, self._options = model, options
        self._background = np.array([label.background for label in labels])
        self.labels = [label for label in labels if not label.background]
        self._plan = plan = plan_windows(model, options, usual_hop_s)
        self.stage = Stage(
            model.name,
            lambda rate: windower_for(model, rate, plan.window, plan.hop, plan.grid, plan.after),
            lambda samples: model.logits(samples, bank),
        )
        self._bank, self.sample_rate = bank, model.sample_rate
        self._encoder = cast(Encoder, model) if hasattr(model, "encode_audio") else None
        self.kept_stage = self.stage
        self.kept_as: object = model, tuple(labels)
        if self._encoder is not None:  # embeddings serve any labels
            self.kept_stage = replace(self.stage, run=self._encoder.encode_audio)
            self.kept_as = model, ()

    def scored(self, kept: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the logits of windows from what ``kept_stage`` made of them."""
        return self._encoder.compare(kept, self._bank) if self._encoder is not None else list(kept)

    def start(self) -> "SoundTracker":
        """Return a tracker for a new stream."""
        rate = self._model.sample_rate
        # where a window is one frame, a frame stands for a hop
        frame_s = min(self._model.frame_s, self._plan.hop / rate)
        detector = EventDetector(self.labels, self._options, frame_s)
        return SoundTracker(detector, self._background, round(self._model.frame_s * rate), rate)


@dataclass
class SoundTracker:
    """Finds the events of sounds in one stream.

    Parameters
    ----------
    detector
        What finds them.
    background
        ``(n_labels,)`` booleans: which labels are background.
    frame
        Length of the model's frames, in samples.
    sample_rate
        The model's, in Hz.
    """

    detector: EventDetector
    background: np.ndarray
    frame: int
    sample_rate: int

    def push(self, window: Window, output: np.ndarray) -> Iterator[tuple[FrameScores, list[Event]]]:
        """Take the logits of the next window; yield its frames, each with the events that it closes."""
        scores = to_scores(output, self.background)[:, ~self.background]
        kept, starts, ends = zip(*frames_kept(window, len(output), self.frame), strict=True)
        times, scores = np.stack([starts, ends], axis=1) / self.sample_rate, scores[list(kept)]
        closing = self.detector.push_all(times, scores)
        for (onset, offset), own, closed in zip(times.tolist(), scores, closing, strict=True):
            yield FrameScores(onset, offset, own, self.detector.heard), closed

    def flush(self) -> list[Event]:
        """End the stream; return the events that were still open."""
        return self.detector.flush()


class KeywordListener:
    """A model of speech with its keywords.

    Parameters
    ----------
    model, bank, labels
        The model, and its keywords.
    options
        How events are found.
    hop_s
        New audio in each window, in seconds.
    """

    def __init__(
        self,
        model: SpeechModel,
        bank: KeywordBank,
        labels: Sequence[Label],
        options: DetectionOptions,
        hop_s: float,
    ) -> None:
        self._model, self._bank, self._options = model, bank, options
        self.labels = labels
        self.stage = self.kept_stage = keyword_stage(model, hop_s)
        self.kept_as: object = model
        self.sample_rate = model.sample_rate

    def scored(self, kept: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the log-probabilities of windows, which are kept as they are."""
        return list(kept)

    def start(self) -> "KeywordTracker":
        """Return a tracker for a new stream."""
        model = self._model
        spotter = KeywordSpotter(self._bank.keywords, model.scoring)
        detector = KeywordDetector(self.labels, self._options, model.scoring, model.frame_s, compete=True)
        return KeywordTracker(spotter, detector, round(model.frame_s * model.sample_rate), model.sample_rate)


@dataclass
class KeywordTracker:
    """Finds the events of keywords in one stream.

    Parameters
    ----------
    spotter
        Scores the keywords.
    detector
        Finds the events in these scores.
    frame
        Length of the model's frames, in samples.
    sample_rate
        The model's, in Hz.
    """

    spotter: KeywordSpotter
    detector: KeywordDetector
    frame: int
    sample_rate: int

    def push(self, window: Window, output: np.ndarray) -> Iterator[tuple[FrameScores, list[Event]]]:
        """Take the log-probabilities of the next window; yield stretches of frames, each with its events."""
        spans = list(frames_kept(window, len(output), self.frame))
        for first in range(0, len(spans), KEYWORD_FRAMES):
            stretch = spans[first : first + KEYWORD_FRAMES]
            spotted = self.spotter.push(output[stretch[0][0] : stretch[-1][0] + 1])
            events = self.detector.push(spotted)
            ongoing = np.zeros(spotted.logits.shape[1], bool)  # an event is over before it is known
            scores = to_scores(spotted.logits.max(axis=0), ongoing)  # no label is background
            start, end = stretch[0][1] / self.sample_rate, stretch[-1][2] / self.sample_rate
            yield FrameScores(start, end, scores, ongoing), events

    def flush(self) -> list[Event]:
        """End the stream; return the events that were not final yet."""
        return self.detector.flush()


def frames_kept(window: Window, n_frames: int, frame: int) -> Iterator[tuple[int, int, int]]:
    """Yield the frames of a window's own part: number, start and end in samples.

    A frame belongs to the part in which its middle lies. The spans fill ``[keep_from, keep_to)``, without
    gaps.
    """
    starts = window.start + frame * np.arange(n_frames)
    ends = np.minimum(starts + frame, window.end)
    middles = (starts + ends) / 2
    kept = np.flatnonzero((middles >= window.keep_from) & (middles < window.keep_to) & (starts < ends))
    if not len(kept):  # the frame is longer than the window's own part
        kept = np.argmin(np.abs(middles - (window.keep_from + window.keep_to) / 2), keepdims=True)
    edges = [window.keep_from, *starts[kept[1:]].tolist(), window.keep_to]
    yield from zip(kept.tolist(), edges[:-1], edges[1:], strict=True)
