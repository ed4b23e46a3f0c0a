"""Labels: what the user wants to hear of, in plain words.

A *label* is the name that results carry. A *prompt* is a sentence that a model embeds for it: either the
label's own prompts, taken as they are, or its name put into *templates* such as ``"the sound of {}"``.
Templates given with the labels go before the model's own.

A label that starts with ``keyword:`` is a *keyword*: words that somebody speaks, not a sound. Its prompts are
other ways to put it; a pronunciation can stand between slashes (``zsaudio.models.speech.pronunciation``).

A label set comes from a list, a text, a file (one label a line, or YAML), or is built in (``@home``).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from zsaudio.errors import LabelError

KEYWORD_PREFIX = "keyword:"
_LABEL_KEYS = ("name", "prompts", "threshold", "group")
_SET_KEYS = ("description", "labels", "keywords", "groups", "templates", "background")


@dataclass(frozen=True)
class Label:
    """One label.

    Parameters
    ----------
    name
        What results call it.
    prompts
        Sentences that describe the sound; empty: made from the name by templates.
    threshold
        Score in [0, 1] from which the label counts as heard; None: the caller's default.
    group
        Heading under which the label stands in its set.
    background
        Something to compete with the other labels, never reported.
    """

    name: str
    prompts: tuple[str, ...] = ()
    threshold: float | None = None
    group: str | None = None
    background: bool = False

    @property
    def is_keyword(self) -> bool:
        """Whether it is spoken words."""
        return self.name.casefold().startswith(KEYWORD_PREFIX)

    @property
    def spoken(self) -> tuple[str, ...]:
        """What is said, if this is a keyword: its prompts, or its name without ``keyword:``."""
        return self.prompts or (self.name[len(KEYWORD_PREFIX) * self.is_keyword :].strip(),)


class LabelSet(Sequence[Label]):
    """Labels in the user's order, without duplicates.

    Parameters
    ----------
    labels
        Names, or ``Label`` objects.
    templates
        Sentences with ``{}`` where the name goes; empty: the model's own.
    description
        One line on what the set is for.

    Raises
    ------
    LabelError
        If there is no label to report, a label is blank or given twice (case and spaces aside), a threshold
        is outside [0, 1], or a template lacks its ``{}``.

    Examples
    --------
    >>> labels = LabelSet(["dog barking", "rain"], templates=["the sound of {}"])
    >>> labels.prompts()
    [['the sound of dog barking'], ['the sound of rain']]
    """

    def __init__(
        self, labels: Iterable[str | Label], templates: Iterable[str] = (), description: str = ""
    ) -> None:
        if isinstance(labels, str):
            raise LabelError(f"labels must be a list; for a text, use LabelSet.parse({labels!r})")
        if isinstance(templates, str):
            templates = (templates,)
        self._labels = tuple(
            _as_keyword(
                replace(label, name=_tidy(label.name)) if isinstance(label, Label) else Label(_tidy(label))
            )
            for label in labels
        )
        self.templates = tuple(templates)
        self.description = description
        _check_labels(self._labels)
        _check_templates(self.templates)

    @classmethod
    def parse(cls, *texts: str) -> "LabelSet":
        """Read labels separated by commas; ``@name`` stands for all labels of a built-in set.

        Examples
        --------
        >>> LabelSet.parse("dog barking, rain", "siren").names
        ('dog barking', 'rain', 'siren')
        """
        parts = [part.strip() for text in texts for part in text.split(",")]
        if not any(parts):
            raise LabelError('no labels: name some, for example "dog barking, siren"')
        if len(parts) == 1 and parts[0].startswith("@"):
            return cls.builtin(parts[0])
        return cls(_labels(parts))

    @classmethod
    def join(cls, sets: Iterable["LabelSet"]) -> "LabelSet":
        """Return one set with the labels of several; each keeps its own set's templates."""
        return cls([label for labels in sets for label in labels._with_own_prompts()])

    @classmethod
    def builtin(cls, name: str) -> "LabelSet":
        """Return a built-in set, with or without the ``@`` before its name."""
        bare = name.removeprefix("@")
        path = _configs() / f"{bare}.yaml"
        if bare not in builtin_label_sets():
            raise LabelError(
                f"no built-in label set @{bare}; there are "
                + ", ".join(f"@{known}" for known in builtin_label_sets())
            )
        return cls._from_yaml(path.read_text(encoding="utf-8"), f"@{bare}")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "LabelSet":
        """Read a label file: YAML by its suffix (``.yaml``, ``.yml``), otherwise one label a line.

        In a text file, blank lines and lines that start with ``#`` are skipped. In YAML, ``"@name"``
        stands for all labels of a built-in set.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise LabelError(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise LabelError(f"{path}: is not a text file in UTF-8") from error
        if Path(path).suffix.lower() in (".yaml", ".yml"):
            return cls._from_yaml(text, str(path))
        lines = [line.strip() for line in text.splitlines()]
        with _naming(path):
            return cls([line for line in lines if line and not line.startswith("#")])

    @classmethod
    def of(cls, labels: "LabelSet | str | Iterable[str | Label]") -> "LabelSet":
        """Return a label set from whatever names one: a set, a text with commas, or a list."""
        if isinstance(labels, LabelSet):
            return labels
        return cls.parse(labels) if isinstance(labels, str) else cls(labels)

    @property
    def names(self) -> tuple[str, ...]:
        """The labels' names, background included, in order."""
        return tuple(label.name for label in self)

    def prompts(self, templates: Sequence[str] = ("{}",)) -> list[list[str]]:
        """Return each label's prompts; ``templates`` are used where the set has none of its own."""
        used = self.templates or templates
        return [list(label.prompts) or [t.replace("{}", label.name) for t in used] for label in self]

    def __getitem__(self, index: Any) -> Any:
        """Return the label at a position."""
        return self._labels[index]

    def __len__(self) -> int:
        """Return the number of labels, background included."""
        return len(self._labels)

    def __repr__(self) -> str:
        """Return the labels' names."""
        return f"LabelSet({list(self.names)})"

    def _with_own_prompts(self) -> "LabelSet":
        """Apply the set's templates now, so that its labels can join a set that has others."""
        if not self.templates:
            return self
        pairs = zip(self, self.prompts(), strict=True)
        return LabelSet(
            [label if label.is_keyword else replace(label, prompts=tuple(own)) for label, own in pairs]
        )

    @classmethod
    def _from_yaml(cls, text: str, name: str) -> "LabelSet":
        import yaml

        with _naming(name):
            try:
                data = yaml.safe_load(text)
            except yaml.YAMLError as error:
                mark = getattr(error, "problem_mark", None)
                where = f" in line {mark.line + 1}" if mark else ""
                hint = "; put quotes around what begins with @" if "'@'" in str(error) else ""
                raise LabelError(f"is not valid YAML{where}{hint}") from error
            if isinstance(data, list):
                data = {"labels": data}
            if not isinstance(data, dict):
                raise LabelError("must hold a list of labels, or 'labels:' with a list under it")
            _check_keys(data, _SET_KEYS, "the file")
            labels = _labels(_list(data, "labels"))
            labels += [_keyword(label) for label in _labels(_list(data, "keywords"))]
            groups = data.get("groups") or {}
            if not isinstance(groups, dict):
                raise LabelError("'groups' must map a heading to a list of labels")
            labels += [
                replace(label, group=label.group or str(group))
                for group in groups
                for label in _labels(_list(groups, group))
            ]
            labels += [replace(label, background=True) for label in _labels(_list(data, "background"))]
            templates = [_text(template, "a template") for template in _list(data, "templates")]
            return cls(labels, templates, str(data.get("description") or ""))


