import numpy as np
import pytest
from conftest import tone

from zsaudio.audio.resample import StreamResampler, resample


@pytest.mark.parametrize("rates", [(44_100, 16_000), (8_000, 48_000), (384_000, 16_000), (16_000, 16_000)])
@pytest.mark.parametrize("size", [1, 17, 509, 44_100])
def test_stream_equals_one_shot(rates: tuple[int, int], size: int) -> None:
    samples = np.random.default_rng(1).standard_normal(10_007).astype(np.float32)
    stream = StreamResampler(*rates)
    pieces = [stream.push(samples[at : at + size]) for at in range(0, len(samples), size)]
    pieces.append(stream.push(samples[:0], last=True))
    np.testing.assert_allclose(np.concatenate(pieces), resample(samples, *rates), atol=1e-6)


def test_tone_keeps_frequency_and_amplitude() -> None:
    out = resample(tone(1000, 1.0, 44_100), 44_100, 16_000)
    assert len(out) == 16_000
    np.testing.assert_allclose(out[2000:-2000], tone(1000, 1.0)[2000:-2000], atol=1e-3)


def test_what_the_new_rate_cannot_hold_is_removed() -> None:
    out = resample(tone(20_000, 1.0, 48_000), 48_000, 16_000)
    assert np.abs(out[1000:-1000]).max() < 1e-3
