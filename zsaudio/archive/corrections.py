"""Learning from what a person says of stretches: which to ask about, and what the answers teach."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from zsaudio.archive.matches import Match, Matches
from zsaudio.archive.query import Scorer
from zsaudio.archive.review import Candidate
from zsaudio.archive.shards import Shard, live_recordings
from zsaudio.errors import DataError
from zsaudio.labels import LabelSet
from zsaudio.models.learned.adapted import REACH_S, Adapted


def choose(found: Matches, n: int) -> list[Candidate]:
    """Return candidates to be judged, ``n`` for each label.

    Half are the best, where a mistake costs most; half are those about which the model is least certain, its
    score nearest to 0.5, from which it learns most (uncertainty sampling, Lewis & Gale, SIGIR 1994).

    Parameters
    ----------
    found
        The best matches, many more than are needed.
    n
        How many to choose.
    """
    chosen: list[Candidate] = []
    for label in dict.fromkeys(match.label for match in found):
        own = [match for match in found if match.label == label]
        best, rest = own[: n - n // 2], own[n - n // 2 :]
        chosen += [Candidate.of(match, "best") for match in best]
        chosen += [Candidate.of(match, "unsure") for match in sorted(rest, key=_certainty)[: n // 2]]
    return chosen


def _certainty(match: Match) -> float:
    """Return how far the log-odds of a match are from 0."""
    score = min(max(match.score, 1e-9), 1 - 1e-9)
    return abs(float(np.log(score / (1 - score))))


@dataclass
class Keys:
    """The stretches that were answered yes and no, each with its label, as unit vectors ``(dim,)``."""

    yes: list[tuple[str, np.ndarray]] = field(default_factory=list)
    no: list[tuple[str, np.ndarray]] = field(default_factory=list)

    def added_to(self, model: Adapted) -> Adapted:
        """Return the model with these examples and counter-examples as well."""
        old = model.counter_keys if model.counter_keys is not None else model.keys[:0]
        return replace(
            model,
            keys=np.concatenate([model.keys, *(key[None] for _, key in self.yes)]),
            labels=(*model.labels, *(label for label, _ in self.yes)),
            counter_keys=np.concatenate([old, *(key[None] for _, key in self.no)]),
            counter_labels=(*model.counter_labels, *(label for label, _ in self.no)),
        )


def learn(
    answered: Sequence[Candidate],
    labels: LabelSet,
    shards: Sequence[Shard],
    scorer: Scorer,
    path_of: Callable[[str], str],
    hop_s: float,
) -> Keys:
    """Return what the answers teach: of each stretch the place that scores highest, with what is near it.

    Parameters
    ----------
    answered
        Candidates with answers.
    labels
        Their labels.
    shards
        The archive's.
    scorer
        Scores these labels.
    path_of
        Where a recording is, from its stored path.
    hop_s
        The distance between vectors.

    Raises
    ------
    DataError
        If a candidate is not in the archive.
    """
    places = {
        os.path.abspath(path_of(shard.recordings[number].path)): (shard, number)
        for shard, numbers in zip(shards, live_recordings(shards).values(), strict=True)
        for number in numbers
    }
    keys = Keys()
    for each in answered:
        if os.path.abspath(each.clip) not in places:
            raise DataError(f"{each.clip}: is not in the archive")
        shard, number = places[os.path.abspath(each.clip)]
        rows = slice(shard.starts[number], shard.starts[number + 1])
        vectors = shard.vectors[rows].astype(np.float32)
        inside = (shard.offsets[rows] > each.onset) & (shard.onsets[rows] < each.offset)
        if not inside.any():
            raise DataError(f"{each.clip}: has nothing from {each.onset:g} to {each.offset:g} s")
        scores = scorer.scores(vectors, np.array([0, len(vectors)]))[:, labels.names.index(each.label)]
        local = local_mean(vectors, int(REACH_S / hop_s))[np.where(inside, scores, -1.0).argmax()]
        key = each.label, local / max(float(np.linalg.norm(local)), 1e-9)
        (keys.yes if each.answer else keys.no).append(key)
    return keys


def local_mean(frames: np.ndarray, reach: int) -> np.ndarray:
    """Return the mean of up to ``reach`` frames on either side of each frame, itself included.

    Examples
    --------
    >>> local_mean(np.array([[0.0], [3.0], [6.0], [9.0]]), 1).ravel().tolist()
    [1.5, 3.0, 6.0, 7.5]
    """
    total = np.concatenate([np.zeros((1, frames.shape[1])), np.cumsum(frames, axis=0, dtype=np.float64)])
    at = np.arange(len(frames))
    first, last = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(frames))
    return np.asarray((total[last] - total[first]) / (last - first)[:, None], np.float32)
