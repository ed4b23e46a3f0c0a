"""What to expect of each keyword of a set, from the statistics of its model (``promise.py``)."""

from collections.abc import Sequence
from dataclasses import dataclass

from zsaudio.models.base import KeywordBank
from zsaudio.models.promises import score
from zsaudio.models.speech.promise import KeywordPromise, shortest

RATES = (0.1, 1.0, 10.0)  # false alarms per hour of speech
HOPELESS = 0.5  # share of misses at one false alarm per hour, above which a longer phrase is advised


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


def expectations(
    promise: KeywordPromise, bank: KeywordBank, rates: Sequence[float] = RATES
) -> list[list[Expected]]:
    """Return for each keyword what to expect at each of the rates."""
    return [[_expected(promise, bank, column, rate) for rate in rates] for column in range(len(bank.names))]


def _expected(promise: KeywordPromise, bank: KeywordBank, column: int, per_hour: float) -> Expected:
    symbols = shortest(bank, column)
    log_odds = promise.threshold(per_hour, symbols)
    missed = promise.missed(min(log_odds, promise.highest), symbols)
    return Expected(per_hour, None if log_odds > promise.highest else score(log_odds), missed)
