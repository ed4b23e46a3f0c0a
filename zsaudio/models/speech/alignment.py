"""Keyword spotting: alignment of a keyword's symbols with the outputs of a speech model.

A network trained with connectionist temporal classification (CTC) gives, per frame, log-probabilities of
symbols; symbol 0 is *blank*. A keyword is a sequence of symbols. Dynamic programming over the states of that
sequence, with optional blanks between the symbols (Graves et al., ICML 2006), finds the best alignment of the
keyword that ends in each frame, wherever it begins. It is compared with a *filler*, which takes the most
likely symbol of every frame. The difference of the two log-likelihoods is a log-likelihood ratio: 0 if the
network's most likely symbols are exactly the keyword, below 0 otherwise.

Three costs are subtracted from the ratio (``AlignmentScoring``):

- a small cost per frame, against alignments that stretch over a long time;
- a cost of uncertainty: in noise, all symbols are about as likely as the most likely one, so any keyword
  would fit. Each frame costs in proportion to how far its most likely symbol is from certain;
- a cost for no pause before the keyword, and one for none after it, since most false alarms are parts of
  longer words or phrases. The second is subtracted when an event is reported (``keyword_peaks.py``).

The log-odds that the keyword ends in a frame are a linear function of the ratio, the number of symbols, and
the keyword's usual ratio in ordinary speech (``ordinary_level``).

Conventions: log-probabilities are ``(n_frames, n_symbols)``; frames are counted from the start of the stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLANK = 0
NOTHING = -1e9
_PAUSE = 5  # frames before a keyword that should be blank
_AFTER = 3  # and after it
_WORST = -12.0  # lowest log-likelihood ratio of a frame, so that a single missed symbol can be made up for


@dataclass(frozen=True)
class Alignment:
    """The best alignment of each keyword that ends in each of some frames.

    Parameters
    ----------
    ratio
        ``(n_frames, n_keywords)``: log-likelihood ratio minus the costs, at most 0.
    start
        ``(n_frames, n_keywords)``: the frame in which the alignment begins.
    symbols
        ``(n_frames, n_keywords)``: the number of symbols of the pronunciation that fits best.
    blank
        ``(n_frames,)``: log-likelihood ratio of blank in the frame.
    """

    ratio: np.ndarray
    start: np.ndarray
    symbols: np.ndarray
    blank: np.ndarray


class States:
    """The states through which the alignments of keywords pass: the symbols, with a blank between two.

    Parameters
    ----------
    keywords
        For each keyword its pronunciations, one or more sequences of symbols.
    """

    def __init__(self, keywords: Sequence[Sequence[Sequence[int]]]) -> None:
        states: list[int] = []
        first, last, owner, counts = [], [], [], []
        for number, pronunciations in enumerate(keywords):
            for sequence in pronunciations:
                if not len(sequence):
                    raise ValueError(f"keyword {number} has a pronunciation without symbols")
                first.append(len(states))
                for symbol in sequence:
                    states += [symbol, BLANK]
                states.pop()
                last.append(len(states) - 1)
                owner.append(number)
                counts.append(len(sequence))
        self.symbol = np.array(states)
        # per pronunciation: its first and last state, its keyword, its number of symbols
        self.first, self.last, self.owner = np.array(first), np.array(last), np.array(owner)
        self.counts = np.array(counts)
        # the pronunciations of a keyword are next to each other: the first of each keyword
        self.begin = np.flatnonzero(np.diff(self.owner, prepend=-1))
        # steps of one state, and of two: over a blank, between different symbols
        skip = np.zeros(len(states), bool)
        skip[2:] = (self.symbol[2:] != BLANK) & (self.symbol[2:] != self.symbol[:-2])
        inside = np.ones(len(states), bool)
        inside[self.first] = False
        skip &= inside
        self.no_step = np.where(inside, 0.0, NOTHING)
        self.no_skip = np.where(skip, 0.0, NOTHING)


class Aligner:
    """Align keywords with a stream of frames.

    Parameters
    ----------
    keywords
        For each keyword its pronunciations, one or more sequences of symbols.
    dwell
        Cost of each frame, in nats. In silence blanks cost nothing, so without this an alignment might take
        its symbols from half a minute.
    doubt
        Cost of uncertainty: of each frame, per nat that its most likely symbol is below certainty.
    pause
        Cost of a keyword without a pause before it, in nats: all of it if the few frames before are certainly
        not blank; none if they are blank, or if the stream begins there.

    Examples
    --------
    >>> aligner = Aligner([[(1, 2)]])
    >>> log_probs = np.log(np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]))
    >>> found = aligner.push(log_probs)
    >>> bool(found.ratio[2, 0] == 0.0), int(found.start[2, 0])
    (True, 1)
    """

    def __init__(
        self,
        keywords: Sequence[Sequence[Sequence[int]]],
        dwell: float = 0.0,
        doubt: float = 0.0,
        pause: float = 0.0,
    ) -> None:
        self._states = states = States(keywords)
        self._score = np.full(len(states.symbol) + 2, NOTHING)  # two more in front, so that shifts are views
        self._start = np.zeros(len(states.symbol) + 2, np.int64)
        self._frame, self._dwell, self._doubt, self._pause = 0, dwell, doubt, pause
        self._blank = np.zeros(_PAUSE)  # log-likelihood ratio of blank in the last frames

    def push(self, log_probs: np.ndarray) -> Alignment:
        """Take the next frames; return what ends in each of them."""
        best = log_probs.max(axis=1, keepdims=True)
        ratios = np.maximum(log_probs - best, _WORST)[:, self._states.symbol] + (
            self._doubt * best - self._dwell
        )
        n_frames, n_last = len(log_probs), len(self._states.last)
        blank = np.maximum(log_probs[:, BLANK] - best[:, 0], _WORST)
        earlier = np.concatenate([self._blank, blank])
        self._blank = earlier[n_frames:]
        before = np.lib.stride_tricks.sliding_window_view(earlier[:-1], _PAUSE).sum(axis=1)
        fresh = no_pause(before, self._pause)
        ends, starts = np.empty((n_frames, n_last)), np.empty((n_frames, n_last), np.int64)
        states, score, start = self._states, self._score, self._start
        here, start_here = score[2:], start[2:]
        for t in range(n_frames):
            step = score[1:-1] + states.no_step
            skip = score[:-2] + states.no_skip
            start_step, start_skip = start[1:-1], start[:-2]
            by_skip = skip > step
            came = np.where(by_skip, skip, step)
            came_start = np.where(by_skip, start_skip, start_step)
            moved = came > here
            new = np.where(moved, came, here)
            new_start = np.where(moved, came_start, start_here)
            new[states.first], new_start[states.first] = fresh[t], self._frame + t
            new += ratios[t]
            here[:], start_here[:] = new, new_start
            ends[t], starts[t] = new[states.last], new_start[states.last]
        self._frame += n_frames
        if len(states.begin) == n_last:
            return Alignment(ends, starts, np.broadcast_to(states.counts, ends.shape), blank)
        edges = [*states.begin[1:].tolist(), n_last]
        chosen = np.stack(
            [a + ends[:, a:b].argmax(axis=1) for a, b in zip(states.begin.tolist(), edges, strict=True)],
            axis=1,
        )
        rows = np.arange(n_frames)[:, None]
        return Alignment(ends[rows, chosen], starts[rows, chosen], states.counts[chosen], blank)


def no_pause(blank: np.ndarray, cost: float) -> np.ndarray:
    """Return what no pause costs, from 0 to ``-cost``, given the log-likelihood ratio that all was blank."""
    return np.asarray(cost * np.expm1(blank))


def after(blank: np.ndarray) -> np.ndarray:
    """Return for each frame how likely the next ones are all blank; after the last comes silence."""
    later = np.append(blank[1:], np.zeros(_AFTER))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(later, _AFTER).sum(axis=1))


@dataclass(frozen=True)
class Keywords:
    """Keywords as sequences of a speech model's symbols.

    Parameters
    ----------
    pronunciations
        For each keyword one or more sequences of symbols.
    level
        ``(n_keywords,)``: the ratio of each keyword in ordinary speech (``ordinary_level``).
    """

    pronunciations: Sequence[Sequence[Sequence[int]]]
    level: np.ndarray


@dataclass(frozen=True)
class AlignmentScoring:
    """Turns alignments into log-odds; its constants belong to a model.

    The log-odds are ``ratio * r + symbols * n - level * l + bias``, at most ``most``, with an alignment's
    log-likelihood ratio ``r`` (after costs), its number of symbols ``n``, and the keyword's level ``l``. An
    event's are lower by the cost of no pause after the keyword, at most ``ratio * pause``. The log-odds that
    a clip of half a minute at most is the keyword and nothing else are the logits of ``WholeClip`` plus
    ``whole``, where the model has that constant (at most its ``against_none``): with no other speech around
    it, less of a sign is enough. An alignment begins and ends at the peaks of symbols: its event begins
    ``lead_s`` earlier and ends ``tail_s`` later.
    """

    bias: float
    ratio: float
    symbols: float
    level: float = 0.0
    dwell: float = 0.0  # cost per frame, in nats; see ``Aligner`` for this and the next two
    doubt: float = 0.0
    pause: float = 0.0
    most: float = 12.0
    lead_s: float = 0.0
    tail_s: float = 0.0
    whole: float | None = None

    def aligner(self, keywords: Sequence[Sequence[Sequence[int]]]) -> Aligner:
        """Return an aligner with these costs."""
        return Aligner(keywords, self.dwell, self.doubt, self.pause)

    def log_odds(self, found: Alignment, level: np.ndarray) -> np.ndarray:
        """Return the log-odds ``(..., n_keywords)`` of alignments, given the keywords' levels."""
        fit = self.ratio * found.ratio + self.symbols * found.symbols - self.level * level
        return np.asarray(np.minimum(fit + self.bias, self.most))

    def followed(self, log_odds: np.ndarray, blank: np.ndarray) -> np.ndarray:
        """Return log-odds with the cost of no pause after the keyword (``no_pause``)."""
        return np.asarray(log_odds + self.ratio * no_pause(blank, self.pause))

    def best(self, spotted: "Spotted") -> np.ndarray:
        """Return the highest log-odds of each keyword, ``(n_keywords,)``, as if silence came next."""
        return np.asarray(self.followed(spotted.logits, after(spotted.blank)[:, None]).max(axis=0))


