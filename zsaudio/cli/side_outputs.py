"""``--plot``, ``--report`` and ``--clips`` of ``zsaudio detect``: pictures, a page, and events cut out.

What cannot be drawn, shown or cut is named as a failure; the events are written all the same.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from zsaudio.cli.common import refuse_input_as_output
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import AudioError, OptionError, OutputError
from zsaudio.files import write_atomically
from zsaudio.labels import LabelSet
from zsaudio.output.cuts import cut_events
from zsaudio.output.journal import writing
from zsaudio.output.outputs import mirrored
from zsaudio.output.overview import ScoreCurves, mel_spectrogram
from zsaudio.output.plot import draw_clip, require_matplotlib
from zsaudio.output.report import report_page
from zsaudio.output.scene import described, embedded_audio, scene
from zsaudio.results import ClipEvents, FrameScores

Fail = Callable[[str, Exception], None]


class Cutter:
    """Cuts events out of their recordings.

    Parameters
    ----------
    folder
        The folder for the cuts; they mirror the recordings.
    paths, inputs
        The recordings, and the inputs that the user named.
    margin_s
        Sound before and after an event, in seconds.
    fail
        Is called with a path and an error where a cut cannot be made.

    Raises
    ------
    OptionError
        If a recording comes from standard input, which can be read only once.
    """

    def __init__(
        self, folder: Path, paths: Sequence[str], inputs: Sequence[str], margin_s: float, fail: Fail
    ) -> None:
        if "-" in paths:
            raise OptionError("--clips cannot cut standard input, which can be read only once")
        self._folder, self._margin_s, self._fail = folder, margin_s, fail
        self._targets = mirrored(paths, _folders(inputs), "")

    def cut(self, path: str, clip: ClipEvents) -> None:
        """Write the events of a recording as files."""
        try:
            cut_events(clip, path, self._folder / self._targets[path], self._margin_s)
        except (AudioError, OutputError) as error:
            self._fail(path, error)


class CurveTaker:
    """Takes the scores of recordings, one after another."""

    def __init__(self) -> None:
        self._curves = ScoreCurves()

    def take(self, frame: FrameScores) -> None:
        """Take the next frame's scores."""
        if not frame.onset and self._curves.end:  # of the next recording; the last one could not be read
            self._curves = ScoreCurves()
        self._curves.add(frame)

    def finish(self) -> ScoreCurves:
        """Return the scores of the recording that has ended."""
        curves, self._curves = self._curves, ScoreCurves()
        return curves


class Plotter:
    """Draws recordings.

    Parameters
    ----------
    folder
        The folder for the pictures; they mirror the recordings.
    paths, inputs
        The recordings, and the inputs that the user named.
    labels, options, channel
        As for ``draw_clip``.
    fail
        Is called with a path and an error where a picture cannot be written; the events still are.

    Raises
    ------
    OptionError
        If a recording comes from standard input, which can be read only once, or the folder cannot be written
        to.
    MissingExtraError
        If matplotlib is not installed.
    """

    def __init__(
        self,
        folder: Path,
        paths: Sequence[str],
        inputs: Sequence[str],
        labels: LabelSet,
        options: DetectionOptions,
        channel: int | None,
        fail: Fail,
    ) -> None:
        if "-" in paths:
            raise OptionError("--plot cannot draw standard input, which can be read only once")
        require_matplotlib()
        with writing(folder, OptionError):
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
        self._folder, self._options, self._channel, self._fail = folder, options, channel, fail
        self._targets = mirrored(paths, _folders(inputs), ".png")
        self.labels = [label for label in labels if not label.background]

    def draw(self, path: str, clip: ClipEvents, curves: ScoreCurves) -> None:
        """Draw a recording from its scores."""
        target = self._folder / self._targets[path]
        try:
            with writing(target):
                draw_clip(clip, path, curves, self.labels, self._options, target, self._channel)
        except OutputError as error:
            self._fail(path, error)


class Reporter:
    """Collects recordings for one page of HTML, which is written in the end.

    Parameters
    ----------
    path
        The page. It is replaced, as a plot is.
    paths
        The recordings.
    labels, options, channel
        As for ``scene`` and ``embedded_audio``.
    settings
        Names and values of what made the events, for the reader.
    fail
        Is called with a path and an error where a recording cannot be shown; its events are written.

    Raises
    ------
    OptionError
        If a recording comes from standard input, which can be read only once, or the page cannot be written.
    """

    def __init__(
        self,
        path: Path,
        paths: Sequence[str],
        labels: LabelSet,
        options: DetectionOptions,
        channel: int | None,
        settings: Sequence[tuple[str, str]],
        fail: Fail,
    ) -> None:
        if "-" in paths:
            raise OptionError("--report cannot show standard input, which can be read only once")
        refuse_input_as_output(path, paths, "--report")
        with writing(path, OptionError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=path.parent):
                pass
        self._path, self._options, self._channel, self._fail = path, options, channel, fail
        self.labels = [label for label in labels if not label.background]
        self._settings = [*settings, *described(options)]
        self._scenes: list[dict[str, Any]] = []

    def add(self, path: str, clip: ClipEvents, curves: ScoreCurves) -> None:
        """Add a recording."""
        try:
            spectrogram = mel_spectrogram(path, self._channel, clip.duration_s)
            audio, note = embedded_audio(path, clip, self._channel)
        except AudioError as error:
            self._fail(path, error)
            return
        shown = scene(clip, curves, spectrogram, self.labels, self._options, self._settings, audio=audio)
        shown["note"] = " ".join(filter(None, [shown["note"], note]))
        self._scenes.append(shown)

    def write(self) -> None:
        """Write the page with the recordings so far."""
        n = len(self._scenes)
        title = os.path.basename(self._scenes[0]["title"]) if n == 1 else f"{n} recordings"
        with writing(self._path):
            write_atomically(self._path, report_page(self._scenes, f"zsaudio: {title}"))


def _folders(inputs: Sequence[str]) -> list[str]:
    return [text for text in inputs if os.path.isdir(text)]
