"""Whole clips: their tags, and the outputs of a model for their windows.

Windows lie side by side, each as long as the model takes; the batched pass runs them
(``zsaudio.detection.engine``).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from zsaudio.audio.sources import Source
from zsaudio.audio.windows import Window, clip_windower
from zsaudio.detection.engine import Clip, Stage, batched_pass
from zsaudio.detection.listeners import FILE_HOP_S, frames_kept, keyword_stage
from zsaudio.detection.scoring import Pool, pool_clip, pool_frames, rank, shared_out
from zsaudio.labels import LabelSet
from zsaudio.models.base import Encoder, KeywordBank, LabelBank, Model, SpeechModel
from zsaudio.models.speech.alignment import KeywordSpotter
from zsaudio.models.speech.whole_clip import WholeClip
from zsaudio.results import ClipOutputs, ClipTags

ALONE_S = 30.0  # a longer clip is not asked whether it is a keyword and nothing else


def window_outputs(
    model: Model,
    run: Callable[[Sequence[np.ndarray]], list[np.ndarray]],
    sources: Iterable[Source],
    batch_size: int,
    *,
    sample_rate: int | None = None,
    channel: int | None = None,
) -> Iterator[ClipOutputs]:
    """Yield what ``run`` returns for the windows of each clip, in order.

    Parameters
    ----------
    model
        Its sample rate and longest window say how clips are cut.
    run
        Takes the samples of windows; returns an output for each.
    sources, batch_size, sample_rate, channel
        As for ``batched_pass``.
    """
    stage = _clip_stage(model, run)
    rate = model.sample_rate
    return batched_pass(
        sources, [stage], lambda: _Collect(rate), batch_size, sample_rate=sample_rate, channel=channel
    )


def embed_sources(
    model: Encoder,
    sources: Iterable[Source],
    batch_size: int,
    *,
    sample_rate: int | None = None,
    channel: int | None = None,
) -> Iterator[ClipOutputs]:
    """Yield the audio embeddings of clips, in order, each ``(n_frames, dim)`` per window."""
    return window_outputs(
        model, model.encode_audio, sources, batch_size, sample_rate=sample_rate, channel=channel
    )


@dataclass
class _Collect:
    """Keeps the outputs of a clip's windows."""

    sample_rate: int
    windows: list[np.ndarray] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)

    def push(self, _: int, window: Window, output: np.ndarray) -> None:
        self.windows.append(output)
        self.durations_s.append((window.keep_to - window.keep_from) / self.sample_rate)

    def finish(self, clip: Clip) -> ClipOutputs:
        if not clip.has_result:
            return ClipOutputs(clip.name, error=clip.error)
        return ClipOutputs(clip.name, self.windows, self.durations_s, clip.error)


class Tagger:
    """Tags clips with the labels of a model of sounds, of a model of speech, or of both.

    Parameters
    ----------
    labels
        All labels.
    sounds, keywords
        Each model with its label bank; None where no label needs it.
    pool, exclusive
        As for ``Recognizer``.
    """

    def __init__(
        self,
        labels: LabelSet,
        sounds: tuple[Model, LabelBank] | None,
        keywords: tuple[SpeechModel, KeywordBank] | None,
        pool: Pool,
        exclusive: bool,
    ) -> None:
        self.labels, self.pool, self.exclusive = labels, pool, exclusive
        self.sounds, self.keywords = sounds, keywords
        self.stages: list[Stage] = []
        names: list[str] = []
        if sounds is not None:
            model, bank = sounds
            self.stages.append(_clip_stage(model, lambda samples: model.logits(samples, bank)))
            names += bank.names
        if keywords is not None:
            self.stages.append(keyword_stage(keywords[0], FILE_HOP_S))
            names += keywords[1].names
        number = {name: column for column, name in enumerate(labels.names)}
        self.columns = [number[name] for name in names]
        self.background = np.array([label.background for label in labels], bool)[
            self.columns[: len(sounds[1].names) if sounds else 0]
        ]

    def tag(
        self,
        sources: Iterable[Source],
        batch_size: int,
        *,
        sample_rate: int | None = None,
        channel: int | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
    ) -> Iterator[ClipTags]:
        """Yield the tags of clips, in order."""
        return batched_pass(
            sources,
            self.stages,
            lambda: _ClipTagger(self, top_k, min_score),
            batch_size,
            sample_rate=sample_rate,
            channel=channel,
        )


class _ClipTagger:
    """Pools the outputs for one clip's windows into its tags."""

    def __init__(self, tagger: Tagger, top_k: int | None, min_score: float | None) -> None:
        self._tagger, self._top_k, self._min_score = tagger, top_k, min_score
        self._logits: list[np.ndarray] = []  # per window (n_sounds,)
        self._durations_s: list[float] = []
        self._keyword_logits = np.zeros(0)  # the best so far, (n_keywords,)
        if tagger.keywords is not None:
            model, bank = tagger.keywords
            self._spotter = KeywordSpotter(bank.keywords, model.scoring)
            needed = tagger.exclusive or model.scoring.whole is not None
            self._whole = WholeClip(bank.keywords) if needed else None
            self._keyword_logits = np.full(len(bank.names), -np.inf)

    def push(self, stage: int, window: Window, output: np.ndarray) -> None:
        if self._tagger.sounds is not None and stage == 0:
            self._logits.append(pool_frames(output))
            rate = self._tagger.sounds[0].sample_rate
            self._durations_s.append((window.keep_to - window.keep_from) / rate)
        elif self._tagger.keywords is not None:
            model, _ = self._tagger.keywords
            frame = round(model.frame_s * model.sample_rate)
            kept = [number for number, _, _ in frames_kept(window, len(output), frame)]
            if window.keep_to > ALONE_S * model.sample_rate and not self._tagger.exclusive:
                self._whole = None
            if self._whole is not None:
                self._whole.push(output[kept])
            best = model.scoring.best(self._spotter.push(output[kept]))
            self._keyword_logits = np.maximum(self._keyword_logits, best)

    def finish(self, clip: Clip) -> ClipTags:
        if not clip.has_result:
            return ClipTags(clip.name, clip.duration_s, error=clip.error)
        tagger, keyword_logits = self._tagger, self._keyword_logits
        if tagger.keywords is not None and self._whole is not None:
            whole, bias = self._whole.logits(), tagger.keywords[0].scoring.whole
            if bias is not None:
                alone = np.minimum(whole + bias, self._whole.against_none())
                keyword_logits = np.maximum(keyword_logits, alone)
            if tagger.exclusive:
                keyword_logits = shared_out(keyword_logits, whole)
        scores = np.zeros(len(tagger.labels), np.float32)
        scores[tagger.columns] = pool_clip(
            np.stack(self._logits) if self._logits else np.zeros((1, 0), np.float32),
            np.array(self._durations_s or [1.0]),
            tagger.background,
            tagger.pool,
            tagger.exclusive,
            keyword_logits,
        )
        tags = rank(scores, tagger.labels, self._top_k, self._min_score)
        return ClipTags(clip.name, clip.duration_s, tags, clip.error)


def _clip_stage(model: Model, run: Callable[[Sequence[np.ndarray]], list[np.ndarray]]) -> Stage:
    """Return how a model runs on whole clips: on windows side by side, as long as it takes."""
    return Stage(model.name, lambda rate: clip_windower(model, rate), run)
