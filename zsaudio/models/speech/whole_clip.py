"""Which keyword is a clip? The likelihood that a network's outputs for all of a clip are one keyword.

The alignments of ``alignment.py`` look for the keyword anywhere, so what they leave out costs nothing, and of
"zero" and "two" the shorter one wins where it fits a part of the longer. Here every frame must be explained:
by the keyword, by a pause (*blank*), or by other speech, at a cost per frame. The likelihoods of all
alignments are added up (the forward pass of connectionist temporal classification: Graves et al., ICML 2006).

Two corrections make keywords of different lengths comparable. A network trained with CTC is too sure of
blank, so each symbol gets a bonus. What it writes in most utterances anyway is less of a sign, so a part of
the keyword's level (``alignment.ordinary_level``) is subtracted.

Conventions: log-probabilities are ``(n_frames, n_symbols)``, in nats.
"""

import numpy as np

from zsaudio.models.speech.alignment import BLANK, NOTHING, Keywords, States

# Chosen on nano-keyword's output for recorded phrases and words that it may learn from, at 16 and at 8 kHz.
_OTHER = 4.0  # cost of a frame of other speech, in nats
_SYMBOL = 0.5  # bonus of a symbol
_LEVEL = 0.4  # share of the level
_SCALE = 0.5  # from nats to logits: neighbouring frames repeat each other


class WholeClip:
    """Compare keywords as explanations of a whole clip.

    Parameters
    ----------
    keywords
        The keywords.

    Examples
    --------
    >>> clip = WholeClip(Keywords([[(1, 2, 1)], [(2,)]], np.zeros(2)))
    >>> says = np.array([1, 0, 2, 1])
    >>> clip.push(np.log(np.where(np.arange(3) == says[:, None], 0.98, 0.01)))
    >>> clip.logits().argmax()
    np.int64(0)
    """

    def __init__(self, keywords: Keywords) -> None:
        self._states = states = States(keywords.pronunciations)
        self._score = np.full(len(states.symbol) + 2, NOTHING)  # two more in front, so that shifts are views
        self._before = 0.0  # log-likelihood of the frames so far without the keyword
        self._ended = np.full(len(states.last), NOTHING)  # and with it
        self._correction = _SYMBOL * states.counts - _LEVEL * keywords.level[states.owner]

    def push(self, log_probs: np.ndarray) -> None:
        """Take the next frames."""
        states, score = self._states, self._score
        without = np.maximum(log_probs[:, BLANK], log_probs.max(axis=1) - _OTHER)
        here = score[2:]
        for frame, other in zip(log_probs, without, strict=True):
            new = np.logaddexp(here, score[1:-1] + states.no_step)
            new = np.logaddexp(new, score[:-2] + states.no_skip)
            new[states.first] = np.logaddexp(here[states.first], self._before)
            here[:] = new + frame[states.symbol]
            self._before += other
            self._ended = np.logaddexp(self._ended + other, here[states.last])

    def logits(self) -> np.ndarray:
        """Return a logit per keyword, ``(n_keywords,)``, whose softmax says which one the clip is.

        ``AlignmentScoring.whole`` makes log-odds of them, against everything else that a clip may be.
        """
        return np.asarray(_SCALE * np.maximum.reduceat(self._ended + self._correction, self._states.begin))

    def against_none(self) -> np.ndarray:
        """Return log-odds ``(n_keywords,)`` of each keyword against a clip without it: pauses, other speech.

        In silence or noise no keyword is likely, and yet one is the least unlikely.
        """
        likelihood = np.maximum.reduceat(self._ended + _SYMBOL * self._states.counts, self._states.begin)
        return np.asarray(_SCALE * (likelihood - self._before))
