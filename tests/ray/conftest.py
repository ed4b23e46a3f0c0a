"""One local Ray for all tests of this folder: its start takes seconds. Or the one that RAY_ADDRESS names."""

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    import ray
    import ray.data

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_worker_niceness", "0")
    own: dict[str, Any] = {"address": "local", "num_cpus": 2, "include_dashboard": False}
    for _ in range(2):
        try:
            ray.init(
                **({} if "RAY_ADDRESS" in os.environ else own), log_to_driver=False, logging_level="ERROR"
            )
            break
        except Exception as error:  # Ray waits 15 s for its own processes, whatever else the machine does
            ray.shutdown()
            reason = str(error).partition("\n")[0]
    else:
        pytest.skip(f"Ray does not start here: {reason}")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()
