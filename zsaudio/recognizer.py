"""The recogniser: joins audio, windows, model and scores; no mathematics of its own."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from zsaudio.audio.read_ahead import read_ahead
from zsaudio.audio.reader import AudioReader, Source, source_name
from zsaudio.audio.windows import clip_windower, cut_recording
from zsaudio.detection.engine import FILE_HOP_S, LIVE_HOP_S, Clip, EventFinder, OnScores, Part
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.listeners import (
    KEYWORD_HOP_S,
    KeywordListener,
    Listener,
    SoundListener,
    frames_kept,
    keyword_windower,
)
from zsaudio.detection.scoring import Pool, pool_clip, pool_frames, rank
from zsaudio.errors import OptionError
from zsaudio.labels import Label, LabelSet
from zsaudio.models.base import Model, SpeechModel
from zsaudio.models.registry import load_keyword_model, load_model
from zsaudio.models.speech.alignment import KeywordSpotter
from zsaudio.models.speech.base import Speech
from zsaudio.results import ClipEvents, ClipTags, Event, Tag

log = logging.getLogger("zsaudio")


class Recognizer:
    """Tells which labels are heard in recordings.

    Parameters
    ----------
    labels
        What to listen for: a list of names, a text such as ``"dog barking, rain"`` or ``"@home"``, or a
        ``LabelSet``.
    model
        What listens for sounds: a name from ``available_models()``, the Hugging Face id of a CLAP checkpoint,
        a local folder, or a loaded model. Not loaded where all labels are keywords.
    keyword_model
        What listens for keywords, labels that start with ``keyword:``: ``"nano-keyword"``, the Hugging Face
        id or folder of a CTC checkpoint, or a loaded model. Not loaded where no label is a keyword.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    dtype
        Precision of a CLAP model: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.
    exclusive
        Ask which one of the labels it is (softmax, sums to one) instead of whether each is there.
    pool
        ``"max"``: a clip's score is that of its best window; ``"mean"``: the mean over its windows. Of a
        keyword, the best place always counts.
    batch_size
        Windows that go through the model together, across files. On a processor CLAP takes them one by one
        in any case; a GPU never gets more than this at once.

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
        keyword_model: str | SpeechModel = "nano-keyword",
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
        self._sounds = [label for label in self.labels if not label.is_keyword]
        self._keywords = [label for label in self.labels if label.is_keyword]
        if not any(not label.background for label in self._sounds):
            self._sounds = []  # nothing is left for background to compete with
        self._background = np.array([label.background for label in self._sounds], bool)
        self._columns = [self.labels.names.index(label.name) for label in (*self._sounds, *self._keywords)]
        self.model: Model | None = None
        self.keyword_model: SpeechModel | None = None
        if self._sounds:
            self.model = load_model(model, device, dtype) if isinstance(model, str) else model
            if isinstance(self.model, Speech):
                raise OptionError(
                    f"{self.model.name} listens for keywords, not for '{self._sounds[0].name}': choose "
                    f"another model for sounds, or write 'keyword: {self._sounds[0].name}'"
                )
            self._bank = self.model.embed_labels(LabelSet(self._sounds, self.labels.templates))
        if self._keywords:
            loaded = (
                load_keyword_model(keyword_model, device) if isinstance(keyword_model, str) else keyword_model
            )
            self.keyword_model = loaded
            self._keyword_bank = loaded.embed_labels(LabelSet(self._keywords))
        log.info(
            "model %s and %d labels ready in %.1f s",
            self.model_name,
            len(self.labels),
            time.perf_counter() - started,
        )

    @property
    def model_name(self) -> str:
        """The names of the models that listen."""
        return " + ".join(model.name for model in (self.model, self.keyword_model) if model is not None)

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
        listeners = self._listeners(options or DetectionOptions(), FILE_HOP_S, FILE_HOP_S)
        # stretches are long: a few together keep the threads of a processor busy, more would take memory only
        batch_size = self.batch_size
        if self.model is None or self.model.context_s:
            batch_size = min(batch_size, 4)
        finder = EventFinder(listeners, self.labels, on_scores)
        return finder.clips(sources, sample_rate, channel, batch_size)

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
            ``context_s`` and a hop of time; ``zsaudio.detection.hysteresis.LIVE`` is earlier and
            differs slightly.
        on_scores
            Called with every frame's scores as they are computed.
        """
        sample_rate = sample_rate or getattr(blocks, "sample_rate", None)
        if sample_rate is None:
            raise OptionError("a stream of arrays needs its sample_rate")
        listeners = self._listeners(options or DetectionOptions(), LIVE_HOP_S, KEYWORD_HOP_S)
        return EventFinder(listeners, self.labels, on_scores).stream(blocks, sample_rate)

    def _listeners(
        self, options: DetectionOptions, usual_hop_s: float, keyword_hop_s: float
    ) -> list[Listener]:
        listeners: list[Listener] = []
        if self.model is not None:
            listeners.append(SoundListener(self.model, self._bank, self._sounds, options, usual_hop_s))
        if self.keyword_model is not None:
            listeners.append(
                KeywordListener(
                    self.keyword_model, self._keyword_bank, self._keywords, options, keyword_hop_s
                )
            )
        return listeners

    def _tag_batch(
        self, sources: Iterable[Source], sample_rate: int | None, top_k: int | None, min_score: float | None
    ) -> Iterator[ClipTags]:
        unfinished: deque[_Clip] = deque()
        batch: list[tuple[_Clip, Part]] = []
        clips = (self._clip(source, sample_rate) for source in sources)
        for clip, parts in read_ahead(self._parts, clips, ahead=self.batch_size + 2):
            unfinished.append(clip)
            for part in clip.guard(parts):
                batch.append((clip, part))
                if len(batch) == self.batch_size:
                    self._run(batch)
                    batch = []
            clip.all_read = True
            while unfinished and unfinished[0].is_done:
                yield self._finish(unfinished.popleft(), top_k, min_score)
        self._run(batch)
        for clip in unfinished:
            yield self._finish(clip, top_k, min_score)

    def _clip(self, source: Source, sample_rate: int | None) -> "_Clip":
        clip = _Clip(source, sample_rate)
        if self.keyword_model is not None:
            clip.spotter = KeywordSpotter(self._keyword_bank.data, self.keyword_model.calibration)
            clip.keyword_logits = np.full(len(self._keywords), -np.inf)
        return clip

    def _parts(self, clip: "_Clip") -> Iterator[Part]:
        """Decode, resample and cut one clip; runs in a thread. Part 0 is for sounds, 1 for keywords."""
        reader = AudioReader(clip.source, clip.sample_rate)
        windowers = []
        if self.model is not None:
            windowers.append(clip_windower(self.model, reader.sample_rate))
        if self.keyword_model is not None:
            windowers.append(keyword_windower(self.keyword_model, FILE_HOP_S))
        for parts in cut_recording(reader, windowers):
            for number, each in parts:
                yield number if self.model is not None else 1, each
        clip.duration_s = reader.seconds_read

    def _run(self, batch: list[tuple["_Clip", Part]]) -> None:
        """Put the windows of a batch through the models; hand the results to their clips."""
        sounds = [(clip, window) for clip, (number, window) in batch if number == 0]
        if self.model is not None and sounds:
            logits = self.model.logits([window.samples for _, window in sounds], self._bank)
            for (clip, window), frames in zip(sounds, logits, strict=True):
                clip.logits.append(pool_frames(frames))
                clip.durations_s.append((window.keep_to - window.keep_from) / self.model.sample_rate)
        for clip, (number, window) in batch:
            clip.n_heard += 1
            if self.keyword_model is not None and number == 1:
                (log_probs,) = self.keyword_model.log_probs([window.samples])
                frame = round(self.keyword_model.frame_s * self.keyword_model.sample_rate)
                kept = [number for number, _, _ in frames_kept(window, len(log_probs), frame)]
                spotted = clip.spotter.push(log_probs[kept])
                clip.keyword_logits = np.maximum(clip.keyword_logits, spotted.logits.max(axis=0))

    def _finish(self, clip: "_Clip", top_k: int | None, min_score: float | None) -> ClipTags:
        name = source_name(clip.source)
        if clip.error is not None:
            return ClipTags(name, clip.duration_s, error=clip.error)
        heard = np.stack(clip.logits) if clip.logits else np.zeros((1, 0), np.float32)
        scores = np.zeros(len(self.labels), np.float32)
        scores[self._columns] = pool_clip(
            heard,
            np.array(clip.durations_s or [1.0]),
            self._background,
            self.pool,
            self.exclusive,
            clip.keyword_logits,
        )
        return ClipTags(name, clip.duration_s, rank(scores, self.labels, top_k, min_score))


@dataclass
class _Clip(Clip):
    """A clip on its way to its tags."""

    n_heard: int = 0
    all_read: bool = False
    logits: list[np.ndarray] = field(default_factory=list)  # a window each, (n_sounds,)
    durations_s: list[float] = field(default_factory=list)
    spotter: KeywordSpotter = field(init=False)
    keyword_logits: np.ndarray = field(default_factory=lambda: np.zeros(0))  # the best so far, (n_keywords,)

    @property
    def is_done(self) -> bool:
        return self.all_read and self.n_heard == self.n_read
