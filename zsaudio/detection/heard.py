"""What models heard in a recording, kept: events for other thresholds or labels then cost no more listening.

Of an encoder the embeddings are kept, which are compared with labels later; of any other model of sounds the
logits of its labels; of a model of speech what it wrote down. The events are those of ``find_events``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from zsaudio.audio.sources import Source
from zsaudio.audio.windows import Excerpt, Window
from zsaudio.detection.engine import Clip, batched_pass
from zsaudio.detection.events import EventTracker, OnScores
from zsaudio.detection.listeners import Listener
from zsaudio.labels import Label
from zsaudio.results import ClipEvents

OnSeconds = Callable[[float], None]


@dataclass
class Heard:
    """A recording, as models heard it; made by ``Recognizer.hear``.

    Parameters
    ----------
    clip
        The recording.
    kept
        For each listener what it goes by (``Listener.kept_as``), its windows without their samples, and its
        outputs.
    """

    clip: Clip
    kept: list[tuple[object, list[Window], list[np.ndarray]]] = field(default_factory=list)

    def of(self, listener: Listener) -> tuple[list[Window], list[np.ndarray]] | None:
        """Return the windows and outputs that a listener can use; None: it has to listen itself."""
        return next(
            ((windows, outputs) for key, windows, outputs in self.kept if key == listener.kept_as), None
        )


@dataclass
class _Keeper:
    """Keeps the outputs of one recording; a ``Reducer`` of the batched pass."""

    listeners: Sequence[Listener]
    on_seconds: OnSeconds | None

    def __post_init__(self) -> None:
        self._kept: list[tuple[object, list[Window], list[np.ndarray]]] = [
            (listener.kept_as, [], []) for listener in self.listeners
        ]

    def push(self, stage: int, window: Window, output: np.ndarray) -> None:
        """Take the output of a listener for its next window."""
        length = window.end - window.start
        bare = Window(window.start, Excerpt(np.zeros(0), 0, 0, length), window.keep_from, window.keep_to)
        _, windows, outputs = self._kept[stage]
        windows.append(bare)
        outputs.append(output)
        if self.on_seconds is not None:
            self.on_seconds(window.keep_to / self.listeners[stage].sample_rate)

    def finish(self, clip: Clip) -> Heard:
        """Return what was heard."""
        return Heard(clip, self._kept)


def hear(
    source: Source,
    listeners: Sequence[Listener],
    batch_size: int,
    *,
    sample_rate: int | None = None,
    channel: int | None = None,
    on_seconds: OnSeconds | None = None,
) -> Heard:
    """Return what listeners hear in a recording.

    Parameters
    ----------
    source, sample_rate, channel
        As for ``AudioReader``.
    listeners, batch_size
        As for ``find_events``.
    on_seconds
        Called with how far the models have come, in seconds.
    """
    stages = [listener.kept_stage for listener in listeners]
    (heard,) = batched_pass(
        [source],
        stages,
        lambda: _Keeper(listeners, on_seconds),
        batch_size,
        sample_rate=sample_rate,
        channel=channel,
    )
    return heard


def find_in(
    heard: Heard, listeners: Sequence[Listener], labels: Sequence[Label], on_scores: OnScores | None = None
) -> ClipEvents:
    """Return the events of a recording that was heard; the listeners must know it (``Heard.of``)."""
    tracker = EventTracker(listeners, labels, on_scores)
    for number, listener in enumerate(listeners):
        found = heard.of(listener)
        assert found is not None
        windows, outputs = found
        for window, output in zip(windows, listener.scored(outputs), strict=True):
            tracker.push(number, window, output)
    return tracker.finish(heard.clip)
