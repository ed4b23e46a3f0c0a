"""Processes on this computer and of Ray: they answer, and where they die, that is the answer."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fragile_maker import FragileMaker

from zsaudio.errors import OptionError
from zsaudio.ray.pools import Died, LocalPool, Pool, RayPool, connect

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix signals")


def answers(pool: Pool, n: int) -> dict[int, Any]:
    found: dict[int, Any] = {}
    while len(found) < n:
        found |= pool.wait()
    return found


def check(pool: Pool, how: str) -> None:
    """One answers and one dies; another takes its place."""
    for number in range(2):
        pool.start(number)
        pool.submit(number, "load")
    assert all(map(_is_alive, answers(pool, 2).values()))
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


def test_processes_of_this_computer() -> None:
    pool = LocalPool(2, FragileMaker)
    try:
        check(pool, "exit code 9")
        os.kill(pool.pids[0], signal.SIGKILL)
        assert answers(pool, 1) == {0: Died("exit code -9")}
    finally:
        pool.close()
    assert not any(map(_is_alive, pool.pids))


def test_actors_of_ray(local_ray: None) -> None:
    import fragile_maker
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(fragile_maker)
    pool = RayPool(2, FragileMaker, num_cpus=0.5)
    try:
        check(pool, "actor died")
    finally:
        pool.close()


DRIVER = """
import sys, time
sys.path.insert(0, {tests!r})
from fragile_maker import FragileMaker
from zsaudio.ray.pools import LocalPool

if __name__ == "__main__":
    pool = LocalPool(1, FragileMaker)
    pool.start(0)
    pool.submit(0, "load")
    pool.wait()
    print(pool.pids[0], flush=True)
    time.sleep(100)
"""


def test_processes_end_when_their_owner_is_killed(tmp_path: Path) -> None:
    code = tmp_path / "driver.py"
    code.write_text(DRIVER.format(tests=str(Path(__file__).parents[1])))
    driver = subprocess.Popen([sys.executable, code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    pid = int(driver.stdout.readline())
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    until = time.monotonic() + 60
    while _is_alive(pid):
        assert time.monotonic() < until
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:9", "--ray 127.0.0.1:9: cannot be reached"),
        ("ray://127.0.0.1:9", "--ray ray://127.0.0.1:9: cannot be reached"),
        ("somewhere", "--ray somewhere: give local, auto, HOST:PORT, or ray://HOST:PORT"),
    ],
)
def test_addresses_without_a_cluster(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(OptionError, match=said):
        connect(address)
