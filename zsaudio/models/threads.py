"""Threads for work on a processor."""

import threading
from concurrent.futures import ThreadPoolExecutor

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
