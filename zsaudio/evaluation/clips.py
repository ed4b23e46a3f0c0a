"""Evaluate a model on labelled clips, with any number of label sets in one pass over the audio.

Events, for data with onsets, take another pass for each label set (``zsaudio.evaluation.events``).

The scores are those of ``Recognizer.tag``: frames are pooled within a window, and the best window of a clip
counts. Clips are ranked by their log-odds, which do not saturate as scores do near 1.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np

from zsaudio.detection.clips import window_outputs
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.scoring import pool_frames, to_scores
from zsaudio.errors import DataError, LabelError
from zsaudio.evaluation import metrics
from zsaudio.evaluation.datasets import Dataset, Recording
from zsaudio.evaluation.embeddings import as_encoder, embed_clips
from zsaudio.evaluation.events import EventEvaluation, evaluate_events, require_eval
from zsaudio.labels import LabelSet
from zsaudio.models.base import LabelBank, Model
from zsaudio.results import ClipOutputs

T = TypeVar("T")


class Progress(Protocol):
    """Wraps an iterator over ``total`` recordings to show progress."""

    def __call__(self, items: Iterable[T], total: int, /) -> Iterable[T]:
        """Yield the items."""


@dataclass(frozen=True)
class Evaluation:
    """The results of a model on labelled recordings.

    Parameters
    ----------
    model, data
        What was evaluated, on what.
    prompts
        The prompt template, or ``own`` for the prompts of the label set or the model.
    classes
        Class names, in the order of the columns.
    logits
        ``(n_clips, n_classes)``, log-odds.
    truth
        ``(n_clips, n_classes)`` booleans.
    unseen
        Names of the classes that count as unseen.
    failed
        Recordings that could not be used, and why.
    events
        How well events were found, if that was asked for.
    """

    model: str
    data: str
    prompts: str
    classes: tuple[str, ...]
    logits: np.ndarray
    truth: np.ndarray
    unseen: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    events: EventEvaluation | None = field(default=None, repr=False)

    @property
    def is_multi_label(self) -> bool:
        """Whether some clip has not exactly one label; only average precision makes sense then."""
        return bool((self.truth.sum(axis=1) != 1).any())

    @cached_property
    def number(self) -> np.ndarray:
        """The number of each clip's class, ``(n_clips,)``, where each has one."""
        return np.asarray(self.truth.argmax(axis=1))

    @cached_property
    def independent(self) -> metrics.Reliability:
        """Scores for "is it there" against what is there: every class of every clip."""
        nothing = np.zeros(len(self.classes), bool)
        return metrics.reliability(to_scores(self.logits, nothing), self.truth)

    @cached_property
    def exclusive(self) -> metrics.Reliability:
        """The best score for "which one is it" against whether it was that one: one a clip."""
        scores = to_scores(self.logits, np.zeros(len(self.classes), bool), exclusive=True)
        return metrics.reliability(scores.max(axis=1), scores.argmax(axis=1) == self.number)

    @cached_property
    def generalised(self) -> metrics.Generalised:
        """Seen and unseen accuracy with all classes as candidates."""
        return metrics.generalised(
            self.logits, self.number, [self.classes.index(name) for name in self.unseen]
        )

    @cached_property
    def summary(self) -> dict[str, float]:
        """The figures, by their names."""
        return self._of_clips() | (self.events.summary if self.events is not None else {})

    def _of_clips(self) -> dict[str, float]:
        precision = metrics.average_precision(self.logits, self.truth)
        figures = {"mAP": float(np.nanmean(precision)), "ECE independent": self.independent.ece}
        if self.is_multi_label:
            return figures
        figures = {
            "accuracy": metrics.accuracy(self.logits, self.number),
            "top-5 accuracy": metrics.accuracy(self.logits, self.number, 5),
            "mean class accuracy": metrics.mean_class_accuracy(self.logits, self.number),
            **figures,
            "ECE exclusive": self.exclusive.ece,
        }
        if self.unseen:
            result = self.generalised
            figures |= {"unseen among unseen": result.unseen_only}
            figures |= {"U": result.unseen, "S": result.seen, "H": result.harmonic}
        return figures

    @cached_property
    def per_class(self) -> list[dict[str, Any]]:
        """Per class: clips, average precision; with one label a clip also accuracy and the usual mistake.

        Where events were evaluated, also their figures.
        """
        precision = metrics.average_precision(self.logits, self.truth)
        rows: list[dict[str, Any]] = [
            {"class": name, "clips": int(n), "AP": _number(p)}
            for name, n, p in zip(self.classes, self.truth.sum(axis=0), precision, strict=True)
        ]
        if self.events is not None:
            for row, figures in zip(rows, self.events.per_class, strict=True):
                row |= {name: _number(value) for name, value in figures.items()}
        if self.is_multi_label:
            return rows
        matrix = metrics.confusion(self.logits, self.number)
        shares = metrics.class_accuracy(self.logits, self.number)
        for i, (row, share) in enumerate(zip(rows, shares, strict=True)):
            wrong = np.where(np.arange(len(matrix)) == i, 0, matrix[i])
            row["accuracy"] = _number(share)
            row["taken for"] = self.classes[int(wrong.argmax())] if wrong.any() else ""
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON takes it."""
        result = {
            "model": self.model,
            "data": self.data,
            "prompts": self.prompts,
            "clips": len(self.truth),
            "unseen": list(self.unseen),
            "summary": {name: _number(value) for name, value in self.summary.items()},
            "per_class": self.per_class,
            "failed": [{"clip": clip, "error": error} for clip, error in self.failed],
        }
        if not self.is_multi_label:
            matrix = metrics.confusion(self.logits, self.number)
            result["confusion"] = {"classes": list(self.classes), "counts": matrix.tolist()}
        if self.events is not None:
            result["events"] = self.events.parameters()
        return result


def evaluate(
    model: Model,
    data: Dataset,
    *,
    labels: LabelSet | None = None,
    templates: Sequence[str] = (),
    unseen: Sequence[str] = (),
    events: DetectionOptions | None = None,
    batch_size: int = 16,
    cache: bool = True,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Evaluate a model on labelled recordings.

    Parameters
    ----------
    model
        Any model; the audio embeddings of one that has them are kept on disk for the next time.
    data
        The recordings.
    labels
        The data set's classes with prompts of your own; by default their names.
    templates
        Compare these prompt templates: an evaluation for each and, if there are several, one for their mean.
    unseen
        Classes that count as unseen, for the generalised zero-shot figures.
    events
        Find events in this way, and measure how well; for data with onsets. Needs the extra ``eval``.
    batch_size
        Windows that go through the model together.
    cache
        Use the embeddings kept on disk, and keep new ones.
    progress
        Wraps the iterator over clips; gets their number.

    Returns
    -------
    evaluations
        One a template; a single one without templates.
    """
    if events is not None:
        require_eval()  # before the work, not after it
    names = data.classes
    if labels is None:
        labels = LabelSet(names)
    elif missing := [name for name in names if name not in labels.names]:
        raise LabelError(f"the label set lacks classes of {data.name}: {', '.join(missing)}")
    columns = [labels.names.index(name) for name in names]
    asked = {"own": labels} if not templates else {t: LabelSet(labels, [t]) for t in templates}
    if len(asked) > 1:
        asked["mean of all"] = LabelSet(labels, list(asked))
    banks = [model.embed_labels(label_set) for label_set in asked.values()]
    background = np.array([label.background for label in labels])
    clips: Iterable[ClipOutputs] = _logits(model, banks, data.recordings, batch_size, cache)
    if progress is not None:
        clips = progress(clips, len(data.recordings))
    kept: list[Recording] = []
    pooled: list[np.ndarray] = []
    failed: list[tuple[str, str]] = []
    for recording, clip in zip(data.recordings, clips, strict=True):
        if clip.error is not None:
            failed.append((clip.clip, str(clip.error)))
            continue
        best = np.max([pool_frames(window.astype(np.float64)) for window in clip.windows], axis=0)
        pooled.append(best.reshape(len(banks), len(labels)))
        kept.append(recording)
    if not kept:
        raise DataError(f"{data.name}: none of the recordings can be used; the first: {failed[0][1]}")
    truth = np.array([[name in recording.labels for name in names] for recording in kept])
    everything = np.stack(pooled)
    results = []
    for i, (prompts, label_set) in enumerate(asked.items()):
        logits = _against(everything[:, i], background)[:, columns]
        found = None
        if events is not None:
            found = evaluate_events(model, data, label_set, events, batch_size=batch_size, progress=progress)
        results.append(
            Evaluation(
                model.name, data.name, prompts, names, logits, truth, tuple(unseen), tuple(failed), found
            )
        )
    return results