def builtin_label_sets() -> list[str]:
    """Return the names of the built-in label sets, without ``@``."""
    return sorted(entry.name[:-5] for entry in _configs().iterdir() if entry.name.endswith(".yaml"))


def _configs() -> Traversable:
    return files("zsaudio.configs")


@contextmanager
def _naming(name: str | os.PathLike[str]) -> Iterator[None]:
    """Put a file's name before the message of a label error."""
    try:
        yield
    except LabelError as error:
        raise LabelError(f"{os.fspath(name)}: {error}") from error


def _tidy(name: str) -> str:
    if not isinstance(name, str):
        raise LabelError(f"a label must be text, not {name!r}; put quotes around it")
    return " ".join(name.split())


def _as_keyword(label: Label) -> Label:
    """Tidy a keyword's name; a pronunciation in it becomes a prompt, so that results do not repeat it."""
    if not label.is_keyword:
        return label
    said = label.name[len(KEYWORD_PREFIX) :].strip()
    written = said.split("/")[0].strip() if not label.prompts else said
    if not written:  # nothing but a pronunciation, or nothing at all
        written = said
    prompts = label.prompts or ((said,) if written != said else ())
    return replace(label, name=f"{KEYWORD_PREFIX} {written}".strip(), prompts=prompts)


def _check_labels(labels: Sequence[Label]) -> None:
    if not any(not label.background for label in labels):
        raise LabelError("no labels")
    first: dict[str, int] = {}
    for position, label in enumerate(labels, start=1):
        if not label.name:
            raise LabelError(f"label {position} is blank")
        if label.is_keyword and not label.name[len(KEYWORD_PREFIX) :]:
            raise LabelError(
                f"label {position} is an empty keyword: name the words, as in 'keyword: hey computer'"
            )
        if label.is_keyword and label.background:
            raise LabelError(
                f"'{label.name}' cannot be background: keywords do not compete with other labels"
            )
        if (before := first.setdefault(label.name.casefold(), position)) != position:
            raise LabelError(f"label '{label.name}' is given twice (labels {before} and {position})")
        if label.threshold is not None and not 0 <= label.threshold <= 1:
            raise LabelError(f"threshold {label.threshold} of '{label.name}' is outside 0 to 1")
        if any(not prompt.strip() for prompt in label.prompts):
            raise LabelError(f"a prompt of '{label.name}' is blank")


