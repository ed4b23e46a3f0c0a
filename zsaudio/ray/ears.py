"""Recordings heard by several processes as vectors, for an archive that one process writes.

What a process heard when it died is heard again, each recording alone. One that ends its process each time
gets an error.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zsaudio.archive.archive import Archive
from zsaudio.errors import AudioError, ModelError
from zsaudio.ray.pools import PATIENCE_S, Died, Pool
from zsaudio.ray.runs import DEATHS, set_aside
from zsaudio.results import Embeddings

TOGETHER = 8  # recordings that a process hears at a time: windows are batched across them
_AHEAD = 4  # times as many, for each process, may wait for an earlier recording


class Ear:
    """Hears recordings in one process, as an archive stores them.

    Parameters
    ----------
    location, opened
        What ``Archive.open`` takes.
    listening
        Other arguments of ``Archive.listen``.
    threads
        How many torch may use; None: as it likes.
    """

    def __init__(
        self, location: str, opened: dict[str, Any], listening: dict[str, Any], threads: int | None = None
    ) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self._archive, self._listening = Archive.open(location, **opened), listening

    def hear(self, paths: list[str]) -> list[Embeddings]:
        """Return recordings as vectors."""
        return list(self._archive.listen(paths, **self._listening))


@dataclass
class _Job:
    """The numbers of recordings that a process hears together, and how many processes died of them."""

    numbers: list[int]
    deaths: int = 0


def heard_by(pool: Pool, paths: Sequence[str]) -> Iterator[Embeddings]:
    """Yield recordings as vectors, in their order, heard by the processes of a pool of ``Ear``.

    Raises
    ------
    ModelError
        If processes die before any recording is heard.
    """
    jobs = deque(
        _Job(list(range(start, min(start + TOGETHER, len(paths)))))
        for start in range(0, len(paths), TOGETHER)
    )
    busy: dict[int, _Job] = {}
    idle = list(range(pool.n))
    for number in idle:
        pool.start(number)
    heard: dict[int, Embeddings] = {}
    n_deaths, at = 0, 0
    any_answer = False
    while at < len(paths):
        while idle and jobs and jobs[0].numbers[0] < at + _AHEAD * TOGETHER * pool.n:
            process, job = idle.pop(), jobs.popleft()
            busy[process] = job
            pool.submit(process, "hear", [paths[number] for number in job.numbers])
        for process, answer in pool.wait(PATIENCE_S):
            job = busy.pop(process)
            idle.append(process)
            if isinstance(answer, Died):
                n_deaths += 1
                if not any_answer and n_deaths > DEATHS * pool.n:
                    raise ModelError(f"processes end before they have heard anything ({answer.how})")
                pool.start(process)
                job.deaths += 1
                if len(job.numbers) > 1 or job.deaths < DEATHS:
                    jobs.extendleft(_Job([number], job.deaths) for number in reversed(job.numbers))
                    continue
                (number,) = job.numbers
                error = AudioError(f"{paths[number]}: {set_aside(answer)}")
                heard[number] = Embeddings(paths[number], 0.0, 0, error=error)
            elif isinstance(answer, Exception):
                raise answer
            else:
                any_answer = True
                heard |= zip(job.numbers, answer, strict=True)
        while at in heard:
            yield heard.pop(at)
            at += 1
