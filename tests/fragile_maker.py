"""What a process of a pool has in tests: it imports little, answers, and dies when it is told to."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zsaudio.ray.pools import Pool


class FragileMaker:
    def load(self) -> int:
        return os.getpid()

    def double(self, value: int) -> int:
        return 2 * value

    def hang(self) -> None:
        time.sleep(1000)

    def die(self) -> None:
        os._exit(9)


def answers(pool: "Pool", n: int) -> dict[int, Any]:
    found: dict[int, Any] = {}
    while len(found) < n:
        found |= pool.wait()
    return found


def check(pool: "Pool", how: str) -> None:
    """One answers and one dies; another takes its place."""
    from zsaudio.ray.pools import Died

    for number in range(2):
        pool.start(number)
        pool.submit(number, "load")
    assert all(map(is_alive, answers(pool, 2).values()))
    pool.submit(0, "double", 21)
    pool.submit(1, "die")
    found = answers(pool, 2)
    assert found[0] == 42
    assert isinstance(found[1], Died) and how in found[1].how
    pool.start(1)
    pool.submit(1, "double", 4)
    assert answers(pool, 1) == {1: 8}
    pool.submit(0, "no_such_method")
    assert isinstance(answers(pool, 1)[0], AttributeError)


def check_limit(pool: "Pool") -> None:
    """One hangs in a pool with a limit; another takes its place."""
    from zsaudio.ray.pools import Died

    clock: Any = pool._clock  # type: ignore[attr-defined]
    for _ in range(2):
        clock._limit_s = 1000  # starting may take its time
        pool.start(0)
        pool.submit(0, "double", 21)
        assert answers(pool, 1) == {0: 42}
        clock._limit_s = 1
        pool.submit(0, "hang")
        assert answers(pool, 1) == {0: Died("no answer in 1 s")}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False
