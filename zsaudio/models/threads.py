"""Threads for work on a processor."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def start_threads() -> ThreadPoolExecutor:
    """Return as many threads as torch uses, each of whose torch operations stays in its thread.

    For many independent pieces of work that beats splitting each operation among threads, which then
    wait for one another at its end; most of all where other programs, or the decoding of audio, take a
    processor away for a while.
    """
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
    return _threads_of(os.getpid(), torch.get_num_threads())


@cache
def _threads_of(process: int, n_threads: int) -> ThreadPoolExecutor:
    return start_threads()
