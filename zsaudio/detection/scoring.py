"""Logits -> scores -> tags.

Conventions: a logit is the log-odds that a label is heard; a score is in [0, 1]. Frames of a window, and then
windows of a clip, are pooled along the first axis; labels are the last axis.

- *Independent* scores ask of each label alone: is it there? They are the sigmoid of the logit; background
  labels take their share, as other explanations of what is heard: ``odds / (1 + odds + background odds)``.
- *Exclusive* scores ask: which one is it? They are the softmax over all labels and sum to one, background
  included.
"""

from typing import Literal

import numpy as np

from zsaudio.labels import LabelSet
from zsaudio.results import Tag

Pool = Literal["max", "mean"]


def pool_frames(logits: np.ndarray) -> np.ndarray:
    """Pool the frames of a window, ``(n_frames, n_labels)`` -> ``(n_labels,)``.

    The odds of the window are the mean of the odds of its frames: a soft maximum, since one frame with high
    odds outweighs many without, yet no single frame decides.
    """
    peak = logits.max(axis=0)
    return np.asarray(peak + np.log(np.exp(logits - peak).mean(axis=0)))


def to_scores(logits: np.ndarray, background: np.ndarray, exclusive: bool = False) -> np.ndarray:
    """Turn logits ``(..., n_labels)`` into scores of the same shape.

    Parameters
    ----------
    logits
        Log-odds of every label of the set.
    background
        ``(n_labels,)`` booleans: which labels are background.
    exclusive
        Softmax over the labels instead of independent scores.
    """
    logits = logits.astype(np.float64)
    if exclusive:
        total = np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    else:
        nothing = np.zeros((*logits.shape[:-1], 1))
        others = np.logaddexp.reduce(np.concatenate([nothing, logits[..., background]], axis=-1), axis=-1)
        total = np.where(background, others[..., None], np.logaddexp(others[..., None], logits))
    return np.asarray(np.exp(logits - total), np.float32)


def pool_windows(
    logits: np.ndarray, durations_s: np.ndarray, background: np.ndarray, pool: Pool, exclusive: bool
) -> np.ndarray:
    """Turn the logits of a clip's windows, ``(n_windows, n_labels)``, into its scores ``(n_labels,)``.

    ``max`` asks whether a label is heard anywhere in the clip; ``mean`` averages the windows' scores, each
    weighted by its length ``durations_s``.
    """
    if pool == "max":
        return to_scores(logits.max(axis=0), background, exclusive)
    return np.average(to_scores(logits, background, exclusive), axis=0, weights=durations_s)


def pool_clip(
    logits: np.ndarray,
    durations_s: np.ndarray,
    background: np.ndarray,
    pool: Pool,
    exclusive: bool,
    keyword_logits: np.ndarray,
) -> np.ndarray:
    """Turn a clip's logits into its scores, of the sounds first and then of the keywords.

    Takes what ``pool_windows`` takes, and the log-odds ``(n_keywords,)`` of keywords in the whole clip.
    Keywords compete with other labels only for exclusive scores, and never with background.
    """
    n_keywords = len(keyword_logits)
    if exclusive:
        everywhere = np.broadcast_to(keyword_logits, (len(logits), n_keywords))
        background = np.append(background, np.zeros(n_keywords, bool))
        return pool_windows(np.hstack([logits, everywhere]), durations_s, background, pool, exclusive)
    sounds = pool_windows(logits, durations_s, background, pool, exclusive)
    return np.append(sounds, to_scores(keyword_logits, np.zeros(n_keywords, bool)))


def shared_out(logits: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Return logits with the odds that ``logits`` have together, shared out as the softmax of ``within``.

    Whether any keyword is heard is decided by where each fits best; which one, by the whole clip.
    """
    return np.asarray(np.logaddexp.reduce(logits) + within - np.logaddexp.reduce(within))


def rank(scores: np.ndarray, labels: LabelSet, top_k: int | None, min_score: float | None) -> tuple[Tag, ...]:
    """Return the tags of a clip, best first.

    Parameters
    ----------
    scores
        ``(n_labels,)``, in [0, 1].
    labels
        The label set; its background labels are left out.
    top_k
        Keep at most this many; None or 0: all.
    min_score
        Leave out lower scores; None: what is below its label's own threshold, where it has one.
    """
    tags = [
        Tag(label.name, float(score))
        for label, score in zip(labels, scores, strict=True)
        if not label.background and score >= ((label.threshold or 0.0) if min_score is None else min_score)
    ]
    return tuple(sorted(tags, key=lambda tag: -tag.score)[: top_k or None])
