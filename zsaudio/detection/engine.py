"""The batched pass: recordings -> windows -> model outputs -> one result per recording.

Tagging, detection and embedding all run on it. They differ in how audio is cut and what a model computes (a
``Stage`` each), and in what is made of a recording's outputs (a ``Reducer``).

- Worker threads decode, resample and cut the next recordings while the models run.
- Windows are gathered across recordings into full batches.
- Results leave in the order of the sources, as soon as all windows before them are done.
- Memory does not grow with the number of recordings nor with their lengths.

Three rules for errors: an exception while a recording is read is kept as that recording's ``error``, and the
others go on; a recording that is damaged or cut off has an error and the result of what can be decoded; an
exception in a model ends the pass.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, cast

import numpy as np

from zsaudio.audio.read_ahead import read_ahead
from zsaudio.audio.reader import AudioReader
from zsaudio.audio.sources import Source, source_name, sources_of
from zsaudio.audio.windows import Window, Windower, cut_recording
from zsaudio.errors import ModelError, has_result
from zsaudio.models.threads import running_model

Part = tuple[int, Window]  # the number of a stage, and a window for it
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True)
class Stage:
    """One model at work.

    Parameters
    ----------
    name
        The model's name, for errors.
    cut
        Takes the recording's sample rate in Hz; returns the rate at which the model gets the audio, and what
        cuts it into windows.
    run
        Takes the samples of windows; returns the model's output for each, ``(n_frames, ...)``.
    """

    name: str
    cut: Callable[[int], tuple[int, Windower]]
    run: Callable[[Sequence[np.ndarray]], list[np.ndarray]]


@dataclass
class Clip:
    """One recording on its way through the pass.

    Parameters
    ----------
    source
        What is read.
    name
        Its path, or a name for a source that has none.
    sample_rate
        Its own rate, in Hz; 0 until it is known.
    duration_s
        Its length, as far as it could be read.
    error
        Why it could not be read, or not all of it.
    """

    source: Source
    name: str
    sample_rate: int = 0
    duration_s: float = 0.0
    error: Exception | None = None

    @property
    def has_result(self) -> bool:
        """Whether the recording, or a part of it, was read."""
        return has_result(self.error)


class Reducer(Protocol[Result_co]):
    """What becomes of one recording. Its methods are called in order, in the consumer's thread."""

    def push(self, stage: int, window: Window, output: np.ndarray) -> None:
        """Take the output of a stage for the next window."""
        ...

    def finish(self, clip: Clip) -> Result_co:
        """Return the result, after the last window or after the error of the recording.

        Where the clip has an error but ``has_result``, the result is that of a part, with the error.
        """
        ...


@dataclass
class _InWork:
    """A recording, and those of its outputs that its reducer has not seen."""

    clip: Clip
    n_read: int = 0
    n_run: int = 0
    is_read: bool = False
    outputs: deque[tuple[int, Window, np.ndarray]] = field(default_factory=deque)


def batched_pass(
    sources: Iterable[Source],
    stages: Sequence[Stage],
    start: Callable[[], Reducer[Result_co]],
    batch_size: int,
    *,
    sample_rate: int | None = None,
    channel: int | None = None,
) -> Iterator[Result_co]:
    """Yield the result of each recording, in order.

    Parameters
    ----------
    sources
        What ``AudioReader`` takes, any number of them.
    stages
        The models that run on the same audio, which is decoded once.
    start
        Makes the reducer of a recording.
    batch_size
        Windows that go through the models together.
    sample_rate, channel
        As for ``AudioReader``.

    Raises
    ------
    AudioError
        At once, if ``sources`` is a single recording.
    """
    clips = (Clip(source, source_name(source)) for source in sources_of(sources))
    return _run_pass(clips, stages, start, batch_size, sample_rate, channel)


def _run_pass(
    clips: Iterator[Clip],
    stages: Sequence[Stage],
    start: Callable[[], Reducer[Result_co]],
    batch_size: int,
    sample_rate: int | None,
    channel: int | None,
) -> Iterator[Result_co]:
    """Yield the result of each recording, in order; see ``batched_pass``."""

    def read(work: _InWork) -> Iterator[Part]:
        """Decode, resample and cut one recording; runs in a thread."""
        clip = work.clip
        reader = AudioReader(clip.source, sample_rate, channel)
        clip.sample_rate = reader.sample_rate
        for parts in cut_recording(reader, [stage.cut(reader.sample_rate) for stage in stages]):
            clip.duration_s = reader.seconds_read
            yield from parts

    waiting: deque[_InWork] = deque()
    batch: list[tuple[_InWork, Part]] = []
    reducer: Reducer[Result_co] = start()  # of waiting[0]

    def finished() -> Iterator[Result_co]:
        """Hand outputs to the first recording's reducer; yield the results that are complete."""
        nonlocal reducer
        while waiting:
            first = waiting[0]
            while first.outputs:
                reducer.push(*first.outputs.popleft())
            if not first.is_read or first.n_run < first.n_read:
                return
            waiting.popleft()
            result, reducer = reducer.finish(first.clip), start()
            yield result

    works = map(_InWork, clips)
    # Not more recordings ahead than can share a batch, so that many short ones fill it.
    with closing(read_ahead(read, works, ahead=batch_size + 2)) as reading:
        for work, parts in reading:
            waiting.append(work)
            for part in _guarded(work.clip, parts):
                work.n_read += 1
                batch.append((work, part))
                if len(batch) == batch_size:
                    _run_batch(stages, batch)
                    yield from finished()
            work.is_read = True
            yield from finished()
        _run_batch(stages, batch)
        yield from finished()


def run_stages(stages: Sequence[Stage], parts: Sequence[Part]) -> list[np.ndarray]:
    """Return the output for each part, with one call per stage.

    Raises
    ------
    ModelError
        If a model returns NaN, for instance because its weights are damaged.
    """
    outputs: list[np.ndarray] = [np.empty(0)] * len(parts)
    for number, stage in enumerate(stages):
        own = [index for index, (of, _) in enumerate(parts) if of == number]
        if own:
            with running_model():
                # only models that resample by themselves get excerpts, and take them
                computed = stage.run(cast(list[np.ndarray], [parts[index][1].samples for index in own]))
            for index, output in zip(own, computed, strict=True):
                if np.isnan(output).any():
                    raise ModelError(
                        f"{stage.name}: returned NaN; its files may be damaged, fetch them again"
                    )
                outputs[index] = output
    return outputs


def _run_batch(stages: Sequence[Stage], batch: list[tuple[_InWork, Part]]) -> None:
    """Run the models on a batch, hand the outputs to their recordings, and empty the batch."""
    outputs = run_stages(stages, [part for _, part in batch])
    for (work, (number, window)), output in zip(batch, outputs, strict=True):
        work.outputs.append((number, window, output))
        work.n_run += 1
    batch.clear()


def _guarded(clip: Clip, parts: Iterator[Part]) -> Iterator[Part]:
    """Yield the parts; keep the exception that ends them as the recording's error."""
    try:
        yield from parts
    except Exception as error:
        clip.error = error
