"""Threads for work on a CPU, and what makes them safe to use around ``os.fork``.

torch is imported where it is needed: a process that only hands out work to others starts without it.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache


def start_threads() -> ThreadPoolExecutor:
    """Return as many threads as torch uses, each of whose torch operations stays in its thread.

    For many independent pieces of work that is faster than splitting each operation among threads, which
    then wait for one another at its end; most of all where other programs, or the decoding of audio, take a
    CPU away for a while.
    """
    import torch

    n_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="zsaudio")
    all_here = threading.Barrier(n_threads)  # or one thread would take the place of two

    def stay_in_thread(_: int) -> None:
        torch.get_num_threads()  # or torch would set up this thread later, undoing the next line
        torch.set_num_threads(1)
        all_here.wait()

    list(pool.map(stay_in_thread, range(n_threads)))
    torch.set_num_threads(n_threads)  # for threads that others start from now on
    return pool


def shared_threads() -> ThreadPoolExecutor:
    """Return this process's threads, as ``start_threads`` makes them, started when first asked for.

    A model that holds none of its own can be pickled, and works in a process that was forked off.
    """
    import torch

    return _threads_of(os.getpid(), torch.get_num_threads())


@cache
def _threads_of(process: int, n_threads: int) -> ThreadPoolExecutor:
    return start_threads()


class _ForkGuard:
    """Keeps a fork waiting while models run, and models while the process forks.

    A process that is forked off has one thread and a copy of all memory. What other threads were about to
    change stays half changed in it, and locks that they held stay locked. torch has both.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: dict[int, int] = {}  # thread -> how many calls of models, one within another
        self._forking = 0  # the thread that forks; 0: none
        self._process = os.getpid()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._in_child
            )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run a model inside."""
        thread = threading.get_ident()
        with self._changed:
            while self._forking and thread not in self._running:
                self._changed.wait()
            self._running[thread] = self._running.get(thread, 0) + 1
        if self._process != os.getpid():
            import torch

            # OpenMP's threads were left behind, and it would wait for them
            torch.set_num_threads(1)
            self._process = os.getpid()
        try:
            yield
        finally:
            with self._changed:
                self._running[thread] -= 1
                if not self._running[thread]:
                    del self._running[thread]
                self._changed.notify_all()

    def _before_fork(self) -> None:
        thread = threading.get_ident()
        with self._changed:
            while self._forking:
                self._changed.wait()
            self._forking = thread
            while self._running.keys() - {thread}:
                self._changed.wait()

    def _after_fork(self) -> None:
        with self._changed:
            self._forking = 0
            self._changed.notify_all()

    def _in_child(self) -> None:
        self._changed = threading.Condition()
        self._forking = 0


running_model = _ForkGuard().running
"""Context manager in which models run, so that a fork in another thread waits until they are done."""
