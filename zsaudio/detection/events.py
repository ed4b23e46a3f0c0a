"""Events of recordings and of streams, from one or several models on the same audio.

Files and streams run through the same trackers (``zsaudio.detection.listeners``), so that their events are
the same; recordings go through the batched pass (``zsaudio.detection.engine``).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from zsaudio.audio.reader import MAX_RATE, MIN_RATE
from zsaudio.audio.sources import Source
from zsaudio.audio.windows import StreamCutter, Window
from zsaudio.detection.engine import Clip, Part, batched_pass, run_stages
from zsaudio.detection.listeners import Listener
from zsaudio.errors import AudioError, OptionError
from zsaudio.labels import Label
from zsaudio.results import ClipEvents, Event, FrameScores

OnScores = Callable[[FrameScores], None]


class EventTracker:
    """Find the events of one recording or stream; a ``Reducer`` of the batched pass.

    Parameters
    ----------
    listeners
        The models with their labels.
    labels
        The labels in the order in which ``on_scores`` gets their scores.
    on_scores
        Called with every frame's scores as they are computed.
    """

    def __init__(
        self, listeners: Sequence[Listener], labels: Sequence[Label], on_scores: OnScores | None = None
    ) -> None:
        self._trackers = [listener.start() for listener in listeners]
        self._merger = _Merger(listeners, [label for label in labels if not label.background])
        self._on_scores = on_scores
        self._events: list[Event] = []

    def push(self, stage: int, window: Window, output: np.ndarray) -> None:
        """Take the output of a listener for its next window."""
        for frame, closed in self._trackers[stage].push(window, output):
            if self._on_scores is not None:
                for merged in self._merger.push(stage, frame):
                    self._on_scores(merged)
            self._events += closed

    def take(self) -> list[Event]:
        """Return the events that have closed since the last call."""
        events, self._events = self._events, []
        return events

    def flush(self) -> list[Event]:
        """End the stream; return the events that were still open, after those of ``take``."""
        for tracker in self._trackers:
            self._events += tracker.flush()
        return self.take()

    def finish(self, clip: Clip) -> ClipEvents:
        """Return the events of a recording, by onset."""
        events = tuple(sorted(self.flush())) if clip.has_result else ()
        return ClipEvents(clip.name, clip.duration_s, clip.sample_rate, events, clip.error)


def find_events(
    sources: Iterable[Source],
    listeners: Sequence[Listener],
    labels: Sequence[Label],
    batch_size: int,
    *,
    sample_rate: int | None = None,
    channel: int | None = None,
    on_scores: OnScores | None = None,
) -> Iterator[ClipEvents]:
    """Yield the events of recordings, in order; the arguments are those of ``batched_pass``."""
    return batched_pass(
        sources,
        [listener.stage for listener in listeners],
        lambda: EventTracker(listeners, labels, on_scores),
        batch_size,
        sample_rate=sample_rate,
        channel=channel,
    )


class EventSession:
    """Finds the events of a stream that is pushed block by block; made by ``Recognizer.session``.

    Events do not depend on how the audio is cut into blocks. A session is for one stream and one thread.

    Parameters
    ----------
    sample_rate
        The stream's rate, in Hz.
    listeners, labels, on_scores
        As for ``EventTracker``.

    Raises
    ------
    OptionError
        If the rate is out of range.
    """

    def __init__(
        self,
        sample_rate: int,
        listeners: Sequence[Listener],
        labels: Sequence[Label],
        on_scores: OnScores | None = None,
    ) -> None:
        if not MIN_RATE <= sample_rate <= MAX_RATE:
            raise OptionError(f"sample rate {sample_rate} Hz is outside {MIN_RATE} to {MAX_RATE} Hz")
        self.sample_rate = sample_rate
        self._flushed = False
        self._stages = [listener.stage for listener in listeners]
        self._cutter = StreamCutter(sample_rate, [stage.cut(sample_rate) for stage in self._stages])
        self._tracker = EventTracker(listeners, labels, on_scores)

    def push(self, block: np.ndarray) -> list[Event]:
        """Take the next samples, float32 mono ``(n_samples,)``; return the events that have closed.

        Raises
        ------
        AudioError
            If the block is not mono, or holds NaN or infinite samples.
        OptionError
            If the session was flushed.
        """
        self._check_open()
        block = np.asarray(block, np.float32)
        if block.ndim != 1:
            raise AudioError(f"a block must be mono, (n_samples,), not {block.shape}")
        if not np.isfinite(block).all():
            raise AudioError("a block holds NaN or infinite samples")
        return self._run(self._cutter.push(block))

    def flush(self) -> list[Event]:
        """End the stream; return its last events. The session takes no more blocks.

        Raises
        ------
        OptionError
            If the session was flushed before.
        """
        self._check_open()
        self._flushed = True
        return self._run(self._cutter.flush()) + self._tracker.flush()

    def _check_open(self) -> None:
        if self._flushed:
            raise OptionError("the session is over: start another one for another stream")

    def _run(self, cut: Iterable[list[Part]]) -> list[Event]:
        events: list[Event] = []
        for parts in cut:
            for (stage, window), output in zip(parts, run_stages(self._stages, parts), strict=True):
                self._tracker.push(stage, window, output)
            events += self._tracker.take()
        return events


class _Merger:
    """Puts the scores of several listeners together: one frame for each of the first listener.

    Of the others, the best score within the frame counts.
    """

    def __init__(self, listeners: Sequence[Listener], labels: Sequence[Label]) -> None:
        place = {label.name: column for column, label in enumerate(labels)}
        self._columns = [[place[label.name] for label in listener.labels] for listener in listeners]
        self._n_labels = len(labels)
        self._waiting: list[deque[FrameScores]] = [deque() for _ in listeners]

    def push(self, number: int, frame: FrameScores) -> Iterator[FrameScores]:
        """Take a frame of a listener; yield what is complete."""
        if len(self._waiting) == 1:
            yield frame
            return
        self._waiting[number].append(frame)
        first, *others = self._waiting
        while first and all(other and other[-1].offset >= first[0].offset - 1e-6 for other in others):
            frame = first.popleft()
            scores, heard = np.zeros(self._n_labels, np.float32), np.zeros(self._n_labels, bool)
            scores[self._columns[0]], heard[self._columns[0]] = frame.scores, frame.heard
            for columns, other in zip(self._columns[1:], others, strict=True):
                while other[0].offset <= frame.onset + 1e-6 and len(other) > 1:
                    other.popleft()
                within = [each for each in other if each.onset < frame.offset]
                scores[columns] = np.max([each.scores for each in within], axis=0)
                heard[columns] = np.any([each.heard for each in within], axis=0)
            yield FrameScores(frame.onset, frame.offset, scores, heard)
