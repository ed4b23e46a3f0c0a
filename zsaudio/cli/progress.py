"""Progress bars: on a terminal only, and only for work that takes more than a moment."""

import sys
import threading
import time
from collections.abc import Generator, Iterable
from typing import TypeVar

from zsaudio.output.text import visible

_MOMENT_S = 0.5
_NAME_WIDTH = 24
T = TypeVar("T")


class Position:
    """How far the work in the present recording is; updated by whoever does the work.

    Attributes
    ----------
    name
        Name of the recording.
    seconds, length_s
        How much of it is done, and its length; 0 where that is not known.
    """

    def __init__(self) -> None:
        self.begin("", 0.0)

    def begin(self, name: str, length_s: float) -> None:
        """Go on to the next recording."""
        self.name, self.length_s, self.seconds = name, length_s, 0.0

    @property
    def fraction(self) -> float:
        """The share of the recording that is done, in [0, 1]; 0 where its length is not known."""
        return min(1.0, self.seconds / self.length_s) if self.length_s else 0.0

    def __str__(self) -> str:
        """Return time, length and name.

        >>> position = Position()
        >>> position.begin("night/AudioMoth-03.flac", 86_400.0)
        >>> position.seconds = 4_000.0
        >>> str(position)
        '1:06:40 of 24:00:00  AudioMoth-03.flac'
        """
        if not self.seconds:
            return ""
        length = f" of {_hms(self.length_s)}" if self.length_s else ""
        name = self.name.replace("\\", "/").rsplit("/", 1)[-1]
        if len(name) > _NAME_WIDTH:
            name = name[: _NAME_WIDTH - 1] + "…"
        return f"{_hms(self.seconds)}{length}  {name}"


def progress_is_shown(quiet: bool) -> bool:
    """Return whether ``show_progress`` will draw."""
    return not quiet and sys.stderr.isatty()


def show_progress(
    items: Iterable[T], total: int | None, what: str, quiet: bool, position: Position | None = None
) -> Generator[T, None, None]:
    """Yield the items; draw a progress bar where there is a terminal and more than a moment's work.

    Parameters
    ----------
    items, total
        The items, and their number; None: it is not known.
    what
        Name of the work.
    quiet
        Draw nothing.
    position
        How far the present item is, if it takes long itself.
    """
    if not progress_is_shown(quiet):
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    started, n_done = time.monotonic(), 0

    def done() -> float:
        present = n_done + (position.fraction if position else 0.0)
        return present if total is None else min(total, present)

    class Bar(BarColumn):
        def render(self, task: Task) -> "object":  # type: ignore[override]
            task.completed = done()
            bar = super().render(task)
            task.completed = n_done
            return bar

    class Remaining(ProgressColumn):
        def render(self, task: Task) -> Text:
            fraction = done() / total if total else 0.0
            if not fraction:
                return Text("-:--:--")
            return Text(_hms((time.monotonic() - started) * (1 / fraction - 1)) + " left")

    class Present(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(visible(str(position or "")), no_wrap=True, overflow="ellipsis")

    columns: list[ProgressColumn] = [
        TextColumn(what),
        Bar(None),
        MofNCompleteColumn(),
        Remaining(),
        Present(),
    ]
    progress = Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        expand=True,
        redirect_stdout=sys.stdout.isatty(),  # where both share a terminal, results go above the bar
        redirect_stderr=True,
    )
    task = progress.add_task(what, total=total)
    after_a_moment = threading.Timer(_MOMENT_S, progress.start)
    after_a_moment.daemon = True
    after_a_moment.start()
    try:
        for item in items:
            n_done += 1
            progress.advance(task)
            yield item
    finally:
        after_a_moment.cancel()
        progress.stop()


def _hms(seconds: float) -> str:
    """Return hours, minutes and seconds.

    >>> _hms(90_061.0)
    '25:01:01'
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
