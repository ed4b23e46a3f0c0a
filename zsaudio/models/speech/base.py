"""What speech models share: from keywords to symbols, and the log-odds of a keyword in a window."""

import logging
from collections.abc import Sequence

import numpy as np

from zsaudio.labels import LabelSet
from zsaudio.models.base import KeywordBank, LabelBank, own_bank
from zsaudio.models.speech.alignment import AlignmentScoring, Keywords, KeywordSpotter, ordinary_level
from zsaudio.models.speech.promise import KeywordPromise

SHORT = 3  # symbols; a keyword of so few is a part of many other words
_NAMED = 5  # short keywords named in a warning
log = logging.getLogger("zsaudio")


class Speech:
    """Base class of speech models: a ``zsaudio.models.base.SpeechModel`` that is a ``Model``, too.

    A subclass adds ``symbols(text)``, ``log_probs(windows)`` and the attributes of the protocol.
    """

    context_s = 0.0
    scoring: AlignmentScoring
    cohort: Sequence[np.ndarray] = ()  # log-probabilities of ordinary speech, an utterance each
    frame_s: float
    promise: KeywordPromise | None = None  # what to expect of its keywords, where it was measured

    def symbols(self, text: str) -> list[tuple[int, ...]]:
        """Return the pronunciations of a text, each as symbols."""
        raise NotImplementedError

    def log_probs(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the log-probabilities ``(n_frames, n_symbols)``."""
        raise NotImplementedError

    def embed_labels(self, labels: LabelSet) -> KeywordBank:
        """Return the keywords' symbols and levels; warn of short keywords, which are unreliable."""
        pronunciations = [[said for text in label.spoken for said in self.symbols(text)] for label in labels]
        short = [
            f"'{label.name}'"
            for label, own in zip(labels, pronunciations, strict=True)
            if min(map(len, own)) <= SHORT
        ]
        if short:
            log.warning(
                "of %d sounds or fewer, so often missed or detected in other words: %s%s",
                SHORT,
                ", ".join(short[:_NAMED]),
                f" and {len(short) - _NAMED} more" if len(short) > _NAMED else "",
            )
        level = ordinary_level(pronunciations, self.cohort, self.scoring)
        return KeywordBank(labels.names, Keywords(pronunciations, level))

    def logits(self, windows: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return per window the log-odds ``(1, n_labels)`` that each keyword is somewhere in it."""
        keywords, how = own_bank(bank, KeywordBank).keywords, self.scoring
        return [
            how.best(KeywordSpotter(keywords, how).push(frames)).astype(np.float32)[None]
            for frames in self.log_probs(windows)
        ]
