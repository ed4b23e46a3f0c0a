"""``--plot`` and ``--clips`` of ``zsaudio detect``: a picture of each recording, and its events cut out.

What cannot be drawn or cut is named as a failure; the events are written all the same.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import AudioError, OptionError, OutputError
from zsaudio.labels import LabelSet
from zsaudio.output.cuts import cut_events
from zsaudio.output.journal import writing
from zsaudio.output.outputs import mirrored
from zsaudio.output.plot import ScoreCurves, draw_clip, require_matplotlib
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


class Plotter:
    """Draws recordings, one after another, from the scores that it takes.

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
        self._labels = [label for label in labels if not label.background]
        self._curves = ScoreCurves()

    def take(self, frame: FrameScores) -> None:
        """Take the next frame's scores."""
        if not frame.onset and self._curves.end:  # of the next recording; the last one could not be read
            self._curves = ScoreCurves()
        self._curves.add(frame)

    def draw(self, path: str, clip: ClipEvents) -> None:
        """Draw a recording from the scores since the last one."""
        target = self._folder / self._targets[path]
        curves, self._curves = self._curves, ScoreCurves()
        try:
            with writing(target):
                draw_clip(clip, path, curves, self._labels, self._options, target, self._channel)
        except OutputError as error:
            self._fail(path, error)


def _folders(inputs: Sequence[str]) -> list[str]:
    return [text for text in inputs if os.path.isdir(text)]
