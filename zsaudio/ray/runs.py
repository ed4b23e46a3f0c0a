"""A run: units of work go to processes, and what they write is committed.

What a process did when it died is done again. A unit whose processes died ``DEATHS`` times is halved, and so
are its halves at each death from then on. The recording that is left alone and still ends its process is set
aside: it gets a row with an error.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zsaudio.errors import ModelError
from zsaudio.ray.manifest import Manifest
from zsaudio.ray.planning import Unit
from zsaudio.ray.pools import PATIENCE_S, Died, Pool
from zsaudio.ray.shards import Loaded, Staged

if TYPE_CHECKING:
    import pyarrow as pa

DEATHS = 3


def set_aside(died: Died) -> str:
    """Return the error of a recording that ends its processes."""
    return f"processes died while they read it, {DEATHS} times ({died.how}); it was set aside"


@dataclass
class _Shared:
    """A long recording whose parts are heard by several processes."""

    staged: list[str]
    n_left: int
    is_given_up: bool = False


@dataclass
class _Job:
    """What one process does at a time: a method of its ``Maker``, and the arguments that follow a name."""

    method: str
    table: "pa.Table"
    arguments: tuple[Any, ...]
    deaths: int = 0
    shared: _Shared | None = None
    name: str = ""


class Run:
    """Gives units to processes until all are committed.

    Parameters
    ----------
    pool
        The processes.
    units
        The work, planned when it is needed.
    manifest
        Where shards are committed.
    kept
        Columns that results have from the input, with their types.
    on_warning
        Called with what the user should know.

    Attributes
    ----------
    n_deaths
        How many processes have died.
    """

    def __init__(
        self,
        pool: Pool,
        units: Iterator[Unit],
        manifest: Manifest,
        kept: list[list[str]],
        on_warning: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._pool, self._units, self._manifest, self._kept = pool, units, manifest, kept
        self._on_warning = on_warning
        self._warned: set[str] = set()
        self._again: deque[_Job] = deque()
        self._busy: dict[int, _Job] = {}
        self._free: list[int] = []
        self._has_more, self._is_started = True, False
        self._n_names = self._n_failed_loads = 0
        self.n_deaths = 0

    def work(self) -> Iterator[Staged]:
        """Yield shards as they are committed.

        Raises
        ------
        ZsaudioError
            If the models cannot be loaded, or the output cannot be written.
        """
        first = self._next()
        if first is None:  # then nothing is started either
            return
        self._again.appendleft(first)
        try:
            for number in range(self._pool.n):
                self._load(number)
            while self._busy or self._again or self._has_more:
                answers = self._pool.wait(PATIENCE_S)
                if not answers and not self._is_started:
                    self._warn(f"no process has loaded its models in {PATIENCE_S:g} s; waiting")
                for number, answer in answers:
                    if (staged := self._take(number, answer)) is not None:
                        yield staged
                self._assign()
        finally:
            self._pool.close()
        self._manifest.close()

    def _assign(self) -> None:
        """Give work to the processes that have none."""
        while self._free and (job := self._next()) is not None:
            number = self._free.pop()
            self._n_names += 1
            job.name = f"{self._n_names:06}"  # a new one each time: who was taken for dead may still write
            self._busy[number] = job
            self._pool.submit(number, job.method, job.name, *job.arguments)

    def _next(self) -> _Job | None:
        """Return what to do next, if anything is left."""
        if self._again:
            return self._again.popleft()
        unit = next(self._units, None)
        if unit is None:
            self._has_more = False
            return None
        if not unit.parts:
            return _Job("shard", unit.table, (unit.table,))
        path = unit.table.column("path")[0].as_py()
        shared = _Shared([""] * len(unit.parts), len(unit.parts))
        self._again.extend(_Job("part", unit.table, (path, part), shared=shared) for part in unit.parts)
        return self._again.popleft()

    def _load(self, number: int) -> None:
        self._pool.start(number)
        self._pool.submit(number, "load")

    def _take(self, number: int, answer: Any) -> Staged | None:
        """Take the answer of a process; return the shard that it completes."""
        job = self._busy.pop(number, None)  # None: it has loaded its models
        if isinstance(answer, Died):
            if number in self._free:
                self._free.remove(number)
            self._lose(job, answer)
            self._load(number)
            return None
        if isinstance(answer, BaseException):
            raise answer
        self._free.append(number)
        if job is None:
            self._begin(answer)
            return None
        if job.method == "part":
            self._hear(job, answer)
            return None
        self._manifest.commit(answer)
        return answer if isinstance(answer, Staged) else None

    def _begin(self, loaded: Loaded) -> None:
        """Open the output for the first process, compare the models of the others with its own."""
        self._n_failed_loads = 0
        if not self._is_started:
            self._manifest.start(loaded, self._kept)
            self._is_started = True
        self._manifest.check_models(loaded)
        for text in loaded.warnings:
            self._warn(text)

    def _hear(self, job: _Job, error: str | None) -> None:
        """Note that a part was heard; when all are, let somebody find the events of the whole."""
        assert job.shared is not None
        if job.shared.is_given_up:
            return
        if error is not None:  # it cannot be read in parts
            self._give_up(job.shared)
            self._again.append(_Job("shard", job.table, (job.table,)))
            return
        job.shared.staged[job.arguments[1].number] = job.name
        job.shared.n_left -= 1
        if not job.shared.n_left:
            self._again.append(_Job("joined_shard", job.table, (job.table, job.shared.staged)))

    def _lose(self, job: _Job | None, died: Died) -> None:
        """Do again what a process did when it died, in smaller units if need be."""
        self.n_deaths += 1
        if job is None:
            self._n_failed_loads += 1
            if self._n_failed_loads >= DEATHS * self._pool.n:
                raise ModelError(f"processes die while they load the models ({died.how})")
            return
        job.deaths += 1
        if job.shared is not None and job.shared.is_given_up:
            return
        if job.deaths < DEATHS:
            self._again.append(job)
        elif len(job.table) > 1:
            half = len(job.table) // 2
            for table in (job.table.slice(0, half), job.table.slice(half)):
                self._again.append(_Job("shard", table, (table,), DEATHS - 1))
        elif job.method == "error_shard":
            raise ModelError(f"processes die whatever they do ({died.how})")
        else:
            if job.shared is not None:
                self._give_up(job.shared)
            self._again.append(_Job("error_shard", job.table, (job.table, set_aside(died))))

    def _give_up(self, shared: _Shared) -> None:
        """Forget the parts of a recording."""
        shared.is_given_up = True
        self._again = deque(job for job in self._again if job.shared is not shared)

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._on_warning(text)
