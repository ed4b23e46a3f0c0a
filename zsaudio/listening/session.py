"""A live session: audio source -> recogniser -> view, kept clips and commands."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsaudio.audio.live import LiveBlocks
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import AudioError, OptionError
from zsaudio.listening.actions import ClipKeeper, CommandRunner
from zsaudio.models.base import Model
from zsaudio.recognizer import Recognizer
from zsaudio.results import Event, FrameScores


@dataclass
class Ongoing:
    """An event that has not ended: its onset in seconds, and its best score so far."""

    onset: float
    score: float


class View:
    """Takes what happens in a session. Its methods do nothing; override those that are needed."""

    def __enter__(self) -> "View":
        """Begin; called before the first block."""
        return self

    def __exit__(self, *error: object) -> None:
        """End; called after the last event."""

    def block(self, block: np.ndarray) -> None:
        """Take the next samples, float32 mono ``(n_samples,)``, before they are scored."""

    def scores(self, frame: FrameScores, ongoing: Mapping[str, Ongoing]) -> None:
        """Take the scores of the next frame, and the events that have not ended, by label."""

    def event(self, event: Event, recording: Path | None) -> None:
        """Take an event that has ended, and the file that gets its audio, if it is kept."""


class ListenSession:
    """Detects events in a live source, and acts on each.

    Parameters
    ----------
    recognizer
        The models and labels.
    source
        A microphone, or another source of live blocks.
    options
        How events are found; None: ``DetectionOptions.live(recognizer.model)``.
    view
        Takes blocks, scores and events as they come.
    keeper
        Writes the audio of each event to a file.
    runner
        Runs a command for each event.
    early
        Run the command when an event starts instead of when it has ended. A keyword has ended when it is
        recognised.

    Attributes
    ----------
    n_events
        Number of events that have ended.
    error
        What ended the source, if it did not end by itself; None: it did.

    Raises
    ------
    OptionError
        If ``early`` is set without a runner, or the runner's command would take a label for an option.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        source: LiveBlocks,
        *,
        options: DetectionOptions | None = None,
        view: View | None = None,
        keeper: ClipKeeper | None = None,
        runner: CommandRunner | None = None,
        early: bool = False,
    ) -> None:
        if early and runner is None:
            raise OptionError("early says when to run a command, and there is none")
        self._recognizer, self._source = recognizer, source
        self._options = options or DetectionOptions.live(recognizer.model)
        self._view = view or View()
        self._keeper, self._runner, self._early = keeper, runner, early
        self._labels = [label.name for label in recognizer.labels if not label.background]
        if runner is not None:
            runner.check(self._labels)
        self._ongoing: dict[str, Ongoing] = {}
        self.n_events = 0
        self.error: AudioError | None = None

    def warm_up(self) -> None:
        """Run the models on silence: the first windows take longer than later ones."""
        with one_thread(self._recognizer.model):
            session = self._recognizer.session(self._source.sample_rate, options=self._options)
            session.push(np.zeros(3 * self._source.sample_rate, np.float32))

    def run(self) -> None:
        """Listen until the source ends; where it fails, keep its error, so that open events are not lost."""
        session = self._recognizer.session(
            self._source.sample_rate, options=self._options, on_scores=self._scores
        )
        try:
            with one_thread(self._recognizer.model), self._view:
                for block in self._blocks():
                    self._events(session.push(block))
                self._events(session.flush())
        finally:
            if self._keeper:
                self._keeper.finish()
            if self._runner:
                self._runner.finish()

    def _blocks(self) -> Iterator[np.ndarray]:
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

    def _scores(self, frame: FrameScores) -> None:
        for label, score, heard in zip(self._labels, frame.scores, frame.heard, strict=True):
            if label in self._ongoing:
                self._ongoing[label].score = max(self._ongoing[label].score, float(score))
            elif heard:
                self._ongoing[label] = Ongoing(frame.onset, float(score))
                if self._runner and self._early:
                    self._runner.run(label, float(score), frame.onset)
        self._view.scores(frame, self._ongoing)

    def _events(self, events: list[Event]) -> None:
        for event in events:
            self.n_events += 1
            begun = self._ongoing.pop(event.label, None)
            self._view.event(event, self._keeper.keep(event) if self._keeper else None)
            if self._runner and (not self._early or begun is None):
                self._runner.run(event.label, event.score, event.onset)


@contextmanager
def one_thread(model: Model | None) -> Iterator[None]:
    """Run the short windows of live audio in one CPU thread.

    More threads would save little, and on a busy machine they wait for each other at every step. The number
    of threads is PyTorch's setting for the whole process; it is restored afterwards.
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
