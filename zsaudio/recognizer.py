"""The recogniser joins audio, windows, models and scores; it computes nothing itself."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from zsaudio.audio.sources import Source
from zsaudio.detection.clips import Tagger
from zsaudio.detection.events import EventSession, OnScores, find_events
from zsaudio.detection.heard import Heard, OnSeconds, find_in, hear
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.listeners import (
    FILE_HOP_S,
    KEYWORD_HOP_S,
    LIVE_HOP_S,
    KeywordListener,
    Listener,
    SoundListener,
    windows_together,
)
from zsaudio.detection.parts import Part, PartHeard, hear_part, join_parts
from zsaudio.detection.scoring import Pool
from zsaudio.detection.stretches import Stretches, embed_stretches
from zsaudio.errors import DamagedAudioError, OptionError
from zsaudio.labels import Label, LabelSet
from zsaudio.models.base import EmbeddingBank, Encoder, KeywordBank, LabelBank, Model, SpeechModel, own_bank
from zsaudio.models.known_names import warn_of_guesses
from zsaudio.models.promises import keep_promises
from zsaudio.models.registry import load_keyword_model, load_model
from zsaudio.models.speech.base import Speech
from zsaudio.models.threads import running_model
from zsaudio.results import ClipEvents, ClipTags, Embeddings, Event, Events, Tags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("zsaudio")


class Recognizer:
    """Recognises labels in recordings and streams.

    A recogniser can be used by several threads at once: its methods keep what they compute to themselves, and
    give the same results as one after another. An iterator or an ``EventSession`` that a method returns
    belongs to one thread at a time.

    Parameters
    ----------
    labels
        What to recognise: a list of names, a text such as ``"dog barking, rain"`` or ``"@home"``, or a
        ``LabelSet``; by default the built-in set of everyday sounds.
    model
        The model for sounds: a name from ``available_models()``, the Hugging Face id of a CLAP checkpoint, a
        local folder, or a loaded model. It is not loaded if all labels are keywords.
    keyword_model
        The model for keywords, which are labels that start with ``keyword:``: ``"nano-keyword"``, the Hugging
        Face id or folder of a CTC checkpoint, or a loaded model. It is not loaded if no label is a keyword.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    dtype
        Precision of the model for sounds: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``. What
        ``"auto"`` means is up to the model: of nano, float32.
    batch_size
        Number of windows in a batch, across recordings. CLAP on a CPU takes them one by one in any case; a
        GPU never gets more than this at once.

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
        labels: LabelSet | str | Iterable[str | Label] = "@everyday",
        model: str | Model = "nano",
        *,
        keyword_model: str | SpeechModel = "nano-keyword",
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 16,
    ) -> None:
        if batch_size < 1:
            raise OptionError(f"batch_size must be at least 1, not {batch_size}")
        self.labels = self._asked = LabelSet.of(labels)
        self.batch_size = batch_size
        self._given: dict[str, Any] = {
            "model": model,
            "keyword_model": keyword_model,
            "device": device,
            "dtype": dtype,
            "batch_size": batch_size,
        }
        started = time.perf_counter()
        self._sounds = [label for label in self.labels if not label.is_keyword]
        self._keywords = [label for label in self.labels if label.is_keyword]
        if not any(not label.background for label in self._sounds):
            self._sounds = []  # nothing is left for background to compete with
        self.model: Model | None = None
        self.keyword_model: SpeechModel | None = None
        self._with_bank: tuple[Model, LabelBank] | None = None
        self._keywords_with_bank: tuple[SpeechModel, KeywordBank] | None = None
        if self._sounds:
            self.model = load_model(model, device=device, dtype=dtype) if isinstance(model, str) else model
            if isinstance(self.model, Speech):
                raise OptionError(
                    f"{self.model.name} listens for keywords, not for '{self._sounds[0].name}': choose "
                    f"another model for sounds, or write 'keyword: {self._sounds[0].name}'"
                )
            with running_model():
                bank = self.model.embed_labels(LabelSet(self._sounds, self.labels.templates))
            self._with_bank = self.model, bank
            warn_of_guesses(self.model, self._sounds)
        if self._keywords:
            loaded = (
                load_keyword_model(keyword_model, device=device)
                if isinstance(keyword_model, str)
                else keyword_model
            )
            self.keyword_model = loaded
            with running_model():
                keyword_bank = loaded.embed_labels(LabelSet(self._keywords))
            self._keywords_with_bank = loaded, keyword_bank
            self._keywords = keep_promises(loaded, keyword_bank, self._keywords, smooth_s=0.0)
        self.labels = self.labels_for(DetectionOptions())
        log.info(
            "model %s and %d labels ready in %.1f s",
            self.model_name,
            len(self.labels),
            time.perf_counter() - started,
        )

    @property
    def model_name(self) -> str:
        """The names of the loaded models."""
        return " + ".join(model.name for model in (self.model, self.keyword_model) if model is not None)

    def labels_for(self, options: DetectionOptions) -> LabelSet:
        """Return the labels with the thresholds that detection with these options gives them.

        A label that has ``false_alarms`` in place of a threshold gets the one that keeps them so few. For
        sounds, that depends on the smoothing.
        """
        if all(label.false_alarms is None for label in self._asked):
            return self._asked
        placed = {label.name: label for label in (*self._sounds_for(options), *self._keywords)}
        labels = [placed.get(label.name, label) for label in self._asked]
        return LabelSet(labels, self._asked.templates, self._asked.description)

    def _sounds_for(self, options: DetectionOptions) -> list[Label]:
        if self._with_bank is None:
            return self._sounds
        return keep_promises(*self._with_bank, self._sounds, options.smooth_s)

    def with_labels(self, labels: LabelSet | str | Iterable[str | Label]) -> "Recognizer":
        """Return a recogniser for other labels that shares the loaded models.

        Takes labels as the constructor does, and raises the same errors. A model that was not loaded so far
        is loaded if the new labels need it.
        """
        given = self._given | {
            "model": self.model or self._given["model"],
            "keyword_model": self.keyword_model or self._given["keyword_model"],
        }
        return Recognizer(labels, **given)

    def tag(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        channel: int | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        exclusive: bool = False,
        pool: Pool = "max",
    ) -> Tags:
        """Return the tags of one clip, best first: a list, shown as a table in notebooks.

        Parameters
        ----------
        source
            A path, a binary file object, ``bytes``, an array ``(n_samples,)`` or ``(n_samples, n_channels)``,
            a torch tensor ``(n_samples,)`` or ``(n_channels, n_samples)``, or a dict of the ``datasets``
            library. Of a damaged recording, the part that can be decoded counts, and a warning is logged.
        sample_rate
            Rate of an array or a tensor, in Hz.
        channel
            Use this channel (0 is the first) instead of the mean of all.
        top_k
            Return at most this many tags; None: all.
        min_score
            Leave out lower scores. None: leave out scores below the label's own threshold, if it has one.
        exclusive
            Softmax over the labels (which one of them is it?) instead of independent scores (is it there?).
        pool
            How the windows of a long clip are pooled. ``"max"``: the score of the best window; ``"mean"``:
            the mean over the windows. Keywords always count where they fit best.

        Raises
        ------
        AudioError
            If the source cannot be used; the message says why.
        OptionError
            If an option is out of its range.
        """
        (clip,) = self.tag_batch(
            [source],
            sample_rate,
            channel=channel,
            top_k=top_k,
            min_score=min_score,
            exclusive=exclusive,
            pool=pool,
        )
        _raise_or_warn(clip.error)
        return Tags(clip.tags, clip.clip)

    def tag_batch(
        self,
        sources: Iterable[Source],
        sample_rate: int | None = None,
        *,
        channel: int | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        exclusive: bool = False,
        pool: Pool = "max",
    ) -> Iterator[ClipTags]:
        """Yield the tags of many clips, in order, while the next ones are being decoded.

        Takes what ``tag`` takes. A clip that cannot be read has an ``error`` that says why, and the others go
        on; a damaged one has an ``error`` and the tags of the part that can be decoded. Memory grows neither
        with the number of clips nor with their lengths.
        """
        if top_k is not None and top_k < 0:
            raise OptionError(f"top_k must be 0 or more, not {top_k}")
        if min_score is not None and not 0 <= min_score <= 1:
            raise OptionError(f"min_score must be between 0 and 1, not {min_score}")
        if pool not in ("max", "mean"):
            raise OptionError(f"pool must be 'max' or 'mean', not {pool!r}")
        tagger = Tagger(self.labels, self._with_bank, self._keywords_with_bank, pool, exclusive)
        return tagger.tag(
            sources,
            self.batch_size,
            sample_rate=sample_rate,
            channel=channel,
            top_k=top_k,
            min_score=min_score,
        )

    def detect(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        options: DetectionOptions | None = None,
        channel: int | None = None,
    ) -> Events:
        """Return the events of one recording of any length, by onset: a list, shown as a table in notebooks.

        They are the events of ``stream`` on the same audio, sorted.

        Parameters
        ----------
        source
            A path, a binary file object, ``bytes``, an array ``(n_samples,)`` or ``(n_samples, n_channels)``,
            a torch tensor ``(n_samples,)`` or ``(n_channels, n_samples)``, or a dict of the ``datasets``
            library. Of a damaged recording, the part that can be decoded counts, and a warning is logged.
        sample_rate
            Rate of an array or a tensor, in Hz.
        options
            How events are found.
        channel
            Use this channel (0 is the first) instead of the mean of all.

        Raises
        ------
        AudioError
            If the source cannot be used; the message says why.
        """
        (clip,) = self.detect_batch([source], sample_rate, options=options, channel=channel)
        _raise_or_warn(clip.error)
        return Events(clip.events, clip.clip)

    def detect_batch(
        self,
        sources: Iterable[Source],
        sample_rate: int | None = None,
        *,
        options: DetectionOptions | None = None,
        channel: int | None = None,
        on_scores: OnScores | None = None,
    ) -> Iterator[ClipEvents]:
        """Yield the events of many recordings, in order, while the next audio is being decoded.

        Takes what ``detect`` takes. A recording that cannot be read has an ``error`` that says why, and the
        others go on; a damaged one has an ``error`` and the events of the part that can be decoded.
        ``on_scores`` is called with each frame of a recording before that recording is yielded. Memory
        grows neither with the number of recordings nor with their lengths.
        """
        listeners = self._listeners(options or DetectionOptions(), FILE_HOP_S, FILE_HOP_S)
        # long windows: a few together keep the CPU's threads busy, more would only take memory
        return find_events(
            sources,
            listeners,
            self.labels,
            windows_together(self.model, self.batch_size),
            sample_rate=sample_rate,
            channel=channel,
            on_scores=on_scores,
        )

    def hear(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        channel: int | None = None,
        on_seconds: OnSeconds | None = None,
    ) -> Heard:
        """Return what the models hear in a recording, for ``detect_heard``; for programs with sliders.

        It takes memory that grows with the length of the recording: with nano about 75 MB an hour.

        Parameters
        ----------
        source, sample_rate, channel
            As for ``detect``.
        on_seconds
            Called with how far the models have come, in seconds.

        Raises
        ------
        AudioError
            If the source cannot be used; the message says why.
        """
        listeners = self._listeners(DetectionOptions(), FILE_HOP_S, FILE_HOP_S)
        heard = hear(
            source,
            listeners,
            windows_together(self.model, self.batch_size),
            sample_rate=sample_rate,
            channel=channel,
            on_seconds=on_seconds,
        )
        _raise_or_warn(heard.clip.error)
        return heard

    def detect_heard(
        self,
        heard: Heard,
        *,
        options: DetectionOptions | None = None,
        on_scores: OnScores | None = None,
    ) -> ClipEvents | None:
        """Return the events in what was heard, as ``detect`` finds them, without listening again.

        None if it has to be heard again: after a change of the model; after the first keyword or the first
        sound among the labels; and with a model that has no embeddings, after any change of the labels.

        Parameters
        ----------
        heard
            What this recogniser has heard, or one that shares its models (``with_labels``).
        options
            How events are found; those on windows have no effect.
        on_scores
            Called with each frame's scores.
        """
        listeners = self._listeners(options or DetectionOptions(), FILE_HOP_S, FILE_HOP_S)
        if any(heard.of(listener) is None for listener in listeners):
            return None
        with running_model():
            return find_in(heard, listeners, self.labels, on_scores)

    def hear_part(
        self, path: str, part: Part, *, options: DetectionOptions | None = None, channel: int | None = None
    ) -> PartHeard:
        """Return what the models hear in a part of a long recording, for ``join_parts``.

        For programs that share a recording among processes; see ``zsaudio.detection.parts``.

        Parameters
        ----------
        path
            The recording, a file.
        part
            One of ``zsaudio.detection.parts.parts_of(path, part_s)``.
        options, channel
            As for ``detect``.

        Raises
        ------
        AudioError
            If not all of the part can be decoded.
        """
        listeners = self._listeners(options or DetectionOptions(), FILE_HOP_S, FILE_HOP_S)
        return hear_part(path, part, listeners, windows_together(self.model, self.batch_size), channel)

    def join_parts(
        self, parts: Sequence[PartHeard], *, options: DetectionOptions | None = None
    ) -> ClipEvents:
        """Return the events of a recording, those of ``detect``, from what was heard in all its parts.

        Parameters
        ----------
        parts
            Of one recording, in order, from recognisers with the same models and labels.
        options
            Those with which they were heard.
        """
        listeners = self._listeners(options or DetectionOptions(), FILE_HOP_S, FILE_HOP_S)
        return join_parts(parts, listeners, self.labels)

    def plot(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        options: DetectionOptions | None = None,
        channel: int | None = None,
    ) -> "Figure":
        """Return a figure of one recording: spectrogram, scores of the labels over time, and events.

        Needs matplotlib, the extra ``plot``. Takes what ``detect`` takes. Notebooks show the figure;
        ``figure.savefig(path)`` writes it.

        Raises
        ------
        AudioError
            If the source cannot be used; the message says why.
        MissingExtraError
            If matplotlib is not installed.
        """
        from zsaudio.output.overview import ScoreCurves
        from zsaudio.output.plot import clip_figure, require_matplotlib

        require_matplotlib()
        options = options or DetectionOptions()
        if hasattr(source, "read"):
            source = source.read()  # it is read twice
        curves = ScoreCurves()
        (clip,) = self.detect_batch(
            [source], sample_rate, options=options, channel=channel, on_scores=curves.add
        )
        _raise_or_warn(clip.error)
        reported = [label for label in self.labels_for(options) if not label.background]
        return clip_figure(clip, source, curves, reported, options, sample_rate=sample_rate, channel=channel)

    def session(
        self,
        sample_rate: int,
        *,
        options: DetectionOptions | None = None,
        on_scores: OnScores | None = None,
    ) -> EventSession:
        """Return a session that takes a stream block by block, for code that gets audio pushed to it.

        ``session.push(block)`` returns the events that have closed, ``session.flush()`` the last ones. They
        are the events of ``stream``, which pulls its blocks instead.

        Parameters
        ----------
        sample_rate
            Rate of the blocks, in Hz.
        options, on_scores
            As for ``stream``.

        Raises
        ------
        OptionError
            If the rate is out of range.

        Examples
        --------
        >>> import numpy as np
        >>> session = Recognizer(["silence"]).session(16_000)
        >>> events = session.push(np.zeros(48_000, np.float32))
        >>> [event.label for event in events + session.flush()]
        ['silence']
        """
        listeners = self._listeners(options or DetectionOptions(), LIVE_HOP_S, KEYWORD_HOP_S)
        return EventSession(sample_rate, listeners, self.labels, on_scores)

    def stream(
        self,
        blocks: Iterable[np.ndarray],
        sample_rate: int | None = None,
        *,
        options: DetectionOptions | None = None,
        on_scores: OnScores | None = None,
    ) -> Iterator[Event]:
        """Yield the events of a stream as they close, pulling one block at a time.

        Parameters
        ----------
        blocks
            float32 mono arrays of any length; events do not depend on how the audio is cut.
        sample_rate
            Rate of the blocks, in Hz. A source of blocks with a ``sample_rate``, such as a microphone, needs
            none here.
        options
            How events are found. By default they are exactly those of ``detect``, and are reported as late as
            the model's context demands. With ``DetectionOptions.live(recognizer.model)`` they are reported
            earlier, and differ slightly.
        on_scores
            Called with the scores of every frame as they are computed.

        Raises
        ------
        OptionError
            If the rate is not known or out of range.
        """
        sample_rate = sample_rate or getattr(blocks, "sample_rate", None)
        if sample_rate is None:
            raise OptionError("a stream of arrays needs its sample_rate")
        session = self.session(sample_rate, options=options, on_scores=on_scores)

        def events() -> Iterator[Event]:
            for block in blocks:
                yield from session.push(block)
            yield from session.flush()

        return events()

    def embed(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        hop_s: float | None = None,
        channel: int | None = None,
    ) -> Embeddings:
        """Return one recording as vectors, to be compared with labels later.

        Parameters
        ----------
        source, sample_rate, channel
            As for ``detect``.
        hop_s
            Distance between vectors, in seconds; None: as in ``detect``. See ``zsaudio.detection.stretches``.

        Raises
        ------
        AudioError
            If the source cannot be used; the message says why.
        OptionError
            If the model has no embeddings, or the hop cannot be used.
        """
        (clip,) = self.embed_batch([source], sample_rate, hop_s=hop_s, channel=channel)
        _raise_or_warn(clip.error)
        return clip

    def embed_batch(
        self,
        sources: Iterable[Source],
        sample_rate: int | None = None,
        *,
        hop_s: float | None = None,
        channel: int | None = None,
    ) -> Iterator[Embeddings]:
        """Yield many recordings as vectors, in order, while the next audio is being decoded.

        Takes what ``embed`` takes. A recording that cannot be read has an ``error`` that says why, and the
        others go on.
        """
        stretches = Stretches(self._encoder(), hop_s)
        return embed_stretches(stretches, sources, self.batch_size, sample_rate=sample_rate, channel=channel)

    def embed_labels(self) -> np.ndarray:
        """Return the embeddings of the labels that are sounds, ``(n_labels, dim)``, float32.

        Raises
        ------
        OptionError
            If the model has no embeddings.
        """
        self._encoder()
        assert self._with_bank is not None
        return own_bank(self._with_bank[1], EmbeddingBank).embeddings

    def _encoder(self) -> Encoder:
        if self.model is None or not hasattr(self.model, "encode_audio"):
            raise OptionError(f"{self.model_name} gives no embeddings: they need a model of sounds that does")
        return cast(Encoder, self.model)

    def __repr__(self) -> str:
        """Return the labels and the loaded models."""
        return f"Recognizer({self.labels!r}, model={self.model_name!r})"

    def _listeners(
        self, options: DetectionOptions, usual_hop_s: float, keyword_hop_s: float
    ) -> list[Listener]:
        listeners: list[Listener] = []
        if self._with_bank is not None:
            listeners.append(SoundListener(*self._with_bank, self._sounds_for(options), options, usual_hop_s))
        if self._keywords_with_bank is not None:
            listeners.append(
                KeywordListener(*self._keywords_with_bank, self._keywords, options, keyword_hop_s)
            )
        return listeners


def _raise_or_warn(error: Exception | None) -> None:
    """Raise the error of a recording, unless a part of it was used: that is logged."""
    if isinstance(error, DamagedAudioError):
        log.warning("%s", error)
    elif error is not None:
        raise error
