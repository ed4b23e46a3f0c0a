"""One run of ``zsaudio listen``: source -> recogniser -> view, files and commands; and how it ends."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from zsaudio.errors import AudioError

if TYPE_CHECKING:
    import numpy as np

    from zsaudio.audio.live import LiveBlocks
    from zsaudio.cli.listening.actions import ClipKeeper, CommandRunner
    from zsaudio.cli.listening.views import Ongoing, View
    from zsaudio.detection.hysteresis import DetectionOptions
    from zsaudio.models.base import Model
    from zsaudio.recognizer import Recognizer
    from zsaudio.results import Event, FrameScores


class Session:
    """What happens between the first block and the last."""

    def __init__(
        self,
        source: "LiveBlocks",
        recognizer: "Recognizer",
        view: "View",
        ongoing: "dict[str, Ongoing]",
        keeper: "ClipKeeper | None",
        runner: "CommandRunner | None",
        early: bool,
    ) -> None:
        self._source, self._recognizer, self._view, self._ongoing = source, recognizer, view, ongoing
        self._keeper, self._runner, self._early = keeper, runner, early
        self._labels = [label.name for label in recognizer.labels if not label.background]
        self.n_events = 0
        self.error: AudioError | None = None  # what ended the source, where it did not end by itself

    def run(self, options: "DetectionOptions") -> None:
        """Listen until the source ends."""
        with self._view:
            events = self._recognizer.stream(
                self._blocks(), self._source.sample_rate, options=options, on_scores=self._scores
            )
            for event in events:
                self._event(event)
        if self._keeper:
            self._keeper.finish()
        if self._runner:
            self._runner.finish()

    def _blocks(self) -> "Iterator[np.ndarray]":
        """Pass the blocks on; where the source fails, end, so that open events are not lost."""
        try:
            for block in self._source:
                if self._keeper:
                    self._keeper.push(block)
                if self._runner:
                    self._runner.reap()
                self._view.block(block)
                yield block
        except AudioError as error:
            self.error = error

    def _scores(self, frame: "FrameScores") -> None:
        from zsaudio.cli.listening.views import Ongoing

        for label, score, heard in zip(self._labels, frame.scores, frame.heard, strict=True):
            if label in self._ongoing:
                self._ongoing[label].score = max(self._ongoing[label].score, float(score))
            elif heard:
                self._ongoing[label] = Ongoing(frame.onset, float(score))
                if self._runner and self._early:
                    self._runner.run(label, float(score), frame.onset)
        self._view.scores(frame)

    def _event(self, event: "Event") -> None:
        self.n_events += 1
        begun = self._ongoing.pop(event.label, None)
        self._view.event(event, self._keeper.keep(event) if self._keeper else None)
        if self._runner and (not self._early or begun is None):  # a keyword is known when it is over
            self._runner.run(event.label, event.score, event.onset)


@contextmanager
def one_thread(model: "Model | None") -> Iterator[None]:
    """Keep the short windows of live sound in one thread.

    Several would save little, and wait for each other at every step wherever other programs are running too.
    """
    torch = sys.modules.get("torch")
    if torch is None or (model is not None and not model.context_s):
        yield
        return
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def warm_up(recognizer: "Recognizer", sample_rate: int, options: "DetectionOptions") -> None:
    """Listen to silence first: a model's first windows take longer than later ones."""
    import numpy as np

    recognizer.session(sample_rate, options=options).push(np.zeros(3 * sample_rate, np.float32))


@contextmanager
def ending_on_signals(source: "LiveBlocks") -> Iterator[None]:
    """Let Ctrl-C, or a request to terminate, end the source and so the work in good order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        source.stop()
        for one, handler in before.items():
            signal.signal(one, handler)

    before = {one: signal.signal(one, end) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def libraries_hushed() -> Iterator[None]:
    """Keep off the terminal what PortAudio and ALSA write to stderr; our own messages stay."""
    try:
        ours = sys.stderr.fileno() == 2
    except (OSError, ValueError):  # stderr is not a real file, as under a test
        ours = False
    kept, python_stderr = os.dup(2), sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    if ours:
        sys.stderr = os.fdopen(
            os.dup(kept), "w", encoding=python_stderr.encoding, errors="backslashreplace", buffering=1
        )
    try:
        yield
    finally:
        if ours:
            sys.stderr.close()
            sys.stderr = python_stderr
        os.dup2(kept, 2)
        os.close(kept)
