"""Audio as the content of a file."""

import io
import os
import signal
import time
from types import FrameType
from typing import Any

import numpy as np
import pytest
import soundfile

from zsaudio.audio.encode import encoded


def test_it_holds_the_samples() -> None:
    samples = np.linspace(-0.5, 0.5, 1000)
    read, rate = soundfile.read(io.BytesIO(encoded(samples, 8000, format="FLAC", subtype="PCM_16")))
    assert rate == 8000
    np.testing.assert_allclose(read, samples, atol=2**-15)


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_a_signal_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def write(*arguments: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            time.sleep(0.2)
        except KeyboardInterrupt:  # what a callback of libsndfile does with an exception
            pass

    monkeypatch.setattr(soundfile, "write", write)
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            encoded(np.zeros(10), 8000, format="FLAC", subtype="PCM_16")
    finally:
        signal.signal(signal.SIGTERM, before)
