"""Processes that do the work: on this computer, or actors of Ray. Each does one thing at a time.

So when a process dies, what it died of is known. Both pools have the same few methods; ``Died`` stands for
the answer of a process that gave none.
"""

import logging
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Protocol

from zsaudio.errors import ModelError, OptionError, ZsaudioError

CONNECT_S = 10.0  # to reach a cluster
PATIENCE_S = 60.0  # without an answer, before one looks what is wrong


@dataclass(frozen=True)
class Died:
    """A process has ended without an answer."""

    how: str


class Pool(Protocol):
    """Processes, numbered from 0, each of which has a maker, such as ``zsaudio.ray.shards.Maker``."""

    n: int

    def start(self, number: int) -> None:
        """Start a process, in the place of one that died."""
        ...

    def submit(self, number: int, method: str, *arguments: Any) -> None:
        """Let a process call a method of its maker."""
        ...

    def wait(self, timeout: float | None = None) -> list[tuple[int, Any]]:
        """Return what processes have answered since: a value, an exception, or ``Died``."""
        ...

    def close(self) -> None:
        """End the processes."""
        ...


class _Clock:
    """Knows which processes take longer than ``limit_s`` for what they do; None: they may."""

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = math.inf if limit_s is None else limit_s
        self._ends: dict[int, float] = {}

    def start(self, number: int) -> None:
        """Note that a process begins to do something."""
        self._ends[number] = time.monotonic() + self._limit_s

    def wait_s(self, timeout: float | None) -> float | None:
        """Return for how long to wait for answers, so that a late process is noticed."""
        left = min(self._ends.values(), default=math.inf) - time.monotonic()
        left = max(0.0, min(left, math.inf if timeout is None else timeout))
        return None if left == math.inf else left

    def late(self, answered: Iterable[int]) -> list[tuple[int, Any]]:
        """Return the processes that are late, as dead, besides those that have answered."""
        for number in answered:
            self._ends.pop(number, None)
        late = [number for number, end in self._ends.items() if end <= time.monotonic()]
        for number in late:
            del self._ends[number]
        return [(number, Died(f"no answer in {self._limit_s:g} s")) for number in late]


class LocalPool:
    """Processes on this computer, which share its cores.

    Parameters
    ----------
    n
        How many.
    make
        Returns a maker; it is pickled.
    limit_s
        A process that gives no answer for so long counts as dead; None: it may take as long as it likes.
    """

    def __init__(self, n: int, make: Callable[[], Any], limit_s: float | None = None) -> None:
        self.n, self._make, self._clock = n, make, _Clock(limit_s)
        self._context = multiprocessing.get_context("spawn")  # no locks of this process in them
        self._processes: dict[int, Any] = {}
        self._pipes: dict[int, connection.Connection] = {}

    def start(self, number: int) -> None:
        """Start a process, in the place of one that died."""
        if number in self._pipes:
            self._pipes[number].close()
            self._processes[number].kill()
            self._processes[number].join()
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._make), daemon=True)
        process.start()
        theirs.close()
        self._processes[number], self._pipes[number] = process, ours

    def submit(self, number: int, method: str, *arguments: Any) -> None:
        """Let a process call a method of its maker."""
        self._clock.start(number)
        try:
            self._pipes[number].send((method, arguments))
        except OSError:  # it has died; wait says so
            return

    def wait(self, timeout: float | None = None) -> list[tuple[int, Any]]:
        """Return what processes have answered since."""
        numbers = {pipe: number for number, pipe in self._pipes.items()}
        answers: list[tuple[int, Any]] = []
        for pipe in connection.wait(list(numbers), self._clock.wait_s(timeout)):
            assert isinstance(pipe, connection.Connection)
            number = numbers[pipe]
            try:
                answers.append((number, pipe.recv()))
            except (EOFError, OSError):
                process = self._processes[number]
                process.join(10)
                hint = ", too little memory?" if process.exitcode == -9 else ""
                answers.append((number, Died(f"exit code {process.exitcode}{hint}")))
        return answers + self._clock.late(number for number, _ in answers)

    @property
    def pids(self) -> Sequence[int]:
        """The processes' numbers in the system."""
        return [process.pid for process in self._processes.values()]

    def close(self) -> None:
        """End the processes."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.join()


def _serve(pipe: connection.Connection, make: Callable[[], Any]) -> None:
    """Be a process of a pool: answer until the other end of the pipe is closed, if only by a kill."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Ctrl-C in a terminal goes to all; the driver ends this process
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    logging.getLogger("zsaudio").setLevel(logging.ERROR)
    maker = make()
    while True:
        try:
            method, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        answer: Any
        try:
            answer = getattr(maker, method)(*arguments)
        except Exception as error:
            answer = error
        try:
            pipe.send(answer)
        except OSError:
            return
        except Exception:  # an error that cannot be sent
            pipe.send(RuntimeError(f"{type(answer).__name__}: {answer}"))


