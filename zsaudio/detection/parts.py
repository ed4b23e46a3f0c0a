"""One long recording in parts, each heard by another process, and the events of the whole.

A part runs the models on the windows that start in it, cut as they are in the whole recording, so it reads
some sound before and after itself. What it keeps are the outputs for its windows. Put in order, they go
through the same trackers as in one pass: smoothing, thresholds and gaps know nothing of the parts.
"""

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
import soundfile

from zsaudio.audio.span import read_span
from zsaudio.audio.windows import Excerpt, Window, Windower
from zsaudio.detection.engine import Clip, Stage, batched_pass
from zsaudio.detection.events import EventTracker
from zsaudio.detection.listeners import Listener
from zsaudio.errors import AudioError, OptionError
from zsaudio.labels import Label
from zsaudio.results import ClipEvents

MIN_PART_S = 60.0
_SEEKABLE = frozenset({".wav", ".flac", ".aif", ".aiff", ".w64", ".rf64", ".caf", ".au"})
_MARGIN_S = 1  # what a resampler knows of the sound before it


@dataclass(frozen=True)
class Part:
    """A part of a recording.

    Parameters
    ----------
    number, count
        Which part of how many.
    start_s
        Where it starts, in seconds.
    end_s
        Where it ends; None: with the recording.
    """

    number: int
    count: int
    start_s: float
    end_s: float | None


def parts_of(path: str, part_s: float) -> list[Part]:
    """Return the parts of a recording, each ``part_s`` seconds long; the last is up to twice so.

    There is one part where a recording is shorter than two, or its format cannot be searched exactly.

    Raises
    ------
    OptionError
        If parts would be shorter than ``MIN_PART_S``.
    """
    if part_s < MIN_PART_S:
        raise OptionError(f"parts must be at least {MIN_PART_S:g} s long, not {part_s:g}")
    count = 1
    if PurePath(path).suffix.lower() in _SEEKABLE:
        try:
            info = soundfile.info(os.fsencode(path))
            if info.channels <= 8:
                count = max(1, int(info.frames / info.samplerate / part_s))
        except (OSError, soundfile.LibsndfileError):
            pass  # whoever reads it says best why not
    return [
        Part(number, count, number * part_s, (number + 1) * part_s if number + 1 < count else None)
        for number in range(count)
    ]


@dataclass
class PartHeard:
    """What models heard in a part: for each listener its windows without their samples, and its outputs."""

    clip: Clip
    kept: list[tuple[list[Window], list[np.ndarray]]]

    def to_bytes(self) -> bytes:
        """Return it as the content of a file, to be sent to the process that finds the events."""
        arrays: dict[str, np.ndarray] = {
            "clip": np.array([self.clip.sample_rate, self.clip.duration_s], np.float64)
        }
        for number, (windows, outputs) in enumerate(self.kept):
            spans = [(each.start, each.end, each.keep_from, each.keep_to) for each in windows]
            arrays[f"spans{number}"] = np.array(spans, np.int64).reshape(-1, 4)
            arrays[f"lengths{number}"] = np.array([len(output) for output in outputs], np.int64)
            arrays[f"outputs{number}"] = np.concatenate(outputs)
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]  # its own flag is not among them
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> "PartHeard":
        """Return what ``to_bytes`` wrote of a part of the recording ``name``."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            rate, duration_s = arrays["clip"].tolist()
            kept = []
            for number in range(sum(key.startswith("spans") for key in arrays)):
                windows = [
                    Window(start, Excerpt(np.zeros(0), 0, 0, end - start), keep_from, keep_to)
                    for start, end, keep_from, keep_to in arrays[f"spans{number}"].tolist()
                ]
                ends = np.cumsum(arrays[f"lengths{number}"])
                kept.append((windows, np.split(arrays[f"outputs{number}"], ends[:-1])))
        return cls(Clip(name, name, int(rate), duration_s), kept)


class _Keeper:
    """Keeps the outputs for one part; a ``Reducer`` of the batched pass."""

    def __init__(self, n_listeners: int) -> None:
        self._kept: list[tuple[list[Window], list[np.ndarray]]] = [([], []) for _ in range(n_listeners)]

    def push(self, stage: int, window: Window, output: np.ndarray) -> None:
        windows, outputs = self._kept[stage]
        windows.append(replace(window, samples=Excerpt(np.zeros(0), 0, 0, window.end - window.start)))
        outputs.append(output)

    def finish(self, clip: Clip) -> PartHeard:
        return PartHeard(clip, self._kept)


def hear_part(
    path: str, part: Part, listeners: Sequence[Listener], batch_size: int, channel: int | None = None
) -> PartHeard:
    """Return what listeners hear in a part of a recording.

    Raises
    ------
    AudioError
        If anything in the part cannot be decoded; the recording is then heard as a whole.
    """
    info = soundfile.info(os.fsencode(path))
    rate = info.samplerate
    reach_s = max(_window_s(listener.stage, rate) for listener in listeners) + _MARGIN_S
    if part.end_s is not None and reach_s > part.end_s - part.start_s:
        raise AudioError(f"{path}: its windows are longer than its parts")
    first_s = max(0, int(part.start_s - reach_s) - 1)  # a whole second is a sample at any rate
    end_s = info.frames / rate
    last_s = end_s if part.end_s is None else min(end_s, part.end_s + reach_s)
    samples, rate, _ = read_span(path, first_s, last_s)

    def restricted(stage: Stage) -> Callable[[int], tuple[int, Windower]]:
        def cut(own_rate: int) -> tuple[int, Windower]:
            at, windower = stage.cut(own_rate)
            stop = None if part.end_s is None else round(part.end_s * at)
            windower.restrict(round(part.start_s * at), stop, first_s * at)
            return at, windower

        return cut

    stages = [replace(listener.stage, cut=restricted(listener.stage)) for listener in listeners]
    (heard,) = batched_pass(
        [samples],
        stages,
        lambda: _Keeper(len(listeners)),
        batch_size,
        sample_rate=rate,
        channel=channel,
    )
    if heard.clip.error is not None:
        raise heard.clip.error
    heard.clip.duration_s += first_s
    return heard


def join_parts(
    parts: Sequence[PartHeard], listeners: Sequence[Listener], labels: Sequence[Label]
) -> ClipEvents:
    """Return the events of a recording from what was heard in its parts, all of them, in order."""
    tracker = EventTracker(listeners, labels)
    for number in range(len(listeners)):
        for part in parts:
            for window, output in zip(*part.kept[number], strict=True):
                tracker.push(number, window, output)
    return tracker.finish(parts[-1].clip)


def _window_s(stage: Stage, rate: int) -> float:
    at, windower = stage.cut(rate)
    return windower.window / at
