"""What ``zsaudio listen`` shows on a terminal."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console, Group, OverflowMethod
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from zsaudio.audio.live import LiveBlocks
from zsaudio.cli.listening.views import TextLines, counted, overruns
from zsaudio.listening.session import Ongoing
from zsaudio.results import Event, FrameScores

_REFRESH_S = 0.1
_FADE_S = 0.5  # in which a bar falls to half, so that a short sound can be seen
_QUIETEST_DB = -60.0
_FALL_DB = 20.0  # of the mark of the peak level, a second
_LINES = 5  # of the screen besides labels and ongoing events


class Screen(TextLines):
    """Level meter, a bar per label with its threshold, and the events, on a terminal.

    Events that have ended are printed above, and stay in the terminal's history.

    Parameters
    ----------
    source
        The source of the audio.
    labels, thresholds
        Names of the labels that are not background, and their thresholds.
    model
        Name of the model.
    console
        Where to draw.
    """

    def __init__(
        self,
        source: LiveBlocks,
        labels: Sequence[str],
        thresholds: np.ndarray,
        model: str,
        console: Console | None = None,
    ) -> None:
        super().__init__(source)
        self._labels, self._thresholds = labels, thresholds
        self._ongoing: Mapping[str, Ongoing] = {}
        self._model = model
        self._console = console or Console()
        self._plain = self._console.options.ascii_only
        self._cut: OverflowMethod = "crop" if self._plain else "ellipsis"
        self._shown = np.zeros(len(labels))  # scores, fading
        self._latest = 0.0  # end of the latest frame
        self._heard_s = 0.0
        self._level_db, self._peak_db = _QUIETEST_DB, _QUIETEST_DB
        self._n_events = 0
        self._drawn_at = -1.0
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),  # messages go above the screen, not through it
            get_renderable=self.render,
        )

    def __enter__(self) -> "Screen":
        """Begin to draw."""
        self._live.start(refresh=True)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop drawing; the events stay on the terminal."""
        self._live.stop()

    def block(self, block: np.ndarray) -> None:
        """Move the level meter."""
        self._heard_s += len(block) / self._source.sample_rate
        if len(block):
            self._level_db = _decibels(float(np.sqrt(np.mean(np.square(block, dtype=np.float64)))))
            self._peak_db = max(
                _decibels(float(np.abs(block).max())),
                self._peak_db - _FALL_DB * len(block) / self._source.sample_rate,
            )
        if time.monotonic() - self._drawn_at >= _REFRESH_S:
            self._draw()

    def scores(self, frame: FrameScores, ongoing: Mapping[str, Ongoing]) -> None:
        """Move the bars; draw at once if an event starts."""
        self._ongoing = ongoing
        fading = 0.5 ** ((frame.offset - frame.onset) / _FADE_S)
        self._shown = np.maximum(frame.scores, self._shown * fading)
        self._latest = frame.offset
        if any(one.onset == frame.onset for one in self._ongoing.values()):
            self._draw()

    def event(self, event: Event, recording: Path | None) -> None:
        """Print an event above the screen."""
        self._n_events += 1
        text = self.line(event.onset, f"{event.offset - event.onset:.1f} s", event.score, event.label)
        self._console.print(Text(text, no_wrap=True, overflow=self._cut))
        self._draw()

    def render(self) -> Group:
        """Return the screen as it is now."""
        width, height = self._console.size
        name_width = min(max(map(len, self._labels)), max(8, width // 3))
        bar_width = max(10, min(60, width - name_width - 11))
        room = max(1, height - _LINES - len(self._ongoing))
        rows: list[Text | Rule] = [Rule(style="dim", characters="-" if self._plain else "─")]
        level = _share(self._level_db)
        meter = _bar(
            level, _share(self._peak_db), bar_width, "red" if self._peak_db > -1 else "cyan", self._plain
        )
        rows.append(Text.assemble(f"{'level':<{name_width}}  ", meter, f" {self._level_db:4.0f} dB"))
        order = range(len(self._labels))
        if len(order) > room:  # the loudest of them, in their usual order
            order = sorted(np.argsort(-self._shown, kind="stable")[: room - 1])  # type: ignore[assignment]
        rows += [self._row(index, name_width, bar_width) for index in order]
        if len(order) < len(self._labels):
            rows.append(Text(f"{len(self._labels) - len(order)} more labels, all lower", style="dim"))
        dot = "*" if self._plain else "●"
        for label, one in self._ongoing.items():
            text = self.line(one.onset, f"{max(0.0, self._latest - one.onset):.1f} s {dot}", one.score, label)
            rows.append(Text(text, style="bold", no_wrap=True, overflow=self._cut))
        rows.append(self._status(width))
        return Group(*rows)

    def _row(self, index: int, name_width: int, bar_width: int) -> Text:
        name = Text(self._labels[index])
        name.truncate(name_width, overflow=self._cut, pad=True)
        score, heard = float(self._shown[index]), self._labels[index] in self._ongoing
        bar = _bar(
            score, float(self._thresholds[index]), bar_width, "bold yellow" if heard else "green", self._plain
        )
        return Text.assemble((name.plain, "bold" if heard else ""), "  ", bar, f" {score:.2f}")

    def _status(self, width: int) -> Text:
        source = self._source
        minutes, seconds = divmod(int(self._heard_s), 60)
        text = Text(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}", style="dim")
        dot = " - " if self._plain else " · "
        text.append(f"{dot}{counted(self._n_events, 'event')}{dot}")
        text.append(overruns(source), style="not dim bold red" if source.overruns else "")
        for part in ("Ctrl-C ends", self._model, f"{source.sample_rate} Hz", Path(source.name).name):
            text.append(dot + part)
        text.truncate(width - 4, overflow=self._cut)  # room for the ^C that a terminal adds
        return text

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        self._live.refresh()


def _decibels(amplitude: float) -> float:
    return float(max(_QUIETEST_DB, 20 * np.log10(amplitude + 1e-9)))


def _share(decibels: float) -> float:
    return 1.0 - decibels / _QUIETEST_DB


def _bar(value: float, mark: float, width: int, style: str, plain: bool) -> Text:
    """Draw a bar of a value in [0, 1], and a mark on it."""
    full, empty, stroke = ("#", "-", "|") if plain else ("█", "─", "┃")
    filled, at = round(min(value, 1.0) * width), min(width - 1, round(mark * width))
    cells = Text()
    for index in range(width):
        if index == at:
            cells.append(stroke, style="bold white")
        else:
            cells.append(full if index < filled else empty, style=style if index < filled else "bright_black")
    return cells
