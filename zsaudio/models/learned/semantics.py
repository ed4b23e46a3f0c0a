"""Class vectors from names, descriptions, attributes and relations.

Each *source* turns labels into vectors; several sources are concatenated. The mean vector of a few hundred
everyday sounds is subtracted, since what all sounds share does not distinguish them; then vectors are scaled
to unit length.

- ``names``: the text embedding of the label's name, or of its own prompts.
- ``descriptions``: the text embedding of a sentence that describes the sound; of the name if there is none.
- ``attributes``: the row of a table, class x attribute. A label that is not in the table gets a weighted mean
  of the rows whose names are near its text; an empty cell is filled in the same way.
- ``relations``: the mean of the name's embedding and those of its parents and siblings in a taxonomy. A label
  that is not in the taxonomy takes the place of the node with the nearest name.

Conventions: vectors are float64 ``(n_labels, n_dimensions)``, unit length in all; attributes are in [0, 1].
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from zsaudio.errors import OptionError
from zsaudio.labels import Label
from zsaudio.models.learned.class_tables import AttributeTable, Taxonomy, builtin_descriptions

SOURCES = ("names", "descriptions", "attributes", "relations")
Embed = Callable[[Sequence[str]], np.ndarray]

_NEARNESS = 0.1  # temperature of the softmax over cosines that weights the rows of the table


class Semantics:
    """Turns labels into vectors.

    Parameters
    ----------
    embed
        Texts to unit vectors ``(n_texts, dim)``: an encoder's ``encode_text``.
    sources
        One or more of ``SOURCES``.
    attributes
        The table; by default the one that comes with zsaudio.
    descriptions
        By label; by default those that come with zsaudio.
    taxonomy
        For relations.
    """

    def __init__(
        self,
        embed: Embed,
        sources: Sequence[str] = ("names",),
        *,
        attributes: AttributeTable | None = None,
        descriptions: Mapping[str, str] | None = None,
        taxonomy: Taxonomy | None = None,
    ) -> None:
        if not sources:
            raise OptionError(f"no semantics: choose some of {', '.join(SOURCES)}")
        for source in sources:
            if source not in SOURCES:
                raise OptionError(f"unknown semantics '{source}': choose some of {', '.join(SOURCES)}")
        if "relations" in sources and taxonomy is None:
            raise OptionError("relations need a taxonomy: a JSON file in the form of the AudioSet ontology")
        self.sources = tuple(dict.fromkeys(sources))
        self.attributes = AttributeTable.builtin() if attributes is None else attributes
        self.descriptions = builtin_descriptions() if descriptions is None else dict(descriptions)
        self.taxonomy = taxonomy
        self._embed = embed
        self._described = {name.casefold(): text for name, text in self.descriptions.items()}
        self._row = {name.casefold(): i for i, name in enumerate(self.attributes.names)}

    def __call__(self, labels: Sequence[Label]) -> np.ndarray:
        """Return the labels' vectors ``(n_labels, n_dimensions)``."""
        blocks = [_unit(getattr(self, f"_{source}")(labels)) for source in self.sources]
        return np.asarray(np.hstack(blocks) / np.sqrt(len(blocks)))

    def gaps(self, labels: Sequence[Label]) -> list[str]:
        """Return a line per gap in the sources: what is missing for these labels, and what replaces it."""
        lines = []
        if "descriptions" in self.sources:
            bare = [label.name for label in labels if not self._has_description(label)]
            if bare:
                lines.append(f"no description of {', '.join(bare)}: the name stands in for it")
        if "attributes" in self.sources:
            known = [self._row.get(label.name.casefold()) for label in labels]
            absent = [label.name for label, row in zip(labels, known, strict=True) if row is None]
            if absent:
                lines.append(f"no attributes of {', '.join(absent)}: predicted from the text")
            holes = [
                label.name
                for label, row in zip(labels, known, strict=True)
                if row is not None and np.isnan(self.attributes.values[row]).any()
            ]
            if holes:
                lines.append(f"attributes with gaps: {', '.join(holes)}: filled from the text")
        return lines

    def _names(self, labels: Sequence[Label]) -> np.ndarray:
        own = self._texts([label.prompts or (label.name,) for label in labels])
        return np.asarray(own - self._centre)

    def _descriptions(self, labels: Sequence[Label]) -> np.ndarray:
        texts = [
            (self._described[label.name.casefold()],)
            if label.name.casefold() in self._described
            else label.prompts or (label.name,)
            for label in labels
        ]
        return np.asarray(self._texts(texts) - self._centre)

    def _attributes(self, labels: Sequence[Label]) -> np.ndarray:
        filled = self._filled
        predicted = self._predict(_unit(self._names(labels)))
        rows = [self._row.get(label.name.casefold()) for label in labels]
        chosen = [predicted[i] if row is None else filled[row] for i, row in enumerate(rows)]
        return np.asarray(np.array(chosen) - filled.mean(axis=0))

    def _relations(self, labels: Sequence[Label]) -> np.ndarray:
        everyday = self._related([Label(name) for name in self._everyday])
        return np.asarray(self._related(labels) - everyday.mean(axis=0))

    def _related(self, labels: Sequence[Label]) -> np.ndarray:
        assert self.taxonomy is not None  # checked at the start
        own = self._texts([label.prompts or (label.name,) for label in labels])
        near = (_unit(own - self._centre) @ _unit(self._nodes - self._centre).T).argmax(axis=1)
        for i, label in enumerate(labels):
            node = self.taxonomy.by_name.get(label.name.casefold(), int(near[i]))
            for relatives in (list(self.taxonomy.parents[node]), self.taxonomy.siblings(node)):
                if relatives:
                    own[i] += self._nodes[relatives].mean(axis=0)
        return own

    def _predict(self, text: np.ndarray) -> np.ndarray:
        """Return the attributes of centred unit text vectors: the mean of the table's rows, by nearness."""
        weights = np.exp(text @ self._row_texts.T / _NEARNESS)
        known = ~np.isnan(self.attributes.values)
        total = weights @ known
        return np.asarray(weights @ np.nan_to_num(self.attributes.values) / np.maximum(total, 1e-12))

    @cached_property
    def _filled(self) -> np.ndarray:
        """The table without gaps."""
        values = self.attributes.values
        if not np.isnan(values).any():
            return values
        return np.where(np.isnan(values), self._predict(self._row_texts), values)

    @cached_property
    def _row_texts(self) -> np.ndarray:
        return _unit(self._texts([(name,) for name in self.attributes.names]) - self._centre)

    @cached_property
    def _everyday(self) -> tuple[str, ...]:
        return AttributeTable.builtin().names

    @cached_property
    def _centre(self) -> np.ndarray:
        """Mean text vector of everyday sounds."""
        return np.asarray(self._texts([(name,) for name in self._everyday]).mean(axis=0))

    @cached_property
    def _nodes(self) -> np.ndarray:
        assert self.taxonomy is not None
        return self._texts([(name,) for name in self.taxonomy.names])

    def _texts(self, prompts: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the mean embedding of each group of texts."""
        rows = np.asarray(self._embed([text for group in prompts for text in group]), np.float64)
        ends = np.cumsum([len(group) for group in prompts])[:-1]
        return np.stack([group.mean(axis=0) for group in np.split(rows, ends)])

    def _has_description(self, label: Label) -> bool:
        return label.name.casefold() in self._described or bool(label.prompts)


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
