"""Which labels a model knows by name, and which are guesses.

A model that scores labels by classes that it learned (an audio classifier) says which of their names are
nearest to a text, by cosine similarity of sentence embeddings. A label far from all of them is scored,
too, but its scores are guesses.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from zsaudio.labels import Label
from zsaudio.models.base import Model

_NAMED = 5  # guesses in a warning
log = logging.getLogger("zsaudio")


@runtime_checkable
class KnowsNames(Protocol):
    """A model that learned classes with names."""

    name: str
    known_names: tuple[str, ...]
    guess_below: float  # cosine similarity with the nearest known name below which a label is a guess

    def nearest(self, texts: Sequence[str], k: int = 3) -> list[list[tuple[str, float]]]:
        """Return for each text the nearest known names with their cosine similarity, best first."""
        ...


@dataclass(frozen=True)
class Placed:
    """A label, the known names that are nearest to it with their similarity, and whether it is a guess."""

    label: str
    nearest: tuple[tuple[str, float], ...]
    is_guess: bool


def place_labels(model: Model, labels: Iterable[Label], k: int = 3) -> list[Placed] | None:
    """Return where labels stand among the names that a model knows; None if it knows no names.

    Of a label with several prompts, the prompt nearest to a known name counts. A label that a trained or
    adapted model learned is known. Keywords are left out.
    """
    learned: dict[str, str] = {}
    inner: Any = model
    while not isinstance(inner, KnowsNames) and hasattr(inner, "base"):
        names = getattr(inner, "classes", ()) or getattr(inner, "labels", ())
        learned |= {name.casefold(): name for name in names}
        inner = inner.base
    if not isinstance(inner, KnowsNames):
        return None
    sounds = [label for label in labels if not label.is_keyword]
    texts = [list(label.prompts) or [label.name] for label in sounds]
    rows = iter(inner.nearest([text for own in texts for text in own], k))
    placed = []
    for label, own in zip(sounds, texts, strict=True):
        best = max((next(rows) for _ in own), key=lambda names: names[0][1])
        if label.name.casefold() in learned:
            best = [(learned[label.name.casefold()], 1.0), *best][:k]
        placed.append(Placed(label.name, tuple(best), best[0][1] < inner.guess_below))
    return placed


def warn_of_guesses(model: Model, labels: Iterable[Label]) -> None:
    """Log one warning that names the labels that are guesses, with the nearest known name of each."""
    guesses = [placed for placed in place_labels(model, labels, k=1) or () if placed.is_guess]
    if not guesses:
        return
    named = ", ".join(f"'{guess.label}' (nearest: '{guess.nearest[0][0]}')" for guess in guesses[:_NAMED])
    more = f" and {len(guesses) - _NAMED} more" if len(guesses) > _NAMED else ""
    log.warning(
        "%s knows no sound named like %s%s: the scores are guesses (`zsaudio labels --check` says more)",
        model.name,
        named,
        more,
    )
