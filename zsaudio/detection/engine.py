"""Blocks -> windows -> scores -> events, as the audio comes: the one engine behind files and live sound.

Several listeners (``zsaudio.detection.listeners``) hear the same audio, which is read and decoded once.

Conventions: positions are in samples at a listener's rate, from the start; times are seconds.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np

from zsaudio.audio.read_ahead import read_ahead
from zsaudio.audio.reader import AudioReader, Source, source_name
from zsaudio.audio.windows import Window, Windower, cut_blocks, cut_recording
from zsaudio.detection.listeners import Listener
from zsaudio.errors import AudioError
from zsaudio.labels import Label
from zsaudio.results import ClipEvents, Event, FrameScores

FILE_HOP_S = 30.0  # new audio in each window of a file, for models of bounded context
LIVE_HOP_S = 0.5  # the same for live audio

OnScores = Callable[[FrameScores], None]
Part = tuple[int, Window]  # the number of a listener, and what it is to hear


class EventFinder:
    """Find the events of one stream or recording after another.

    Parameters
    ----------
    listeners
        What listens.
    labels
        The labels in the order in which ``on_scores`` gets their scores.
    on_scores
        Called with every frame's scores as they are computed.
    """

    def __init__(
        self, listeners: Sequence[Listener], labels: Sequence[Label], on_scores: OnScores | None = None
    ) -> None:
        self._listeners, self._on_scores = listeners, on_scores
        self._labels = [label for label in labels if not label.background]

    def stream(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[Event]:
        """Yield the events of a stream, each as it closes."""
        return self._events(cut_blocks(map(_checked, blocks), sample_rate, self._windowers(sample_rate)))

    def clips(
        self, sources: Iterable[Source], sample_rate: int | None, channel: int | None, batch_size: int
    ) -> Iterator[ClipEvents]:
        """Yield the events of recordings, in order; the next audio is decoded meanwhile.

        ``batch_size`` windows are heard together. Two recordings are read at a time: they are long, and more
        would take memory only.
        """

        def read(clip: Clip) -> Iterator[Part]:
            """Decode, resample and cut one recording; runs in a thread."""
            reader = AudioReader(clip.source, sample_rate, channel)
            for parts in cut_recording(reader, self._windowers(reader.sample_rate)):
                yield from parts
            clip.duration_s, clip.sample_rate = reader.seconds_read, reader.sample_rate

        with closing(read_ahead(read, map(Clip, sources), workers=2)) as reading:
            for clip, parts in reading:
                name = source_name(clip.source)
                events = sorted(self._events(_batches(clip.guard(parts), batch_size)))
                found = () if clip.error else tuple(events)
                yield ClipEvents(name, clip.duration_s, clip.sample_rate or 0, found, clip.error)

    def _windowers(self, sample_rate: int) -> list[tuple[int, Windower]]:
        """Return what cuts audio of a rate for the listeners."""
        return [listener.windower(sample_rate) for listener in self._listeners]

    def _events(self, batches: Iterable[list[Part]]) -> Iterator[Event]:
        merger = _Merger(self._listeners, self._labels)
        for listener in self._listeners:
            listener.begin()
        for parts in batches:
            for number, own in groupby(sorted(parts, key=lambda part: part[0]), key=lambda part: part[0]):
                for frame, closed in self._listeners[number].hear([window for _, window in own]):
                    if self._on_scores is not None:
                        for merged in merger.push(number, frame):
                            self._on_scores(merged)
                    yield from closed
        for listener in self._listeners:
            yield from listener.end()


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


@dataclass
class Clip:
    """A recording on its way through a pipeline.

    ``sample_rate`` is its own, ``n_read`` the number of parts that it was cut into so far, ``error`` what
    ended it.
    """

    source: Source
    sample_rate: int | None = None
    duration_s: float = 0.0
    n_read: int = 0
    error: Exception | None = None

    def guard(self, parts: Iterator[Part]) -> Iterator[Part]:
        """Yield the parts; keep the error that ends them to the recording itself."""
        try:
            for part in parts:
                self.n_read += 1
                yield part
        except Exception as error:
            self.error = error


def _checked(block: np.ndarray) -> np.ndarray:
    block = np.asarray(block, np.float32)
    if block.ndim != 1:
        raise AudioError(f"a block must be mono, (n_samples,), not {block.shape}")
    if not np.isfinite(block).all():
        raise AudioError("a block holds NaN or infinite samples")
    return block


def _batches(parts: Iterator[Part], size: int) -> Iterator[list[Part]]:
    while batch := list(islice(parts, size)):
        yield batch
