import threading
import time
from collections.abc import Iterator

import pytest

from zsaudio.audio.read_ahead import read_ahead, usual_workers


def test_items_come_in_order_whatever_the_threads_do() -> None:
    def read(key: int) -> Iterator[int]:
        for item in range(3):
            time.sleep(0.003 * ((key * 7) % 5))
            yield 10 * key + item

    got = [(key, list(items)) for key, items in read_ahead(read, range(12), workers=4, ahead=6)]
    assert got == [(key, [10 * key, 10 * key + 1, 10 * key + 2]) for key in range(12)]


def test_an_error_ends_its_key_only() -> None:
    def read(key: int) -> Iterator[int]:
        yield key
        if key == 1:
            raise ValueError("one")

    got: list[int | str] = []
    for _, items in read_ahead(read, range(3)):
        try:
            got += list(items)
        except ValueError as error:
            got.append(str(error))
    assert got == [0, "one", 2]


def test_no_more_waits_than_asked_for() -> None:
    produced = []

    def read(key: int) -> Iterator[int]:
        for item in range(100):
            produced.append(item)
            yield item

    for _, items in read_ahead(read, [0], workers=1, depth=5):
        next(items)
        time.sleep(0.2)
        assert len(produced) <= 8
        assert list(items) == list(range(1, 100))


def test_leaving_early_ends_the_threads() -> None:
    def read(key: int) -> Iterator[int]:
        while True:
            yield key

    ahead = read_ahead(read, range(5))
    _, items = next(ahead)
    assert next(items) == 0
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("zsaudio-read")]


def test_keys_are_taken_as_they_are_needed() -> None:
    taken = []

    def keys() -> Iterator[int]:
        for key in range(100):
            taken.append(key)
            yield key

    reading = read_ahead(lambda key: iter([key]), keys(), workers=2, ahead=5)
    _, items = next(reading)
    assert list(items) == [0]
    assert len(taken) == 5
    next(reading)
    assert len(taken) == 6


@pytest.mark.parametrize("workers", [1, 3])
def test_nothing_to_do(workers: int) -> None:
    assert list(read_ahead(lambda key: iter([key]), [], workers=workers)) == []


@pytest.mark.parametrize(("processors", "workers"), [(1, 2), (2, 2), (6, 6), (64, 8)])
def test_workers_follow_the_processors(
    processors: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)), raising=False)
    assert usual_workers() == workers
    started = []
    together = threading.Barrier(workers)

    def read(key: int) -> Iterator[int]:
        started.append(key)
        together.wait(timeout=10)  # breaks unless so many read at a time
        yield key

    keys = range(2 * workers)
    assert [list(items) for _, items in read_ahead(read, keys)] == [[key] for key in keys]
    assert sorted(started) == list(keys)


def test_workers_where_the_system_does_not_tell_which_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert usual_workers() == 4
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert usual_workers() == 2
