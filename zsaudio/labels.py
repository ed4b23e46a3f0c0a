"""Labels: the sounds and spoken words to recognise, in plain English.

A *label* is the name that stands in results. A *prompt* is a sentence that a model embeds for it: the label's
own prompts, or its name put into *templates* such as ``"the sound of {}"``. Templates given with the labels
take precedence over the model's own.

A label that starts with ``keyword:`` is a *keyword*: spoken words, not a sound. Its prompts are other ways to
put it; a pronunciation can stand between slashes (``zsaudio.models.speech.pronunciation``).

A label set comes from a list, a text, a file (``zsaudio.label_files``), or is built in (``@home``).
"""

import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from zsaudio.errors import LabelError
from zsaudio.label_files import Unquoted, parse_yaml, read_label_file

KEYWORD_PREFIX = "keyword:"
_MOST_SHOWN = 10  # names in a repr
MAX_LABELS = 200_000
MAX_TEMPLATES = 100
MAX_CHARACTERS = 1000  # of a name, a prompt or a template

_LABEL_KEYS = ("name", "prompts", "threshold", "group", "false_alarms")
_SET_KEYS = ("description", "labels", "keywords", "groups", "templates", "background")
_UNUSABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]"
)  # control characters, surrogates
_PART = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*(?=,|$)|([^,]*))(,|$)')  # of labels separated by commas
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 60


@dataclass(frozen=True)
class Label:
    """One label.

    Parameters
    ----------
    name
        Its name in results.
    prompts
        Sentences that describe the sound; empty: made from the name by templates.
    threshold
        Score in [0, 1] from which the label is reported; None: the caller's default.
    group
        Heading under which the label stands in its set.
    background
        Whether it only competes with the other labels and is never reported.
    false_alarms
        Per hour of everyday sounds, for a keyword per hour of speech: the threshold is set to keep this
        promise, with a model that has statistics, such as the bundled ones. Not together with a threshold.
    """

    name: str
    prompts: tuple[str, ...] = ()
    threshold: float | None = None
    group: str | None = None
    background: bool = False
    false_alarms: float | None = None

    @property
    def is_keyword(self) -> bool:
        """Whether the label is spoken words."""
        return self.name.casefold().startswith(KEYWORD_PREFIX)

    @property
    def spoken(self) -> tuple[str, ...]:
        """The spoken words of a keyword: its prompts, or its name without ``keyword:``."""
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
        One line on the purpose of the set.

    Raises
    ------
    LabelError
        If no label is to be reported, a label is blank or given twice (ignoring case and spaces), a name or
        prompt holds control characters or more than 1,000 characters, a threshold is outside [0, 1], or a
        template lacks its ``{}``.

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
            raise LabelError(f"labels must be a list; for a text, use LabelSet.parse({_shown.repr(labels)})")
        if isinstance(templates, str):
            templates = (templates,)
        self._labels = _checked(labels)
        self.names = tuple(label.name for label in self._labels)
        """The labels' names, background included, in order."""
        self.templates = tuple(templates)
        self.description = description
        _check_templates(self.templates)

    @classmethod
    def parse(cls, *texts: str) -> "LabelSet":
        """Read labels separated by commas; ``@name`` stands for all labels of a built-in set.

        A label that holds a comma stands between double quotes.

        Examples
        --------
        >>> LabelSet.parse("dog barking, rain", "siren").names
        ('dog barking', 'rain', 'siren')
        >>> LabelSet.parse('"rain, heavy", siren').names
        ('rain, heavy', 'siren')
        """
        parts = [part for text in texts for part in _split(text)]
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
        return _builtin(name.removeprefix("@"))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "LabelSet":
        """Read a label file; its suffix tells what kind it is.

        - ``.yaml``, ``.yml``: labels with prompts, thresholds, groups, templates and background.
        - ``.csv``, ``.tsv``: a table with a column ``label`` and perhaps ``prompts`` (separated by ``|``),
          ``threshold``, ``false_alarms``, ``group`` and ``background`` (yes or no).
        - Any other: one label a line; blank lines and lines that start with ``#`` are skipped.

        In all of them ``@name`` stands for all labels of a built-in set (in quotes in YAML).

        Raises
        ------
        LabelError
            If the file cannot be read or its labels cannot be used; the message names the file.
        """
        with _naming(path):
            return cls._from_sections(read_label_file(path))

    @classmethod
    def of(cls, labels: "LabelSet | str | Iterable[str | Label]") -> "LabelSet":
        """Return a label set for any way to give one: a set, a text with commas, or a list."""
        if isinstance(labels, LabelSet):
            return labels
        return cls.parse(labels) if isinstance(labels, str) else cls(labels)

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
        """Return the labels' names; the first of them if there are many."""
        if len(self) <= _MOST_SHOWN:
            return f"LabelSet({list(self.names)})"
        shown = ", ".join(map(repr, self.names[:_MOST_SHOWN]))
        return f"LabelSet([{shown}, ... {len(self) - _MOST_SHOWN:,} more])"

    def _with_own_prompts(self) -> "LabelSet":
        """Apply the set's templates now, so that its labels can join a set that has others."""
        if not self.templates:
            return self
        pairs = zip(self, self.prompts(), strict=True)
        return LabelSet(
            label if label.is_keyword else replace(label, prompts=tuple(own)) for label, own in pairs
        )

    @classmethod
    def _from_sections(cls, data: dict[str, Any]) -> "LabelSet":
        """Make a set of what a label file holds.

        Labels are made one by one as the set takes them, so that a file which repeats a built-in set
        thousands of times is refused at the first duplicate.
        """
        _check_keys(data, _SET_KEYS, "the file")
        groups = data.get("groups") or {}
        if not isinstance(groups, dict):
            raise LabelError("'groups' must map a heading to a list of labels")
        templates = [_text(template, "a template") for template in _list(data, "templates")]
        description = data.get("description")
        description = "" if description is None else _text(description, "the description")

        def labels() -> Iterator[Label]:
            yield from _labels(_list(data, "labels"))
            yield from map(as_keyword, _labels(_list(data, "keywords")))
            for group in groups:
                for label in _labels(_list(groups, group)):
                    yield replace(label, group=label.group or group)
            for label in _labels(_list(data, "background")):
                yield replace(label, background=True)

        return cls(labels(), templates, description)


