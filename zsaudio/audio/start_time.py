"""When a recording began, by its name."""

import os
import re
from datetime import datetime

_STAMP = re.compile(r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)[T_ -]?(\d\d)[:h-]?(\d\d)[:m-]?(\d\d)(?!\d)")


def time_in_name(path: str | os.PathLike[str]) -> datetime | None:
    """Return the first date and time that a file's name holds.

    >>> time_in_name("night/AM_20260131_053000.WAV")
    datetime.datetime(2026, 1, 31, 5, 30)
    """
    name = os.path.splitext(os.path.basename(os.fspath(path)))[0]
    for match in _STAMP.finditer(name):
        try:
            return datetime(*map(int, match.groups()))  # type: ignore[arg-type]  # six of them
        except ValueError:
            continue
    return None