@dataclass(frozen=True)
class Spotted:
    """The scores of keywords that end in some frames.

    ``logits`` are ``(n_frames, n_keywords)`` log-odds, ``start`` the frames in which their alignments begin,
    ``blank`` the log-likelihood ratio of blank in each frame, ``(n_frames,)``.
    """

    logits: np.ndarray
    start: np.ndarray
    blank: np.ndarray


class KeywordSpotter:
    """Score keywords over one stream.

    Parameters
    ----------
    keywords
        The keywords.
    scoring
        The model's.
    """

    def __init__(self, keywords: Keywords, scoring: AlignmentScoring) -> None:
        self._aligner = scoring.aligner(keywords.pronunciations)
        self._level, self._scoring = keywords.level, scoring

    def push(self, log_probs: np.ndarray) -> Spotted:
        """Take the next frames ``(n_frames, n_symbols)``."""
        found = self._aligner.push(log_probs)
        return Spotted(self._scoring.log_odds(found, self._level), found.start, found.blank)


def ordinary_level(
    pronunciations: Sequence[Sequence[Sequence[int]]],
    cohort: Sequence[np.ndarray],
    scoring: AlignmentScoring,
    share: float = 0.9,
) -> np.ndarray:
    """Return the log-likelihood ratio of each keyword in ordinary speech: ``(n_keywords,)``.

    Some keywords are more like ordinary speech than others, and a network outputs some phonemes too often. So
    every keyword is aligned with a *cohort*, the network's outputs for some utterances, and its level is the
    ratio that a ``share`` of the utterances stay below (test normalisation: Auckenthaler et al., Digital
    Signal Processing 10, 2000). A few utterances with the keyword in them do not matter.
    """
    level = np.zeros(len(pronunciations))
    if len(cohort) and scoring.level:
        best = [scoring.aligner(pronunciations).push(utterance).ratio.max(axis=0) for utterance in cohort]
        level = np.quantile(best, share, axis=0)
    return level