def builtin_label_sets() -> list[str]:
    """Return the names of the built-in label sets, without ``@``."""
    return sorted(entry.name[:-5] for entry in _configs().iterdir() if entry.name.endswith(".yaml"))


@cache
def _builtin(name: str) -> LabelSet:
    known = builtin_label_sets()
    if name not in known:
        raise LabelError(
            f"no built-in label set @{name[:60]}; there are " + ", ".join(f"@{each}" for each in known)
        )
    with _naming(f"@{name}"):
        return LabelSet._from_sections(parse_yaml((_configs() / f"{name}.yaml").read_text(encoding="utf-8")))


def _configs() -> Traversable:
    return files("zsaudio.configs")


@contextmanager
def _naming(name: str | os.PathLike[str]) -> Iterator[None]:
    """Put a file's name before the message of a label error."""
    try:
        yield
    except LabelError as error:
        raise LabelError(f"{os.fspath(name)}: {error}") from error


def _split(text: str) -> Iterator[str]:
    """Yield the parts between commas; a part in double quotes may hold commas, and ``""`` for a quote."""
    position = 0
    while True:
        found = _PART.match(text, position)
        assert found is not None  # the second alternative matches anything up to a comma
        quoted, plain, comma = found.groups()
        if quoted is None and plain.lstrip().startswith('"'):
            raise LabelError(f"a double quote in {_shown.repr(text)} has no other at the end of its label")
        yield (plain if quoted is None else quoted.replace('""', '"')).strip()
        if not comma:
            return
        position = found.end()


def plain_name(name: str) -> str:
    """Return the name of a class in plain words, as folders and tables often have it: ``dog_bark``."""
    return " ".join(name.replace("_", " ").split())


def _checked(labels: Iterable[str | Label]) -> tuple[Label, ...]:
    """Return labels with tidy names, after all checks; stop at the first that fails."""
    checked: list[Label] = []
    first: dict[str, int] = {}
    for position, given in enumerate(labels, start=1):
        if position > MAX_LABELS:
            raise LabelError(f"more than {MAX_LABELS:,} labels")
        label = _as_keyword(_tidy(given if isinstance(given, Label) else Label(given)))
        _check(label, position)
        if (before := first.setdefault(label.name.casefold(), position)) != position:
            raise LabelError(f"label {label.name!r} is given twice (labels {before} and {position})")
        checked.append(label)
    if not any(not label.background for label in checked):
        raise LabelError("no labels")
    return tuple(checked)


def _tidy(label: Label) -> Label:
    """Return a label whose name has single spaces."""
    name = " ".join(_text(label.name, "a label").split())
    return label if name == label.name else replace(label, name=name)


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


