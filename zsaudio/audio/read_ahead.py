"""Work ahead in threads, in order and within bounded memory.

Decoding and resampling release Python's lock, so they run beside the encoder in threads.
"""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")
_Lane = queue.Queue[tuple[bool, "T | BaseException | None"]]  # (there is more, item or error)

_MOST_WORKERS = 8


def usual_workers() -> int:
    """Return how many threads read: one a processor that this process may use, but 2 to 8.

    An encoder on two processors is slower than one thread that decodes; one on a GPU may be faster than two.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    n_processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(max(n_processors, 2), _MOST_WORKERS)


def read_ahead(
    read: Callable[[K], Iterator[T]],
    keys: Iterable[K],
    workers: int | None = None,
    depth: int = 4,
    ahead: int | None = None,
) -> Generator[tuple[K, Iterator[T]], None, None]:
    """Run ``read(key)`` ahead of the consumer; yield each key, in order, with an iterator over its items.

    Parameters
    ----------
    read
        Runs in a thread. Exhaust one key's items before asking for the next key.
    keys
        What to read, in order.
    workers
        Keys that are read at a time; None: ``usual_workers()``.
    depth
        Items of each key that wait for the consumer at most.
    ahead
        Keys that are being read or wait for the consumer, at most; None: as many as ``workers``.

    Notes
    -----
    An exception in ``read`` is raised where that key's items are read; the other keys go on. Closing the
    generator ends the threads.
    """
    workers = workers or usual_workers()
    stop = threading.Event()

    def put(lane: "_Lane[T]", entry: tuple[bool, "T | BaseException | None"]) -> bool:
        while not stop.is_set():
            try:
                lane.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce(key: K, lane: "_Lane[T]") -> None:
        try:
            for item in read(key):
                if not put(lane, (True, item)):
                    return
        except BaseException as error:  # handed to the consumer, which raises it
            put(lane, (False, error))
        else:
            put(lane, (False, None))

    waiting = iter(keys)
    with ThreadPoolExecutor(workers, thread_name_prefix="zsaudio-read") as pool:
        lanes: deque[tuple[K, _Lane[T]]] = deque()

        def start(n_keys: int) -> None:
            for key in islice(waiting, n_keys):
                lanes.append((key, queue.Queue(maxsize=depth)))
                pool.submit(produce, *lanes[-1])

        try:
            start(ahead or workers)
            while lanes:
                key, lane = lanes.popleft()
                yield key, _drain(lane)
                start(1)
        finally:
            stop.set()


def _drain(lane: "_Lane[T]") -> Iterator[T]:
    while True:
        more, item = lane.get()
        if more:
            yield item  # type: ignore[misc]  # an item, since there is more
        elif isinstance(item, BaseException):
            raise item
        else:
            return
