"""Processes that are none, for tests of what is done when they die."""

import random
from collections.abc import Callable
from typing import Any

from zsaudio.ray.pools import Died

Dies = Callable[[str, tuple[Any, ...]], bool]


class FakePool:
    """Processes that are none: their makers work in this one, and those that die give no answer."""

    def __init__(self, n: int, make: Callable[[], Any], dies: Dies, seed: int = 0) -> None:
        self.n, self._make, self._dies, self._random = n, make, dies, random.Random(seed)
        self._makers: dict[int, Any] = {}
        self._asked: dict[int, tuple[str, tuple[Any, ...]]] = {}

    def start(self, number: int) -> None:
        self._makers[number] = self._make()

    def submit(self, number: int, method: str, *arguments: Any) -> None:
        self._asked[number] = method, arguments

    def wait(self, timeout: float | None = None) -> list[tuple[int, Any]]:
        number = self._random.choice(list(self._asked))
        method, arguments = self._asked.pop(number)
        if self._dies(method, arguments):
            return [(number, Died("killed"))]
        return [(number, getattr(self._makers[number], method)(*arguments))]

    def close(self) -> None:
        pass
