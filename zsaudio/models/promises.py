"""Thresholds that keep a promise of false alarms, for models whose false alarms were measured."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from zsaudio.errors import OptionError
from zsaudio.labels import Label
from zsaudio.models.base import LabelBank, Model, SpeechModel

log = logging.getLogger("zsaudio")


class Promise(Protocol):
    """What was measured of a model's false alarms; a model that has it names it ``promise``."""

    @property
    def highest(self) -> float:
        """No label has a higher score, in log-odds."""
        ...

    def needed(self, bank: LabelBank, column: int, per_hour: float, smooth_s: float) -> float:
        """Return the threshold, in log-odds, at which a label of a bank has so many false alarms per hour.

        ``smooth_s`` is the smoothing of the scores, in seconds (``DetectionOptions.smooth_s``).
        """
        ...


def keep_promises(
    model: Model | SpeechModel, bank: LabelBank, labels: Sequence[Label], smooth_s: float
) -> list[Label]:
    """Return labels with the thresholds that their ``false_alarms`` ask for.

    Raises
    ------
    OptionError
        If the model has no statistics.
    """
    placed = []
    for column, label in enumerate(labels):
        if label.false_alarms is None:
            placed.append(label)
            continue
        promise: Promise | None = getattr(model, "promise", None)
        if promise is None:
            raise OptionError(
                f"no false alarms can be promised for '{label.name}': {model.name} has no statistics of "
                "them; let zsaudio calibrate find its threshold from recordings of your own"
            )
        log_odds = promise.needed(bank, column, label.false_alarms, smooth_s)
        if log_odds > promise.highest:
            log.warning(
                "no threshold keeps '%s' to %g false alarms an hour: expect more%s",
                label.name,
                label.false_alarms,
                ", or choose a longer phrase" if label.is_keyword else "",
            )
        placed.append(replace(label, threshold=score(min(log_odds, promise.highest)), false_alarms=None))
    return placed


def score(log_odds: float) -> float:
    """Return the score of log-odds."""
    return float(1 / (1 + np.exp(-log_odds)))
