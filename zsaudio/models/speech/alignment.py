"""Where, and how well, a keyword fits what a network heard: alignment of symbols with frames.

A network trained with connectionist temporal classification gives, per frame, log-probabilities of symbols,
of which symbol 0 is *blank*. A keyword is a sequence of symbols. It is aligned with any stretch of frames by
dynamic programming over the states of its sequence, with optional blanks between the symbols (Graves et al.,
ICML 2006), against a *filler* that may say anything: in each frame it says the likeliest symbol. That is a
log-likelihood ratio, 0 where the network says the keyword and nothing else, and below 0 elsewhere. Where the
network is in doubt, in noise above all, every symbol is nearly as likely as the likeliest, and any keyword
would fit. So doubt costs, too: in proportion to how unlikely the likeliest symbol is. And since most of what
resembles a keyword is a piece of something longer, a keyword costs more where nobody pauses before it.

Its score is the log-odds that the keyword ends in a frame: what the ratio, the number of symbols and the
keyword's level in ordinary speech say together (``AlignmentScoring``).

Conventions: log-probabilities are ``(n_frames, n_symbols)``; frames are counted from the start of the stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLANK = 0
_NOTHING = -1e9
_PAUSE = 5  # frames before a keyword in which somebody may be speaking
_WORST = -12.0  # log-likelihood ratio of a frame: one that the network did not hear at all is not the end


@dataclass(frozen=True)
class Alignment:
    """The best alignment of each keyword that ends in each of some frames.

    Parameters
    ----------
    ratio
        ``(n_frames, n_keywords)``: log-likelihood ratio less what frames and doubt cost, at most 0.
    start
        ``(n_frames, n_keywords)``: the frame in which that alignment begins.
    symbols
        ``(n_frames, n_keywords)``: the number of symbols of the pronunciation that fits best.
    """

    ratio: np.ndarray
    start: np.ndarray
    symbols: np.ndarray


class Aligner:
    """Align keywords with a stream of frames.

    Parameters
    ----------
    keywords
        For each keyword one or more sequences of symbols, its pronunciations.
    dwell
        What each frame costs, in nats. Blanks cost nothing where nobody speaks, so without this an alignment
        might gather its symbols from half a minute.
    doubt
        What each frame costs besides, for each nat that its likeliest symbol is below certainty.
    pause
        What a keyword costs at most for the lack of a pause before it, in nats: all of it where the few
        frames before are certainly not blank, nothing where they are, or where the stream begins.

    Examples
    --------
    >>> aligner = Aligner([[(1, 2)]])
    >>> heard = np.log(np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]))
    >>> found = aligner.push(heard)
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
        states: list[int] = []  # the symbol of each state
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
        self._symbol = np.array(states)
        self._first, self._last = np.array(first), np.array(last)
        self._counts = np.array(counts)
        # pronunciations of a keyword are neighbours: where each keyword's begin
        self._begin = np.flatnonzero(np.diff(owner, prepend=-1))
        # from the state before last: past a blank, between symbols that differ
        skip = np.zeros(len(states), bool)
        skip[2:] = (self._symbol[2:] != BLANK) & (self._symbol[2:] != self._symbol[:-2])
        inside = np.ones(len(states), bool)
        inside[self._first] = False
        skip &= inside
        self._no_step = np.where(inside, 0.0, _NOTHING)
        self._no_skip = np.where(skip, 0.0, _NOTHING)
        self._score = np.full(len(states) + 2, _NOTHING)  # two more in front, so that shifts are views
        self._start = np.zeros(len(states) + 2, np.int64)
        self._frame, self._dwell, self._doubt, self._pause = 0, dwell, doubt, pause
        self._blank = np.zeros(_PAUSE)  # log-likelihood ratio of blank in the last frames

    def push(self, log_probs: np.ndarray) -> Alignment:
        """Take the next frames; return what ends in each of them."""
        best = log_probs.max(axis=1, keepdims=True)
        ratios = np.maximum(log_probs - best, _WORST)[:, self._symbol] + (self._doubt * best - self._dwell)
        n_frames, n_last = len(log_probs), len(self._last)
        blank = np.concatenate([self._blank, np.maximum(log_probs[:, BLANK] - best[:, 0], _WORST)])
        self._blank = blank[n_frames:]
        before = np.lib.stride_tricks.sliding_window_view(blank[:-1], _PAUSE).sum(axis=1)
        fresh = self._pause * np.expm1(before)
        ends, starts = np.empty((n_frames, n_last)), np.empty((n_frames, n_last), np.int64)
        score, start = self._score, self._start
        here, start_here = score[2:], start[2:]
        for t in range(n_frames):
            step = score[1:-1] + self._no_step
            skip = score[:-2] + self._no_skip
            start_step, start_skip = start[1:-1], start[:-2]
            by_skip = skip > step
            came = np.where(by_skip, skip, step)
            came_start = np.where(by_skip, start_skip, start_step)
            moved = came > here
            new = np.where(moved, came, here)
            new_start = np.where(moved, came_start, start_here)
            new[self._first], new_start[self._first] = fresh[t], self._frame + t
            new += ratios[t]
            here[:], start_here[:] = new, new_start
            ends[t], starts[t] = new[self._last], new_start[self._last]
        self._frame += n_frames
        if len(self._begin) == n_last:
            return Alignment(ends, starts, np.broadcast_to(self._counts, ends.shape))
        edges = [*self._begin[1:].tolist(), n_last]
        chosen = np.stack(
            [a + ends[:, a:b].argmax(axis=1) for a, b in zip(self._begin.tolist(), edges, strict=True)],
            axis=1,
        )
        rows = np.arange(n_frames)[:, None]
        return Alignment(ends[rows, chosen], starts[rows, chosen], self._counts[chosen])


