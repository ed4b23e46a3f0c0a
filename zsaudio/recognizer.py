"""The recogniser: joins audio, windows, model and scores; no mathematics of its own."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from zsaudio.audio import AudioReader, Source, source_name
from zsaudio.errors import OptionError
from zsaudio.events import ClipEvents, DetectionOptions, Event
from zsaudio.labels import Label, LabelSet
from zsaudio.models.base import Model
from zsaudio.models.registry import load_model
from zsaudio.prefetch import read_ahead
from zsaudio.scoring import ClipTags, Pool, Tag, pool_frames, pool_windows, rank
from zsaudio.stream import FILE_HOP_S, LIVE_HOP_S, EventFinder, OnScores
from zsaudio.windows import Window, Windower

log = logging.getLogger("zsaudio")


class Recognizer:
    """Tells which labels are heard in recordings.

    Parameters
    ----------
    labels
        What to listen for: a list of names, a text such as ``"dog barking, rain"`` or ``"@home"``, or a
        ``LabelSet``.
    model
        A name from ``available_models()``, the Hugging Face id of a CLAP checkpoint, a local folder, or a
        loaded model.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    dtype
        Precision of a CLAP model: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.
    exclusive
        Ask which one of the labels it is (softmax, sums to one) instead of whether each is there.
    pool
        ``"max"``: a clip's score is that of its best window; ``"mean"``: the mean over its windows.
    batch_size
        Windows that go through the model together, across files.

    Raises
    ------
    LabelError, ModelError, OptionError
        If the labels, the model or an option cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> recognizer = Recognizer(["rain", "silence"])
    >>> recognizer.tag(np.zeros(16_000), sample_rate=16_000)[0].label
    'silence'
    """

    def __init__(
        self,
        labels: LabelSet | str | Iterable[str | Label],
        model: str | Model = "nano",
        *,
        device: str = "auto",
        dtype: str = "auto",
        exclusive: bool = False,
        pool: Pool = "max",
        batch_size: int = 16,
    ) -> None:
        if pool not in ("max", "mean"):
            raise OptionError(f"pool must be 'max' or 'mean', not {pool!r}")
        if batch_size < 1:
            raise OptionError(f"batch_size must be at least 1, not {batch_size}")
        self.labels = LabelSet.of(labels)
        self.exclusive, self.pool, self.batch_size = exclusive, pool, batch_size
        started = time.perf_counter()
        self.model = load_model(model, device, dtype) if isinstance(model, str) else model
        self._bank = self.model.embed_labels(self.labels)
        self._background = np.array([label.background for label in self.labels])
        log.info(
            "model %s and %d labels ready in %.1f s",
            self.model.name,
            len(self.labels),
            time.perf_counter() - started,
        )

    def tag(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        top_k: int | None = None,
        min_score: float | None = None,
    ) -> list[Tag]:
        """Return the tags of one clip, best first.

        Parameters
        ----------
        source
            A path, a binary file object, or an array ``(n_samples,)`` or ``(n_samples, n_channels)``.
        sample_rate
            Rate of an array, in Hz.
        top_k
            Return at most this many; None: all.
        min_score
            Leave out lower scores; None: those below their label's own threshold, where it has one.

        Raises
        ------
        AudioError
            If the source cannot be used; the message says why.
        """
        (clip,) = self.tag_batch([source], sample_rate, top_k=top_k, min_score=min_score)
        if clip.error is not None:
            raise clip.error
        return list(clip.tags)

    def tag_batch(
        self,
        sources: Iterable[Source],
        sample_rate: int | None = None,
        *,
        top_k: int | None = None,
        min_score: float | None = None,
    ) -> Iterator[ClipTags]:
        """Yield the tags of many clips, in order, while the next ones are being decoded.

        Takes what ``tag`` takes. A clip that cannot be used costs only itself: its ``error`` says why. Memory
        does not grow with the number of clips nor with their lengths.
        """
        if top_k is not None and top_k < 1:
            raise OptionError(f"top_k must be at least 1, not {top_k}")
        if min_score is not None and not 0 <= min_score <= 1:
            raise OptionError(f"min_score must be between 0 and 1, not {min_score}")
        return self._tag_batch(sources, sample_rate, top_k, min_score)

    def detect(
        self,
        source: Source,
        sample_rate: int | None = None,
        options: DetectionOptions | None = None,
        channel: int | None = None,
    ) -> list[Event]:
        """Return the events of one recording of any length, by onset.

        The same as ``sorted(stream(blocks of it))``.

        Parameters
        ----------
        source
            A path, a binary file object, or an array ``(n_samples,)`` or ``(n_samples, n_channels)``.
        sample_rate
            Rate of an array, in Hz.
        options
            How events are found.
        channel
            Listen to this channel (0 is the first) instead of the mean of all.

        Raises
        ------
        AudioError
            If the source cannot be used; the message says why.
        """
        (clip,) = self.detect_batch([source], sample_rate, options, channel)
        if clip.error is not None:
            raise clip.error
        return list(clip.events)

    def detect_batch(
        self,
        sources: Iterable[Source],
        sample_rate: int | None = None,
        options: DetectionOptions | None = None,
        channel: int | None = None,
        *,
        on_scores: OnScores | None = None,
    ) -> Iterator[ClipEvents]:
        """Yield the events of many recordings, in order, while the next audio is being decoded.

        Takes what ``detect`` takes. A recording that cannot be used costs only itself: its ``error`` says
        why. ``on_scores`` is called with each frame of a recording before that recording is yielded. Memory
        does not grow with the number of recordings nor with their lengths.
        """
        finder = self._finder(options, FILE_HOP_S, on_scores)
        return finder.clips(sources, sample_rate, channel, self.batch_size)

    def stream(
        self,
        blocks: Iterable[np.ndarray],
        sample_rate: int | None = None,
        options: DetectionOptions | None = None,
        *,
        on_scores: OnScores | None = None,
    ) -> Iterator[Event]:
        """Yield the events of a stream as they close, pulling one block at a time.

        Parameters
        ----------
        blocks
            float32 mono arrays of any length; events do not depend on how the audio is cut.
        sample_rate
            Rate of the blocks, in Hz; a source of blocks that has a ``sample_rate``, as a microphone does,
            needs none here.
        options
            How events are found. By default they are exactly those of ``detect``, which takes the model's
            ``context_s`` and a hop of time; ``zsaudio.events.LIVE`` is earlier and differs slightly.
        on_scores
            Called with every frame's scores as they are computed.
        """
        sample_rate = sample_rate or getattr(blocks, "sample_rate", None)
        if sample_rate is None:
            raise OptionError("a stream of arrays needs its sample_rate")
        return self._finder(options, LIVE_HOP_S, on_scores).stream(blocks, sample_rate)

    def _finder(
        self, options: DetectionOptions | None, usual_hop_s: float, on_scores: OnScores | None
    ) -> EventFinder:
        return EventFinder(
            self.model, self._bank, self.labels, options or DetectionOptions(), usual_hop_s, on_scores
        )

    def _tag_batch(
        self, sources: Iterable[Source], sample_rate: int | None, top_k: int | None, min_score: float | None
    ) -> Iterator[ClipTags]:
        unfinished: deque[_Clip] = deque()
        batch: list[tuple[_Clip, Window]] = []
        clips = (_Clip(source, sample_rate) for source in sources)
        for clip, windows in read_ahead(self._windows, clips, ahead=self.batch_size + 2):
            unfinished.append(clip)
            for window in clip.guard(windows):
                batch.append((clip, window))
                if len(batch) == self.batch_size:
                    self._run(batch)
                    batch = []
            clip.all_read = True
            while unfinished and unfinished[0].is_done:
                yield self._finish(unfinished.popleft(), top_k, min_score)
        self._run(batch)
        for clip in unfinished:
            yield self._finish(clip, top_k, min_score)

    def _windows(self, clip: "_Clip") -> Iterator[Window]:
        """Decode, resample and cut one clip; runs in a thread."""
        rate = self.model.sample_rate
        window = round(self.model.window_s * rate)
        frame = round(self.model.frame_s * rate)
        windower = Windower(window, hop=window - window % frame, grid=frame)
        reader = AudioReader(clip.source, clip.sample_rate)
        for block in reader.blocks(rate):
            yield from windower.push(block)
        clip.duration_s = reader.seconds_read
        yield from windower.flush()

    def _run(self, batch: list[tuple["_Clip", Window]]) -> None:
        """Put the windows of a batch through the model; hand the results to their clips."""
        if not batch:
            return
        logits = self.model.logits([window.samples for _, window in batch], self._bank)
        for (clip, window), frames in zip(batch, logits, strict=True):
            clip.logits.append(pool_frames(frames))
            clip.durations_s.append((window.keep_to - window.keep_from) / self.model.sample_rate)

    def _finish(self, clip: "_Clip", top_k: int | None, min_score: float | None) -> ClipTags:
        name = source_name(clip.source)
        if clip.error is not None:
            return ClipTags(name, clip.duration_s, error=clip.error)
        scores = pool_windows(
            np.stack(clip.logits), np.array(clip.durations_s), self._background, self.pool, self.exclusive
        )
        return ClipTags(name, clip.duration_s, rank(scores, self.labels, top_k, min_score))


@dataclass
class _Clip:
    """A clip on its way through the pipeline."""

    source: Source
    sample_rate: int | None
    duration_s: float = 0.0
    n_read: int = 0
    all_read: bool = False
    logits: list[np.ndarray] = field(default_factory=list)  # a window each, (n_labels,)
    durations_s: list[float] = field(default_factory=list)
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.all_read and len(self.logits) == self.n_read

    def guard(self, windows: Iterator[Window]) -> Iterator[Window]:
        """Yield the windows; keep the error that ends them to the clip itself."""
        try:
            for window in windows:
                self.n_read += 1
                yield window
        except Exception as error:
            self.error = error