def _against(logits: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return log-odds against the background labels, where there are some (``scoring.to_scores``)."""
    if not background.any():
        return logits
    others = np.logaddexp(0.0, np.logaddexp.reduce(logits[:, background], axis=1))
    return np.asarray(logits - others[:, None])


def _logits(
    model: Model,
    banks: Sequence[LabelBank],
    recordings: Sequence[Recording],
    batch_size: int,
    cache: bool,
) -> Iterator[ClipOutputs]:
    """Yield clips whose windows hold logits ``(n_frames, n_banks * n_labels)``."""
    paths = [recording.path for recording in recordings]
    if not hasattr(model, "encode_audio"):

        def run(windows: Sequence[np.ndarray]) -> list[np.ndarray]:
            per_bank = [model.logits(windows, bank) for bank in banks]
            return [np.hstack(logits) for logits in zip(*per_bank, strict=True)]

        yield from window_outputs(model, run, paths, batch_size)
        return
    encoder = as_encoder(model, "evaluation from embeddings")
    for clip in embed_clips(encoder, paths, batch_size, cache):
        if clip.error is None:
            per_bank = [encoder.compare(clip.windows, bank) for bank in banks]
            clip.windows = [np.hstack(logits) for logits in zip(*per_bank, strict=True)]
        yield clip


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
