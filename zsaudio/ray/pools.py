"""Processes that do the work: on this computer, or actors of Ray. Each does one thing at a time.

So when a process dies, what it died of is known. Both pools have the same few methods; ``Died`` stands for
the answer of a process that gave none.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Protocol

from zsaudio.errors import MissingExtraError, OptionError, ZsaudioError, install_command

CONNECT_S = 10.0  # to reach a cluster


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


class LocalPool:
    """Processes on this computer, which share its cores.

    Parameters
    ----------
    n
        How many.
    make
        Returns a maker; it is pickled.
    """

    def __init__(self, n: int, make: Callable[[], Any]) -> None:
        self.n, self._make = n, make
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
        try:
            self._pipes[number].send((method, arguments))
        except OSError:  # it has died; wait says so
            return

    def wait(self, timeout: float | None = None) -> list[tuple[int, Any]]:
        """Return what processes have answered since."""
        numbers = {pipe: number for number, pipe in self._pipes.items()}
        answers: list[tuple[int, Any]] = []
        for pipe in connection.wait(list(numbers), timeout):
            assert isinstance(pipe, connection.Connection)
            number = numbers[pipe]
            try:
                answers.append((number, pipe.recv()))
            except (EOFError, OSError):
                process = self._processes[number]
                process.join(10)
                answers.append((number, Died(f"exit code {process.exitcode}")))
        return answers

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
    """

    def __init__(self, n: int, make: Callable[[], Any], num_cpus: float = 1, num_gpus: float = 0) -> None:
        import ray

        self.n, self._make = n, make
        self._remote = ray.remote(_Actor).options(num_cpus=num_cpus, num_gpus=num_gpus, max_restarts=0)
        self.actors: dict[int, Any] = {}
        self._answers: dict[Any, int] = {}

    def start(self, number: int) -> None:
        """Start an actor, in the place of one that died."""
        import ray

        if number in self.actors:
            ray.kill(self.actors[number])
        self.actors[number] = self._remote.remote(self._make)

    def submit(self, number: int, method: str, *arguments: Any) -> None:
        """Let an actor call a method of its maker."""
        self._answers[self.actors[number].call.remote(method, arguments)] = number

    def wait(self, timeout: float | None = None) -> list[tuple[int, Any]]:
        """Return what actors have answered since."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        ready, _ = ray.wait(list(self._answers), timeout=timeout)
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
        return answers

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


def require_pyarrow() -> None:
    """Raise MissingExtraError where what shards are written with is not installed."""
    try:
        import filelock  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"shards need pyarrow: {install_command('archive')}") from error
