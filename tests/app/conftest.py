"""A recording for the page and for its endpoints."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import tone


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sounds") / "night.wav"
    soundfile.write(path, np.concatenate([np.zeros(16_000), tone(440, 1.5), np.zeros(16_000)]), 16_000)
    return path
