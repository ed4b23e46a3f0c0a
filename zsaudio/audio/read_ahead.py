"""Read ahead in threads, in order and within bounded memory.

Decoding and resampling release the global interpreter lock, so they run in threads while a model runs.
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
_Items = queue.Queue[tuple[bool, "T | BaseException | None"]]  # (whether it is an item, item or error)

_MOST_WORKERS = 8


def usual_workers() -> int:
    """Return how many threads read: one per CPU core that this process may use, but 2 to 8.

    On two cores one thread decodes faster than a model takes the windows; a model on a GPU may need more.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    n_cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(max(n_cores, 2), _MOST_WORKERS)


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
        Runs in a thread. Exhaust the items of a key before asking for the next key.
    keys
        What to read, in order.
    workers
        Number of threads, each reading one key at a time; None: ``usual_workers()``.
    depth
        How many items of a key may wait for the consumer.
    ahead
        How many keys may be read, or wait for the consumer, at a time; None: as many as ``workers``.

    Notes
    -----
    An exception in ``read`` is raised where that key's items are read; the other keys go on. Closing the
    generator ends the threads.
    """
    workers = workers or usual_workers()
    stop = threading.Event()

    def put(items: "_Items[T]", entry: tuple[bool, "T | BaseException | None"]) -> bool:
        while not stop.is_set():
            try:
                items.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce(key: K, items: "_Items[T]") -> None:
        try:
            for item in read(key):
                if not put(items, (True, item)):
                    return
        except BaseException as error:  # handed to the consumer, which raises it
            put(items, (False, error))
        else:
            put(items, (False, None))

    waiting = iter(keys)
    with ThreadPoolExecutor(workers, thread_name_prefix="zsaudio-read") as pool:
        queues: deque[tuple[K, _Items[T]]] = deque()

        def start(n_keys: int) -> None:
            for key in islice(waiting, n_keys):
                queues.append((key, queue.Queue(maxsize=depth)))
                pool.submit(produce, *queues[-1])

        try:
            start(ahead or workers)
            while queues:
                key, items = queues.popleft()
                yield key, _drain(items)
                start(1)
        finally:
            stop.set()


def _drain(items: "_Items[T]") -> Iterator[T]:
    while True:
        more, item = items.get()
        if more:
            yield item  # type: ignore[misc]  # an item, since there is more
        elif isinstance(item, BaseException):
            raise item
        else:
            return
