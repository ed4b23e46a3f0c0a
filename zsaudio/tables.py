"""Results as tables: in a notebook (HTML), and as a DataFrame (pandas, the extra ``pandas``)."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from zsaudio.errors import MissingExtraError, install_command

if TYPE_CHECKING:
    import pandas

_MOST_ROWS = 100  # of a table in a notebook
_BAR = (
    '<td style="white-space:nowrap"><span style="display:inline-block;width:{width}em;height:0.7em;'
    'background:#4c8cbf;margin-right:0.5em"></span>{score:.2f}</td>'
)


class Table:
    """Base of results that are shown as a table.

    A subclass has ``_columns()``, the names of its columns, and ``_rows()``, which yields a tuple per row.
    """

    def _columns(self) -> Sequence[str]:
        raise NotImplementedError

    def _rows(self) -> Iterable[tuple[Any, ...]]:
        raise NotImplementedError

    def _title(self) -> str:
        return ""

    def to_frame(self) -> "pandas.DataFrame":
        """Return a DataFrame with the columns of the CSV output, a row per tag or event.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError(f"a DataFrame needs pandas: {install_command('pandas')}") from error
        return pandas.DataFrame(list(self._rows()), columns=list(self._columns()))

    def _repr_html_(self) -> str:
        """Return the table for a notebook; scores have a bar."""
        columns, rows = self._columns(), list(self._rows())
        head = "".join(f"<th>{escape(name)}</th>" for name in columns if name != "file")
        body = "".join(f"<tr>{''.join(map(_cell, columns, row))}</tr>" for row in rows[:_MOST_ROWS])
        title = f"<caption>{escape(self._title())}</caption>" if self._title() else ""
        rest = f"<p>{len(rows) - _MOST_ROWS:,} more rows</p>" if len(rows) > _MOST_ROWS else ""
        return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _cell(name: str, value: Any) -> str:
    if name == "file":
        return ""  # it is the title
    if name == "score":
        return _BAR.format(width=round(6 * float(value), 2), score=value)
    if name in ("onset", "offset"):
        return f"<td>{value:.2f}</td>"
    return f'<td style="text-align:left">{escape(str(value))}</td>'
