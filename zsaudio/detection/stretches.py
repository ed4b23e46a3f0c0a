"""Recordings as vectors: one embedding for each stretch of time, to be compared with labels later.

A model with several frames per window gives one vector per frame, or for some frames in a row
(``zsaudio.models.pooled``); a model that gives one embedding per window, as CLAP does, one for each hop
between overlapping windows. Windows are those of ``Recognizer.detect``, so the logits of the vectors are
those that it would compute. A model of speech can listen along: its log-probabilities are kept in 8 bits, to
be compared with keywords later.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from zsaudio.audio.sources import Source
from zsaudio.audio.windows import Excerpt, Window, windower_for
from zsaudio.detection.engine import Clip, Stage, batched_pass
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.listeners import (
    FILE_HOP_S,
    WindowPlan,
    frames_kept,
    keyword_stage,
    plan_windows,
    windows_together,
)
from zsaudio.errors import OptionError
from zsaudio.models.base import Encoder, SpeechModel
from zsaudio.models.pooled import Pooled
from zsaudio.models.speech.codes import to_codes
from zsaudio.results import Embeddings

SILENCE_DB = -120.0


class Stretches:
    """How a model hears recordings as stretches.

    Parameters
    ----------
    model
        Any encoder.
    hop_s
        Distance between vectors, in seconds; for a model with frames it is rounded to whole frames. None: as
        in ``detect``, a frame, or half a window for a model without frames.

    Attributes
    ----------
    encoder
        The model with stretches as frames.
    hop_s
        The distance between vectors.
    """

    def __init__(self, model: Encoder, hop_s: float | None = None) -> None:
        if hop_s is not None and not 0 < hop_s < np.inf:
            raise OptionError(f"hop must be above 0 s, not {hop_s}")
        localises = model.frame_s < model.window_s
        if localises:
            n_frames = max(1, round(hop_s / model.frame_s)) if hop_s else 1
            if n_frames * model.frame_s > model.window_s:
                raise OptionError(f"a hop of {hop_s} s is too long: {model.name} takes {model.window_s:g} s")
            # a stretch is a whole number of frames, and so are what lies before and after it in a window
            self.encoder: Encoder = Pooled(model, n_frames) if n_frames > 1 else model
            options = DetectionOptions()
        else:
            self.encoder = model
            options = DetectionOptions(hop_s=hop_s)
        self.plan: WindowPlan = plan_windows(self.encoder, options, FILE_HOP_S)
        self.hop_s = self.encoder.frame_s if localises else self.plan.hop / model.sample_rate

    @property
    def stage(self) -> Stage:
        """The model at work in a batched pass."""
        plan = self.plan
        return Stage(
            self.encoder.name,
            lambda rate: windower_for(self.encoder, rate, plan.window, plan.hop, plan.grid, plan.after),
            self.encoder.encode_audio,
        )

    def start(self, speech: SpeechModel | None = None) -> "StretchReducer":
        """Return what collects the stretches of a recording, and what a model of speech hears in it."""
        return StretchReducer(self.encoder, speech)


class StretchReducer:
    """Collects the embeddings of one recording; a ``Reducer`` of the batched pass."""

    def __init__(self, encoder: Encoder, speech: SpeechModel | None) -> None:
        self._rate = encoder.sample_rate
        self._frame = round(encoder.frame_s * encoder.sample_rate)
        self._onsets: list[float] = []
        self._offsets: list[float] = []
        self._loudness: list[float] = []
        self._vectors: list[np.ndarray] = []
        self._speech_frame = round(speech.frame_s * speech.sample_rate) if speech is not None else 0
        self._codes: list[np.ndarray] = []

    def push(self, stage: int, window: Window, output: np.ndarray) -> None:
        """Take the embeddings of the next window, ``(n_frames, dim)``, or log-probabilities of speech."""
        if stage:
            own = [number for number, _, _ in frames_kept(window, len(output), self._speech_frame)]
            self._codes.append(to_codes(output[own]))
            return
        excerpt = Excerpt.of(window.samples, self._rate)
        power = np.square(excerpt.samples, dtype=np.float32)
        ratio = excerpt.sample_rate / self._rate
        for kept, start, end in frames_kept(window, len(output), self._frame):
            first, last = (excerpt.before + round((at - window.start) * ratio) for at in (start, end))
            mean = float(power[first:last].mean()) if last > first else 0.0
            self._onsets.append(start / self._rate)
            self._offsets.append(end / self._rate)
            self._loudness.append(max(SILENCE_DB, 10 * np.log10(max(mean, 1e-12))))
            self._vectors.append(output[kept].astype(np.float16))

    def finish(self, clip: Clip) -> Embeddings:
        """Return the recording's vectors, or why there are none, or not all."""
        if not clip.has_result or not self._vectors:
            return Embeddings(clip.name, clip.duration_s, clip.sample_rate, error=clip.error)
        return Embeddings(
            clip.name,
            clip.duration_s,
            clip.sample_rate,
            np.array(self._onsets),
            np.array(self._offsets),
            np.array(self._loudness, np.float32),
            np.stack(self._vectors),
            clip.error,
            np.concatenate(self._codes) if self._codes else None,
        )


def embed_stretches(
    stretches: Stretches,
    sources: Iterable[Source],
    batch_size: int,
    *,
    sample_rate: int | None = None,
    channel: int | None = None,
    speech: SpeechModel | None = None,
) -> Iterator[Embeddings]:
    """Yield the vectors of recordings, in order.

    ``speech`` is a model that listens along, if there is one; the other arguments are those of
    ``batched_pass``.
    """
    return batched_pass(
        sources,
        [stretches.stage, *([keyword_stage(speech, FILE_HOP_S)] if speech is not None else [])],
        lambda: stretches.start(speech),
        windows_together(stretches.encoder, batch_size),
        sample_rate=sample_rate,
        channel=channel,
    )
