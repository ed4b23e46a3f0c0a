"""Recordings with one label each, embedded: what models are learned from."""

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zsaudio.errors import DataError, OptionError
from zsaudio.evaluation.datasets import Dataset, read_dataset
from zsaudio.evaluation.embeddings import as_encoder, embed_clips
from zsaudio.labels import LabelSet
from zsaudio.models import registry
from zsaudio.models.base import Encoder, Model
from zsaudio.models.learned.loudness import Levelled, OnEncoder, loud_mean, pooled
from zsaudio.results import ClipOutputs

Progress = Callable[[Iterable[ClipOutputs], int], Iterable[ClipOutputs]]

log = logging.getLogger("zsaudio")


@dataclass
class Examples:
    """Labelled recordings, as an encoder hears them.

    Parameters
    ----------
    vectors
        ``(n_clips, n)``: the mean embedding of the frames that count (``zsaudio.models.learned.loudness``).
    numbers
        ``(n_clips,)``: the number of each clip's class.
    classes
        Names of the classes, each with at least one clip.
    base_logits
        ``(n_clips, n_classes)``: the encoder's log-odds.
    seconds
        The median length of a clip.
    windows
        Per clip its windows' embeddings, with levels; empty unless they were asked for.
    """

    vectors: np.ndarray
    numbers: np.ndarray
    classes: tuple[str, ...]
    base_logits: np.ndarray
    seconds: float
    windows: list[list[np.ndarray]] = field(default_factory=list)


def open_dataset(data: Dataset | str | os.PathLike[str]) -> Dataset:
    """Return a data set, or read it; what of it cannot be used is logged."""
    if isinstance(data, Dataset):
        return data
    dataset = read_dataset(data)
    for problem in dataset.problems:
        log.warning("%s", problem)
    return dataset


def open_model(model: str | Model, device: str, dtype: str, work: str) -> tuple[Encoder, str]:
    """Return a model with embeddings, and what ``load_model`` takes for it; load it if it is a name.

    Raises
    ------
    ModelError
        If it cannot be loaded.
    OptionError
        If it has no embeddings, or is itself a learned model that was not saved; ``work`` says what for.
    """
    if isinstance(model, str):
        return as_encoder(registry.load_model(model, device=device, dtype=dtype), work), model
    if hasattr(model, "save") and not Path(model.name).is_dir():
        raise OptionError(f"{work} needs the folder of the model '{model.name}': save it first")
    return as_encoder(model, work), model.name


def gather(
    model: Model,
    data: Dataset,
    batch_size: int = 16,
    cache: bool = True,
    progress: Progress | None = None,
    keep_windows: bool = False,
) -> Examples:
    """Embed the recordings of a data set with one label each; classes without a recording are left out.

    A recording that cannot be used is logged as an error, one that is silent as a warning.

    Raises
    ------
    DataError
        If a recording has several labels, or none can be used.
    """
    base = as_encoder(model, "learning from recordings")
    encoder: Any = base if isinstance(base, OnEncoder) else Levelled(base)
    for recording in data.recordings:
        if len(recording.labels) != 1:
            many = ", ".join(recording.labels) or "none"
            raise DataError(f"{recording.path}: one label is needed to learn from, not {many}")
    clips: Iterable[ClipOutputs] = embed_clips(
        encoder, [recording.path for recording in data.recordings], batch_size, cache
    )
    if progress is not None:
        clips = progress(clips, len(data.recordings))
    bank = encoder.embed_labels(LabelSet(data.classes))
    vectors, logits, labels, lengths, windows, failed = [], [], [], [], [], []
    for recording, clip in zip(data.recordings, clips, strict=True):
        if clip.error is not None:
            failed.append(str(clip.error) if clip.clip in str(clip.error) else f"{clip.clip}: {clip.error}")
            log.error("%s", failed[-1])
            continue
        vector = _mean(encoder, clip)
        if not vector.any():
            failed.append(f"{clip.clip}: is silent, so nothing can be learned from it")
            log.warning("%s", failed[-1])
            continue
        vectors.append(vector)
        logits.append(np.max([pooled(frames) for frames in encoder.compare(clip.windows, bank)], axis=0))
        labels.append(recording.labels[0])
        lengths.append(sum(clip.durations_s))
        if keep_windows:
            windows.append(clip.windows)
    if not vectors:
        raise DataError(f"{data.name}: none of the recordings can be used; the first: {failed[0]}")
    present = [number for number, name in enumerate(data.classes) if name in labels]
    classes = tuple(data.classes[number] for number in present)
    numbers = np.array([classes.index(label) for label in labels])
    seconds = float(np.median(lengths))
    return Examples(np.stack(vectors), numbers, classes, np.stack(logits)[:, present], seconds, windows)


def _mean(encoder: OnEncoder, clip: ClipOutputs) -> np.ndarray:
    """Return the mean of the clip's frames that count; windows are weighted by what they stand for."""
    parts = [encoder.split(window) for window in clip.windows]
    shares = [
        np.full(len(window), s / len(window))
        for window, s in zip(clip.windows, clip.durations_s, strict=True)
    ]
    frames = np.concatenate([part[0] for part in parts])
    return loud_mean(frames, np.concatenate([part[1] for part in parts]), np.concatenate(shares))
