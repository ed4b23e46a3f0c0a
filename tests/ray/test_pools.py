"""Processes on this computer and of Ray: they answer, and where they die, that is the answer."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fragile_maker import FragileMaker, answers, check, check_limit, is_alive

from zsaudio.errors import OptionError
from zsaudio.ray.pools import Died, LocalPool, connect

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix signals")


def test_processes_of_this_computer() -> None:
    pool = LocalPool(2, FragileMaker)
    try:
        check(pool, "exit code 9")
        os.kill(pool.pids[0], signal.SIGKILL)
        assert answers(pool, 1) == {0: Died("exit code -9, too little memory?")}
    finally:
        pool.close()
    assert not any(map(is_alive, pool.pids))


def test_a_process_that_hangs_is_replaced() -> None:
    pool = LocalPool(1, FragileMaker, limit_s=1)
    try:
        check_limit(pool)
    finally:
        pool.close()


DRIVER = """
import sys, time
sys.path.insert(0, {tests!r})
from fragile_maker import FragileMaker, answers, check, check_limit, is_alive
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
    while is_alive(pid):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:9", "--ray 127.0.0.1:9: cannot be reached"),
        ("ray://127.0.0.1:9", "--ray ray://127.0.0.1:9: cannot be reached"),
        ("somewhere", "--ray somewhere: give local, auto, HOST:PORT, or ray://HOST:PORT"),
    ],
)
def test_addresses_without_a_cluster(address: str, said: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(OptionError, match=said):
        connect(address)
