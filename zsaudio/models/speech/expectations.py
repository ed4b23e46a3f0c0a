"""What to expect of each keyword of a set, from the statistics of its model (``promise.py``)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zsaudio.errors import OptionError
from zsaudio.labels import Label
from zsaudio.models.base import KeywordBank, SpeechModel
from zsaudio.models.speech.promise import Promise

RATES = (0.1, 1.0, 10.0)  # false alarms per hour of speech
HOPELESS = 0.5  # share of misses at one false alarm per hour, above which a longer phrase is advised
log = logging.getLogger("zsaudio")


@dataclass(frozen=True)
class Expected:
    """What to expect of a keyword at some rate of false alarms.

    Parameters
    ----------
    per_hour
        False alarms in an hour of speech.
    threshold
        The score that keeps them so few; None: no score does.
    missed
        The share of the times that the keyword is said and not detected.
    """

    per_hour: float
    threshold: float | None
    missed: float


def expectations(promise: Promise, bank: KeywordBank, rates: Sequence[float] = RATES) -> list[list[Expected]]:
    """Return for each keyword what to expect at each of the rates."""
    return [[_expected(promise, bank, column, rate) for rate in rates] for column in range(len(bank.names))]


def keep_promises(model: SpeechModel, bank: KeywordBank, labels: Sequence[Label]) -> list[Label]:
    """Return keywords with the thresholds that their ``false_alarms`` ask for.

    Raises
    ------
    OptionError
        If the model has no statistics.
    """
    placed = []
    for column, label in enumerate(labels):
        if label.false_alarms is not None:
            promise: Promise | None = getattr(model, "promise", None)
            if promise is None:
                raise OptionError(no_promise(label.name, f"{model.name} has no statistics of false alarms"))
            expected = _expected(promise, bank, column, label.false_alarms)
            threshold = expected.threshold
            if threshold is None:
                threshold = _score(promise.highest)
                log.warning(
                    "'%s' is too short for %g false alarms an hour: expect more, or choose a longer phrase",
                    label.name,
                    label.false_alarms,
                )
            placed.append(replace(label, threshold=threshold, false_alarms=None))
        else:
            placed.append(label)
    return placed


def no_promise(name: str, why: str) -> str:
    """Return the message for a label without statistics."""
    return (
        f"no false alarms can be promised for '{name}': {why}; let zsaudio calibrate find its threshold from "
        "recordings of your own"
    )


def _expected(promise: Promise, bank: KeywordBank, column: int, per_hour: float) -> Expected:
    symbols = min(map(len, bank.keywords.pronunciations[column]))
    log_odds = promise.threshold(per_hour, symbols)
    missed = promise.missed(promise.highest if log_odds is None else log_odds, symbols)
    return Expected(per_hour, None if log_odds is None else _score(log_odds), missed)


def _score(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-log_odds)))