def _check(label: Label, position: int) -> None:
    if not label.name:
        raise LabelError(f"label {position} is blank")
    if label.is_keyword and not label.name[len(KEYWORD_PREFIX) :]:
        raise LabelError(
            f"label {position} is an empty keyword: name the words, as in 'keyword: hey computer'"
        )
    if label.is_keyword and label.background:
        raise LabelError(f"'{label.name}' cannot be background: keywords do not compete with sounds")
    if (threshold := label.threshold) is not None:
        if isinstance(threshold, (bool, str)) or not hasattr(threshold, "__float__"):
            raise LabelError(f"threshold of '{label.name}' must be a number, not {_shown.repr(threshold)}")
        if not 0 <= threshold <= 1:
            raise LabelError(f"threshold {threshold} of '{label.name}' is outside 0 to 1")
    if label.false_alarms is not None:
        if not 0 < label.false_alarms < float("inf"):
            raise LabelError(f"false_alarms of '{label.name}' must be above 0, not {label.false_alarms}")
        if label.threshold is not None:
            raise LabelError(f"'{label.name}' has a threshold and false_alarms: give one of them")
    if not isinstance(label.prompts, (tuple, list)):
        raise LabelError(f"prompts of '{label.name}' must be a tuple of texts")
    if any(not _text(prompt, f"a prompt of '{label.name}'").strip() for prompt in label.prompts):
        raise LabelError(f"a prompt of '{label.name}' is blank")
    if label.group is not None:
        _text(label.group, f"the group of '{label.name}'")


def _check_templates(templates: Sequence[str]) -> None:
    if len(templates) > MAX_TEMPLATES:
        raise LabelError(f"{len(templates):,} templates; at most {MAX_TEMPLATES} are allowed")
    for template in templates:
        if "{}" not in _text(template, "a template"):
            raise LabelError(f"template '{template}' has no {{}} to put the label's name in")


def _check_keys(data: dict[str, Any], known: Sequence[str], where: str) -> None:
    for key in data:
        if key not in known:
            raise LabelError(f"unknown key '{key[:60]}' in {where}; known are {', '.join(known)}")


def _list(data: dict[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise LabelError(f"'{key[:60]}' must be a list")
    return value


def _labels(entries: Iterable[Any]) -> Iterator[Label]:
    """Yield the labels of a list in a file; ``@name`` stands for all labels of a built-in set."""
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) and len(entry) == 1 else entry
        if isinstance(name, str) and name.startswith("@"):
            yield from LabelSet.builtin(name)._with_own_prompts()
        else:
            yield _label(entry)


def _label(entry: Any) -> Label:
    """One entry of a list: a name, or a mapping with ``name`` and the rest."""
    if not isinstance(entry, dict):
        return Label(_text(entry, "a label"))
    if "name" not in entry:
        raise LabelError(f"a label without 'name': {_shown.repr(entry)}")
    name = _text(entry["name"], "a label")
    _check_keys(entry, _LABEL_KEYS, f"label '{name}'")
    prompts = entry.get("prompts") or []
    if not isinstance(prompts, (list, str)):
        raise LabelError(f"prompts of '{name}' must be a text or a list of texts")
    return Label(
        name,
        (prompts,) if isinstance(prompts, str) else tuple(prompts),
        _number(entry, "threshold", name),
        entry.get("group"),
        false_alarms=_number(entry, "false_alarms", name),
    )


def _number(entry: dict[str, Any], key: str, name: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    try:
        return float(value.written if isinstance(value, Unquoted) else value)
    except (TypeError, ValueError) as error:
        raise LabelError(f"{key} of '{name}' must be a number, not {_shown.repr(value)}") from error


def as_keyword(label: Label) -> Label:
    """Return a label as spoken words: with ``keyword:`` before its name."""
    return label if label.is_keyword else replace(label, name=f"{KEYWORD_PREFIX} {label.name}")


def _text(value: Any, what: str) -> str:
    """Return a text that can be stored, shown and embedded; raise LabelError for anything else."""
    if not isinstance(value, str):
        hint = "; put quotes around it" if isinstance(value, (Unquoted, int, float)) else ""
        raise LabelError(f"{what} must be text, not {_shown.repr(value)}{hint}")
    if len(value) > MAX_CHARACTERS:
        raise LabelError(f"{what} has more than {MAX_CHARACTERS} characters: {_shown.repr(value)}")
    if _UNUSABLE.search(value):
        raise LabelError(f"{what} holds a control character or broken Unicode: {_shown.repr(value)}")
    return value