@dataclass(frozen=True)
class Keywords:
    """Keywords as a model of speech sees them.

    Parameters
    ----------
    ways
        For each keyword its pronunciations, sequences of symbols.
    level
        ``(n_keywords,)``: the ratio of each keyword in ordinary speech (``ordinary_level``).
    """

    ways: Sequence[Sequence[Sequence[int]]]
    level: np.ndarray


@dataclass(frozen=True)
class AlignmentScoring:
    """From an alignment to log-odds; belongs to a model.

    The log-odds are ``ratio * r + symbols * n - level * l + bias``, at most ``most``, with an alignment's
    log-likelihood ratio ``r`` and number of symbols ``n`` and the keyword's level ``l``. An alignment begins
    and ends at the symbols' peaks: its event begins ``lead_s`` earlier and ends ``tail_s`` later.
    """

    bias: float
    ratio: float
    symbols: float
    level: float = 0.0
    dwell: float = 0.0  # nats that each frame costs in ``r``
    doubt: float = 0.0  # and each nat by which its likeliest symbol is uncertain
    pause: float = 0.0  # and the lack of a pause before the keyword, at most
    most: float = 12.0
    lead_s: float = 0.0
    tail_s: float = 0.0

    def aligner(self, keywords: Sequence[Sequence[Sequence[int]]]) -> Aligner:
        """Return what aligns keywords at these costs."""
        return Aligner(keywords, self.dwell, self.doubt, self.pause)

    def log_odds(self, found: Alignment, level: np.ndarray) -> np.ndarray:
        """Return the log-odds ``(..., n_keywords)`` of alignments, given the keywords' levels."""
        fit = self.ratio * found.ratio + self.symbols * found.symbols - self.level * level
        return np.asarray(np.minimum(fit + self.bias, self.most))


@dataclass(frozen=True)
class Spotted:
    """What keywords end in some frames.

    ``logits`` are ``(n_frames, n_keywords)`` log-odds, ``start`` the frames in which their alignments begin.
    """

    logits: np.ndarray
    start: np.ndarray


class KeywordSpotter:
    """Score keywords over one stream.

    Parameters
    ----------
    keywords
        What to listen for.
    scoring
        The model's.
    """

    def __init__(self, keywords: Keywords, scoring: AlignmentScoring) -> None:
        self._aligner = scoring.aligner(keywords.ways)
        self._level, self._scoring = keywords.level, scoring

    def push(self, log_probs: np.ndarray) -> Spotted:
        """Take the next frames ``(n_frames, n_symbols)``."""
        found = self._aligner.push(log_probs)
        return Spotted(self._scoring.log_odds(found, self._level), found.start)


def ordinary_level(
    ways: Sequence[Sequence[Sequence[int]]],
    cohort: Sequence[np.ndarray],
    scoring: AlignmentScoring,
    share: float = 0.9,
) -> np.ndarray:
    """Return the log-likelihood ratio of each keyword in ordinary speech: ``(n_keywords,)``.

    Some keywords resemble more of what people say than others, and a network has sounds that it hears too
    often. So every keyword is looked for in a *cohort*, what the network heard in some utterances, and its
    level is the ratio that a ``share`` of them stay below (test normalisation: Auckenthaler et al., Digital
    Signal Processing 10, 2000). That the cohort may hold the keyword a few times does not matter.
    """
    level = np.zeros(len(ways))
    if len(cohort) and scoring.level:
        best = [scoring.aligner(ways).push(utterance).ratio.max(axis=0) for utterance in cohort]
        level = np.quantile(best, share, axis=0)
    return level
