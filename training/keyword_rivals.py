"""Keywords and what resembles them: the second loss of nano-keyword, computed as keywords are scored.

Connectionist temporal classification asks for the right phonemes everywhere. A keyword spotter asks something
else: whether a keyword's best alignment fits clearly better than that of a keyword which is not said. So from
each utterance some stretches of phonemes are taken for keywords, each with rivals that differ from it in one
to a few phonemes, and a softmax over their scores is to find the one that was said (as maximum mutual
information training does with whole sentences: Bahl et al., ICASSP 1986).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from zsaudio.models.speech.alignment import BLANK, AlignmentScoring
from zsaudio.models.speech.phonemes import PHONEMES

KEYWORDS = 2  # of a row
RIVALS = 7  # of a keyword
LENGTHS = (3, 12)  # phonemes of a keyword
WORST = -12.0  # as in ``alignment``
NOTHING = -1e9
# phonemes that are taken for each other: a change stays within a group half of the time
GROUPS = (
    "AA AE AH AO EH ER IH UH",
    "AW AY EY OW OY IY UW",
    "B D G P T K",
    "M N NG L R",
    "F TH S SH HH V DH Z ZH CH JH",
    "W Y L R",
)
ALIKE: dict[int, list[int]] = {}
for _group in GROUPS:
    _numbers = [PHONEMES.index(name) + 1 for name in _group.split()]
    for _number in _numbers:
        ALIKE.setdefault(_number, []).extend(other for other in _numbers if other != _number)


class Rivals:
    """Chooses keywords and their rivals.

    Parameters
    ----------
    banned
        Whether phonemes may not be learned, not even as something that is not said.
    seed
        Of the random numbers.
    """

    def __init__(self, banned: Callable[[tuple[str, ...]], bool], seed: int) -> None:
        self._banned, self._rng = banned, np.random.default_rng(seed)

    def choose(self, utterances: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """Return for some stretches of a row's utterances the stretch, then its rivals; maybe none."""
        rng, found = self._rng, []
        said = " ".join(map(str, [symbol for spoken in utterances for symbol in (*spoken, 0)]))
        long = [spoken for spoken in utterances if len(spoken) >= LENGTHS[0]]
        for _ in range(KEYWORDS * bool(long)):
            spoken = long[int(rng.integers(len(long)))]
            size = min(len(spoken), int(rng.integers(LENGTHS[0], LENGTHS[1] + 1)))
            first = int(rng.integers(len(spoken) - size + 1))
            keyword = spoken[first : first + size]
            own = [keyword]
            while len(own) <= RIVALS:
                rival = self._change(keyword)
                text = " ".join(map(str, rival))
                if f" {text} " not in f" {said} " and not self._banned(
                    tuple(PHONEMES[symbol - 1] for symbol in rival)
                ):
                    own.append(rival)
            found.append(own)
        return found

    def _change(self, keyword: np.ndarray) -> np.ndarray:
        rng, changed = self._rng, keyword.tolist()
        for _ in range(int(rng.integers(1, max(2, len(keyword) // 2) + 1))):
            at, kind = int(rng.integers(len(changed))), rng.random()
            if kind < 0.7:
                near = ALIKE[changed[at]]
                alike = near[int(rng.integers(len(near)))]
                changed[at] = alike if rng.random() < 0.6 else int(rng.integers(1, len(PHONEMES) + 1))
            elif kind < 0.85 and len(changed) > 2:
                del changed[at]
            else:
                changed.insert(at, int(rng.integers(1, len(PHONEMES) + 1)))
        return np.array(changed)


def best_ratios(log_probs: Tensor, keywords: Sequence[np.ndarray], how: AlignmentScoring) -> Tensor:
    """Return the best ratio of each keyword anywhere in its row, as ``Aligner`` gives it, with gradients.

    Parameters
    ----------
    log_probs
        ``(n_keywords, n_frames, n_symbols)``: each keyword's row.
    keywords
        Their symbols.
    how
        The costs; that of no pause is left out.

    Returns
    -------
    Tensor
        ``(n_keywords,)``.
    """
    states = 2 * max(map(len, keywords)) - 1
    symbol = np.full((len(keywords), states), BLANK)
    skip = np.full((len(keywords), states), NOTHING, np.float32)
    for row, keyword in enumerate(keywords):
        symbol[row, : 2 * len(keyword) - 1 : 2] = keyword
        skip[row, 2 : 2 * len(keyword) - 1 : 2] = np.where(keyword[1:] != keyword[:-1], 0, NOTHING)
    last = torch.tensor([2 * len(keyword) - 2 for keyword in keywords])[:, None]
    best = log_probs.max(dim=2, keepdim=True).values
    index = torch.from_numpy(symbol)[:, None].expand(-1, log_probs.shape[1], -1)
    ratios = (log_probs - best).clamp(min=WORST).gather(2, index) + how.doubt * best - how.dwell
    no_skip = torch.from_numpy(skip)
    score = torch.full((len(keywords), states + 2), NOTHING)
    ends = []
    for frame in ratios.unbind(1):
        here = torch.maximum(torch.maximum(score[:, 2:], score[:, 1:-1]), score[:, :-2] + no_skip)
        here = torch.cat([here[:, :1].clamp(min=0.0), here[:, 1:]], dim=1) + frame
        score = nn.functional.pad(here, (2, 0), value=NOTHING)
        ends.append(here.gather(1, last))
    return torch.cat(ends, dim=1).max(dim=1).values


def rival_loss(
    log_probs: Tensor, chosen: Sequence[Sequence[Sequence[np.ndarray]]], how: AlignmentScoring
) -> Tensor:
    """Return the mean cross-entropy of finding each keyword among its rivals.

    ``log_probs`` are ``(batch, n_frames, n_symbols)``, ``chosen`` what ``Rivals.choose`` gave for each row.
    """
    rows = [row for row, groups in enumerate(chosen) for group in groups for _ in group]
    keywords = [keyword for groups in chosen for group in groups for keyword in group]
    ratios = best_ratios(log_probs[rows], keywords, how)
    sizes = torch.tensor([len(keyword) for keyword in keywords])
    scores = (how.ratio * ratios + how.symbols * sizes).view(-1, RIVALS + 1)
    return -torch.log_softmax(scores, dim=1)[:, 0].mean()
