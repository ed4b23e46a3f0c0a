"""What to expect of a keyword before it is used: false alarms, misses, and words that resemble it.

How often a keyword is falsely detected and how often it is missed depend on its threshold and on its number
of phonemes. ``training/keyword_statistics.py`` measured both for many keywords and fitted two curves, which
come with the model: the logarithm of the false alarms per hour of speech (Poisson regression), and the
log-odds of a miss (logistic regression), each linear in these two.

Conventions: thresholds are log-odds here; false alarms are per hour in which somebody speaks all the time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zsaudio.models.base import KeywordBank, LabelBank, own_bank
from zsaudio.models.speech.phonemes import PHONEMES
from zsaudio.models.speech.pronunciation import Pronunciation

_KINDS = (  # phonemes that are heard as each other
    "B P", "D T", "G K", "V F", "Z S", "ZH SH", "JH CH", "DH TH", "M N NG", "L R W Y", "F TH", "V DH",
    "SH CH", "S SH", "Z ZH",
    "AA AO AH", "AH IH EH", "IH IY", "EH AE", "EH EY", "UH UW", "AO OW", "ER R", "AY AA", "AW AA", "EY IY",
)  # fmt: skip
_NEAR, _VOWEL, _OTHER = 0.4, 0.7, 1.0  # costs of a substitution
_GAP = 0.8  # cost of a phoneme that one of two words lacks
_AROUND = 0.2  # the same before or after the other word
_VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"}


@dataclass(frozen=True)
class Curve:
    """A sum that is linear in the threshold and the number of phonemes."""

    constant: float
    threshold: float
    symbols: float

    def at(self, threshold: float, symbols: int) -> float:
        """Return the sum."""
        return self.constant + self.threshold * threshold + self.symbols * symbols


@dataclass(frozen=True)
class KeywordPromise:
    """Expected false alarms and misses of a model's keywords: meets ``zsaudio.models.promises.Promise``.

    Parameters
    ----------
    alarms
        The logarithm of the false alarms per hour.
    misses
        The log-odds of a miss.
    highest
        No keyword has a higher score, in log-odds (``AlignmentScoring.most``).
    """

    alarms: Curve
    misses: Curve
    highest: float

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, float]], highest: float) -> "KeywordPromise":
        """Return the promise of the statistics that come with a model."""
        return cls(Curve(**data["alarms"]), Curve(**data["misses"]), highest)

    def threshold(self, per_hour: float, symbols: int) -> float:
        """Return the threshold with so many false alarms per hour; above ``highest``, no score reaches it."""
        return (math.log(per_hour) - self.alarms.at(0.0, symbols)) / self.alarms.threshold

    def needed(self, bank: LabelBank, column: int, per_hour: float, smooth_s: float) -> float:
        """Return the threshold of a keyword of a bank; keywords are not smoothed."""
        return self.threshold(per_hour, shortest(own_bank(bank, KeywordBank), column))

    def missed(self, threshold: float, symbols: int) -> float:
        """Return the share of the times that somebody says the keyword and it is not detected."""
        return 1 / (1 + math.exp(-self.misses.at(threshold, symbols)))


def shortest(bank: KeywordBank, column: int) -> int:
    """Return the number of phonemes of a keyword's shortest pronunciation."""
    return min(map(len, bank.keywords.pronunciations[column]))


def similar_words(
    said: Sequence[Pronunciation], words: Mapping[str, Sequence[Pronunciation]], most: int = 6
) -> list[str]:
    """Return the words that sound most like a keyword, or have it in them, the nearest first.

    The distance is that of the cheapest substitutions and gaps; what stands before or after the keyword in a
    word costs little, since keywords are detected inside words, too.

    Parameters
    ----------
    said
        The pronunciations of the keyword.
    words
        The words to choose from, with their pronunciations.
    most
        Return at most so many.

    Examples
    --------
    >>> similar_words([("S", "T", "AA", "P")], {"shop": [("SH", "AA", "P")], "tree": [("T", "R", "IY")]})
    ['shop']
    """
    costs = _substitutions()
    number = {phoneme: i for i, phoneme in enumerate(PHONEMES)}
    ways = [tuple(number[p] for p in way) for way in said]
    entries = [(word, tuple(number[p] for p in way)) for word, own in words.items() for way in own]
    near: dict[str, float] = {}
    for way in ways:
        limit = 0.25 * len(way) + 0.3
        for word, other in entries:
            if other not in ways and abs(len(other) - len(way)) <= 4:
                distance = _distance(way, other, costs)
                if distance <= limit:
                    near[word] = min(distance, near.get(word, distance))
    return sorted(near, key=lambda word: near[word])[:most]


def _substitutions() -> list[list[float]]:
    together = [set(kind.split()) for kind in _KINDS]

    def cost(a: str, b: str) -> float:
        if a == b:
            return 0.0
        if any(a in kind and b in kind for kind in together):
            return _NEAR
        return _VOWEL if a in _VOWELS and b in _VOWELS else _OTHER

    return [[cost(a, b) for b in PHONEMES] for a in PHONEMES]


def _distance(keyword: Sequence[int], word: Sequence[int], costs: list[list[float]]) -> float:
    before = [_AROUND * i for i in range(len(word) + 1)]
    for phoneme in keyword:
        row = [before[0] + _GAP]
        for i, other in enumerate(word):
            row.append(min(before[i] + costs[phoneme][other], before[i + 1] + _GAP, row[i] + _GAP))
        before = row
    return float(min(cost + _AROUND * (len(word) - i) for i, cost in enumerate(before)))
