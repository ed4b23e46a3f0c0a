"""The interface between models and the rest of zsaudio.

A model turns windows of audio and a set of labels into *logits*: the log-odds that a label is present in a
frame. A sigmoid makes them independent scores, a softmax over the labels makes them exclusive ones
(``zsaudio.detection.scoring``), so every model works with both.

Conventions: windows are float32 mono ``(n_samples,)`` at the model's ``sample_rate``, at most ``window_s``
long; a shorter one is the last of its clip, and the model pads it in its own way. A model that has a method
``resample_margin(sample_rate)`` takes windows at the recording's own rate, too
(``zsaudio.audio.windows.windower_for``).
Embeddings are float32, of unit norm where a model compares them by their cosine.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from zsaudio.errors import ModelError
from zsaudio.labels import LabelSet
from zsaudio.models.speech.alignment import AlignmentScoring, Keywords


@dataclass(frozen=True)
class LabelBank:
    """A label set as one model sees it; subclasses hold what a family computes once per label set.

    ``names`` gives the order of the labels in the last axis of the logits.
    """

    names: tuple[str, ...]


@dataclass(frozen=True)
class EmbeddingBank(LabelBank):
    """The embeddings of labels, ``(n_labels, dim)``, for a model with a joint embedding space."""

    embeddings: np.ndarray


@dataclass(frozen=True)
class KeywordBank(LabelBank):
    """Keywords as sequences of symbols, for a model of speech."""

    keywords: Keywords


Bank = TypeVar("Bank", bound=LabelBank)


def own_bank(bank: LabelBank, kind: type[Bank]) -> Bank:
    """Return the bank if it is of a model's own kind.

    Raises
    ------
    ModelError
        If another kind of model embedded the labels.
    """
    if not isinstance(bank, kind):
        raise ModelError(
            f"another kind of model embedded these labels ({type(bank).__name__}, not {kind.__name__})"
        )
    return bank


class Model(Protocol):
    """Anything that gives log-odds of labels for windows of audio."""

    name: str
    sample_rate: int  # Hz
    window_s: float  # the longest window it takes; tags are pooled over windows of this length
    context_s: float  # audio on either side of a frame that its logits depend on; 0: the whole window
    frame_s: float  # distance between frames; equals window_s where the model does not localise
    # A model without bounded context may name an ``overlap_s``, that of its windows in detection; else half.
    # A model whose false alarms were measured has a ``promise`` (``zsaudio.models.promises``); one whose
    # embeddings have parts that rise and fall as a whole has their sizes, ``parts`` (``likeness.py``).

    def embed_labels(self, labels: LabelSet) -> LabelBank:
        """Compute what the model needs to know of the labels, once per label set."""
        ...

    def logits(self, windows: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return per window the log-odds ``(n_frames, n_labels)``, float32.

        Frame ``k`` is about the time ``[k * frame_s, (k + 1) * frame_s)`` of its window. The result for a
        window does not depend on the other windows of the call.
        """
        ...


class Encoder(Model, Protocol):
    """A model whose audio and text share one embedding space.

    ``logits(windows, bank)`` is ``compare(encode_audio(windows), bank)``: a label's log-odds depend on the
    audio embeddings alone, so stored embeddings can be compared with labels that come later.
    """

    dim: int

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return the log-odds ``(n_frames, n_labels)`` for audio embeddings, ``(n_frames, dim)`` a window."""
        ...

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the embeddings ``(n_frames, dim)``."""
        ...

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the embeddings ``(n_prompts, dim)``."""
        ...


class SpeechModel(Protocol):
    """A model that writes down what is spoken, symbol by symbol; keywords are aligned with it.

    It sees ``before_s`` of audio before a frame and ``after_s`` after it, no more (0 and 0: the whole
    window).
    """

    name: str
    sample_rate: int  # Hz
    window_s: float  # the longest window it takes
    before_s: float
    after_s: float
    frame_s: float  # distance between frames
    scoring: AlignmentScoring  # from alignments to log-odds

    def embed_labels(self, labels: LabelSet) -> KeywordBank:
        """Return the keywords' symbols, a ``KeywordBank``."""
        ...

    def log_probs(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the log-probabilities ``(n_frames, n_symbols)``; symbol 0 is *blank*."""
        ...


def mean_of_prompts(embeddings: np.ndarray, prompts: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the mean embedding of each label's prompts, ``(n_labels, dim)``.

    Parameters
    ----------
    embeddings
        ``(n_prompts, dim)``: the prompts of the first label, then those of the second, and so on.
    prompts
        The prompts of each label.
    """
    ends = np.cumsum([len(own) for own in prompts])[:-1]
    return np.stack([own.mean(axis=0) for own in np.split(embeddings, ends)])


class LogitsByComparing(ABC):
    """Gives an encoder its ``logits``."""

    @abstractmethod
    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the embeddings ``(n_frames, dim)``."""

    @abstractmethod
    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return the log-odds ``(n_frames, n_labels)`` for the embeddings of each window."""

    def logits(self, windows: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return per window the log-odds ``(n_frames, n_labels)``."""
        return self.compare(self.encode_audio(windows), bank)
