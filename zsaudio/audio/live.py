"""Live audio: blocks that arrive in real time, from a device or from a file that is played.

A device does not wait for its reader. Its blocks go into a buffer of ``BUFFER_S``. When the buffer is full,
new blocks are dropped and counted as overruns. The reader sees a stream without gaps; a ``Clock`` gives the
time of day for a position in it, also after blocks were dropped.

Conventions: blocks are float32 mono ``(n_samples,)``; positions are in seconds from the first sample read.
"""

import queue
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from types import TracebackType

import numpy as np

from zsaudio.audio.reader import MAX_RATE, MIN_RATE, AudioReader
from zsaudio.audio.sources import Source
from zsaudio.errors import AudioError, OptionError

BLOCK_S = 0.02
BUFFER_S = 10.0
SILENT_S = 3.0  # a device that delivers nothing for so long is taken for unplugged
START_S = 10.0  # the same before the first block: some devices start slowly


class Clock:
    """Position in a live stream -> time of day.

    Blocks are noted with the time at which they arrive. Position and time drift apart when blocks are
    dropped, and slowly in any case, since a sound card has a clock of its own.

    Examples
    --------
    >>> clock = Clock()
    >>> clock.note(0.0, 1000.0)
    >>> clock.note(5.0, 1007.0)  # two seconds were dropped
    >>> clock.at(4.0).timestamp(), clock.at(6.0).timestamp()
    (1004.0, 1008.0)
    """

    _tolerance_s = 0.1  # blocks do not arrive quite evenly

    def __init__(self) -> None:
        self._anchors: deque[tuple[float, float]] = deque(maxlen=4096)

    def note(self, position: float, time_s: float) -> None:
        """Note that the sample at ``position`` was recorded at ``time_s``, in seconds since the epoch."""
        if self._anchors:
            known, known_time_s = self._anchors[-1]
            if abs((time_s - position) - (known_time_s - known)) <= self._tolerance_s:
                return
        self._anchors.append((position, time_s))

    def at(self, position: float) -> datetime:
        """Return the local time of a position, with its time zone; the present time if nothing was noted."""
        if not self._anchors:
            return datetime.now().astimezone()
        index = max(0, bisect_right(self._anchors, (position, float("inf"))) - 1)
        known, known_time_s = self._anchors[index]
        return datetime.fromtimestamp(known_time_s + position - known).astimezone()


class LiveBlocks:
    """Blocks of live audio: iterate over it once; ``close`` it, or leave its ``with``, to end.

    Attributes
    ----------
    name
        Name of the device or file.
    sample_rate
        Rate of the blocks, in Hz.
    clock
        Gives the time of day for a position in the stream.
    overruns
        How many times audio was dropped because it was not read in time.
    lost_s
        How much was dropped, in seconds, as far as it is known.
    """

    def __init__(self, name: str, sample_rate: int, block_s: float) -> None:
        if not 0.001 <= block_s <= 1:
            raise OptionError(f"block_s must be between 0.001 and 1, not {block_s}")
        if not MIN_RATE <= sample_rate <= MAX_RATE:
            raise OptionError(f"sample rate {sample_rate} Hz is outside {MIN_RATE} to {MAX_RATE} Hz")
        self.name, self.sample_rate = name, sample_rate
        self.overruns, self.lost_s = 0, 0.0
        self.clock = Clock()
        self._block = max(1, round(block_s * sample_rate))
        self._capacity = round(BUFFER_S * sample_rate / self._block)  # of the buffer, in blocks
        # a block and when it arrived, in seconds since the epoch; an error; or None, the end
        self._queue: queue.SimpleQueue[tuple[np.ndarray, float] | AudioError | None] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the blocks until the source ends or ``stop`` is called.

        Raises
        ------
        AudioError
            If the device is unplugged, or the file cannot be read, or not to its end.
        """
        position = 0.0
        try:
            self._start()
            wait_s = START_S
            while (item := self._next(wait_s)) is not None:
                block, arrived_s = item
                wait_s = SILENT_S
                self.clock.note(position, arrived_s - len(block) / self.sample_rate)
                position += len(block) / self.sample_rate
                yield block
        finally:
            self.close()

    def __enter__(self) -> "LiveBlocks":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close the source."""
        self.close()

    def stop(self) -> None:
        """End the stream after the blocks so far; may be called from a signal handler or another thread."""
        self._stopped.set()
        self._queue.put(None)

    def close(self) -> None:
        """Stop recording and release the device."""
        self.stop()

    def _start(self) -> None:
        raise NotImplementedError

    def _put(self, block: np.ndarray) -> None:
        """Take a block from the source; runs in the source's thread, and never waits."""
        if self._stopped.is_set():
            return
        if self._queue.qsize() >= self._capacity:
            self.overruns += 1
            self.lost_s += len(block) / self.sample_rate
        else:
            self._queue.put((block, time.time()))

    def _next(self, wait_s: float) -> tuple[np.ndarray, float] | None:
        try:
            item = self._queue.get(timeout=wait_s)
        except queue.Empty:
            item = self._unplugged()
        if isinstance(item, AudioError):
            raise item
        return item

    def _unplugged(self) -> AudioError:
        return AudioError(f"{self.name}: stopped delivering audio; was it unplugged?")


class Playback(LiveBlocks):
    """A recording played in real time, in the place of a microphone.

    Parameters
    ----------
    source
        What ``zsaudio.audio.reader.AudioReader`` takes.
    sample_rate
        Rate of an array or a tensor, in Hz.
    channel
        Take this channel (0 is the first) instead of the mean of all.
    block_s
        Length of a block in seconds.
    """

    def __init__(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        channel: int | None = None,
        block_s: float = BLOCK_S,
    ) -> None:
        self._reader = AudioReader(source, sample_rate, channel)
        super().__init__(self._reader.name, self._reader.sample_rate, block_s)
        self._player = threading.Thread(target=self._play, name="zsaudio-play", daemon=True)

    def close(self) -> None:
        """Stop playing."""
        self.stop()
        if self._player.is_alive():
            self._player.join()

    def _start(self) -> None:
        self._player.start()

    def _play(self) -> None:
        started, played = time.monotonic(), 0
        try:
            for decoded in self._reader.blocks():
                for start in range(0, len(decoded), self._block):
                    block = decoded[start : start + self._block]
                    played += len(block)
                    due = started + played / self.sample_rate
                    if self._stopped.wait(max(0.0, due - time.monotonic())):
                        return
                    self._put(block)
        except AudioError as error:
            self._queue.put(error)
        else:
            self._queue.put(self._reader.damage)
