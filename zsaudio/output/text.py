"""Text for table cells and terminals that is safe whatever names recordings and labels have."""

import re
from collections.abc import Iterable

_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)  # the last: text direction
_FORMULA = re.compile(r"\s*[=+\-@]")


def table_rows(rows: Iterable[Iterable[str]], separator: str, escape: bool = True) -> str:
    r"""Return rows of cells as text; cells with a separator, quotes or a line break are quoted.

    With ``escape``, a cell that a spreadsheet would take for a formula gets a ``'`` in front.

    >>> table_rows([["=1+1", "a,b"]], ",")
    '\'=1+1,"a,b"\n'
    """
    return "".join(separator.join(_cell(cell, separator, escape) for cell in row) + "\n" for row in rows)


def visible(text: str) -> str:
    r"""Return a text whose control characters are shown, so that they do nothing to a terminal.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def encoded(text: str) -> bytes:
    """Return text in UTF-8; the bytes of a file's name that is not Unicode become escape sequences."""
    return text.encode(errors="backslashreplace")


def _cell(text: str, separator: str, escape: bool) -> str:
    if escape and _FORMULA.match(text):
        text = "'" + text
    if any(each in text for each in (separator, '"', "\n", "\r")):
        return '"' + text.replace('"', '""') + '"'
    return text