class RayPool:
    """Actors of Ray, one a process, on a cluster that ``connect`` has reached.

    Parameters
    ----------
    n
        How many.
    make
        Returns a maker; it is pickled.
    num_cpus, num_gpus
        What each takes.
    limit_s
        As for ``LocalPool``.
    """

    def __init__(
        self,
        n: int,
        make: Callable[[], Any],
        num_cpus: float = 1,
        num_gpus: float = 0,
        limit_s: float | None = None,
    ) -> None:
        import ray

        self.n, self._make, self._clock = n, make, _Clock(limit_s)
        self._remote = ray.remote(_Actor).options(num_cpus=num_cpus, num_gpus=num_gpus, max_restarts=0)
        self.actors: dict[int, Any] = {}
        self._answers: dict[Any, int] = {}

    def start(self, number: int) -> None:
        """Start an actor, in the place of one that died."""
        import ray

        if number in self.actors:
            ray.kill(self.actors[number])
            self._answers = {one: other for one, other in self._answers.items() if other != number}
        self.actors[number] = self._remote.remote(self._make)

    def submit(self, number: int, method: str, *arguments: Any) -> None:
        """Let an actor call a method of its maker."""
        self._clock.start(number)
        self._answers[self.actors[number].call.remote(method, arguments)] = number

    def wait(self, timeout: float | None = None) -> list[tuple[int, Any]]:
        """Return what actors have answered since."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        ready, _ = ray.wait(list(self._answers), timeout=self._clock.wait_s(timeout))
        if not ready and not any(node["Alive"] for node in ray.nodes()):  # Ray itself would wait for ever
            raise ModelError("Ray has no computer left; start it again: the same command goes on")
        answers: list[tuple[int, Any]] = []
        for one in ready:
            answer: Any
            try:
                answer = ray.get(one)
            except RayTaskError as error:
                answer = error.cause if isinstance(error.cause, Exception) else error
            except RayError as error:
                answer = Died(str(error).strip().partition("\n")[0])
            answers.append((self._answers.pop(one), answer))
        return answers + self._clock.late(number for number, _ in answers)

    def close(self) -> None:
        """End the actors."""
        import ray

        for actor in self.actors.values():
            ray.kill(actor)


class _Actor:
    """What an actor does."""

    def __init__(self, make: Callable[[], Any]) -> None:
        logging.getLogger("zsaudio").setLevel(logging.ERROR)
        self._maker = make()

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Call a method of the maker; errors are returned, not raised, so that Ray does not print them."""
        try:
            return getattr(self._maker, method)(*arguments)
        except ZsaudioError as error:
            return error


def connect(address: str) -> None:
    """Connect to a cluster of Ray.

    Parameters
    ----------
    address
        ``local``, a cluster of this computer alone that is started for it; ``auto``, the cluster that
        this computer is a node of; ``HOST:PORT`` or ``ray://HOST:PORT``.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    OptionError
        If there is no cluster at the address.
    """
    from zsaudio.ray.datasets import require_ray

    require_ray()
    import ray

    if address not in ("local", "auto"):
        _check_reachable(address)
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_worker_niceness", "0")  # else they wait for everything else on this computer
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own: dict[str, Any] = {}
    if address == "local":
        own = {"include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except Exception as error:  # Ray raises many kinds, and its messages have many lines
        ray.shutdown()
        reason = str(error).strip().partition("\n")[0]
        raise OptionError(f"--ray {address}: no cluster of Ray can be reached there ({reason})") from error


def usual_actors(num_gpus: float) -> int:
    """Return for how many actors the cluster has room now: one a CPU, or as many as share its GPUs."""
    import ray

    has = ray.cluster_resources()
    return max(1, int(has.get("GPU", 0) / num_gpus if num_gpus else has.get("CPU", 1)))


def _check_reachable(address: str) -> None:
    """Raise OptionError where nothing answers: Ray itself would try for minutes."""
    import socket

    host, _, port = address.removeprefix("ray://").rstrip("/").rpartition(":")
    if not host or not port.isdecimal():
        raise OptionError(f"--ray {address}: give local, auto, HOST:PORT, or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise OptionError(f"--ray {address}: cannot be reached ({error})") from error