def _check_templates(templates: Sequence[str]) -> None:
    for template in templates:
        if "{}" not in template:
            raise LabelError(f"template '{template}' has no {{}} to put the label's name in")


def _check_keys(data: dict[Any, Any], known: Sequence[str], where: str) -> None:
    for key in data:
        if key not in known:
            raise LabelError(f"unknown key '{key}' in {where}; known are {', '.join(known)}")


def _list(data: dict[Any, Any], key: Any) -> list[Any]:
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise LabelError(f"'{key}' must be a list")
    return value


def _labels(entries: Iterable[Any]) -> list[Label]:
    """Read names, or what stands in a YAML list; ``@name`` stands for all labels of a built-in set."""
    labels: list[Label] = []
    for entry in entries:
        whole_set = isinstance(entry, str) and entry.startswith("@")
        labels += LabelSet.builtin(entry)._with_own_prompts() if whole_set else [_label(entry)]
    return labels


def _label(entry: Any) -> Label:
    """One entry of a YAML list: a name, or a mapping with ``name`` and the rest."""
    if not isinstance(entry, dict):
        return Label(_tidy(entry))
    if "name" not in entry:
        raise LabelError(f"a label without 'name': {entry}")
    name = _tidy(entry["name"])
    _check_keys(entry, _LABEL_KEYS, f"label '{name}'")
    prompts = entry.get("prompts") or []
    threshold = entry.get("threshold")
    if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, (int, float))):
        raise LabelError(f"threshold of '{name}' must be a number, not {threshold!r}")
    return Label(
        name,
        tuple(
            _text(p, f"a prompt of '{name}'") for p in ([prompts] if isinstance(prompts, str) else prompts)
        ),
        None if threshold is None else float(threshold),
        entry.get("group"),
    )


def _keyword(label: Label) -> Label:
    return label if label.is_keyword else replace(label, name=f"{KEYWORD_PREFIX} {label.name}")


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise LabelError(f"{what} must be text, not {value!r}; put quotes around it")
    return value
