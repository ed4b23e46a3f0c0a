import os
import subprocess
import sys

import pytest

FORKS = 5
CODE = f"""
import os, signal, threading, time
import numpy as np
import torch
from zsaudio import Recognizer

torch.set_num_threads(2)
samples = np.random.default_rng(0).uniform(-0.1, 0.1, 160_000).astype(np.float32)
recognizer = Recognizer(["rain", "dog barking", "keyword: hello computer"])
scores = [tag.score for tag in recognizer.tag(samples, 16_000)]
done = threading.Event()

def tag_on():
    while not done.is_set():
        recognizer.tag(samples, 16_000)

threads = [threading.Thread(target=tag_on) for _ in range(2)]
for thread in threads:
    thread.start()
for number in range({FORKS}):
    time.sleep(0.05 + 0.03 * number)
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs ends
        again = [tag.score for tag in recognizer.tag(samples, 16_000)]
        labels = Recognizer(["rain", "dog barking", "keyword: hello computer"]).labels
        os._exit(0 if np.allclose(again, scores, atol=1e-4) and len(labels) == 3 else 3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
done.set()
for thread in threads:
    thread.join()
print("parent went on")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.skipif(sys.platform == "darwin", reason="Apple's own libraries do not work after a fork")
def test_a_fork_while_other_threads_tag_works() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ran.stdout.split("\n") == ["0"] * FORKS + ["parent went on", ""], ran.stderr
