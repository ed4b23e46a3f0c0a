"""Windows that are resampled where the model is. torchaudio's part runs where that is installed."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from zsaudio.audio.reader import load_audio
from zsaudio.audio.resample import resample
from zsaudio.audio.windows import Excerpt, Window, clip_windower
from zsaudio.errors import AudioError
from zsaudio.models.clap import gpu
from zsaudio.models.clap.gpu import Upload, resample_margin

RATE, LENGTH = 48_000, 480_000
ESC50 = Path(__file__).parents[3] / "shared" / "data" / "esc50"
CPU = torch.device("cpu")
RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 96_000, 192_000)


class Resamples:
    """Stands for a model on a GPU with torchaudio."""

    sample_rate, window_s, frame_s = RATE, 10.0, 10.0

    def resample_margin(self, sample_rate: int) -> int | None:
        return resample_margin(sample_rate, RATE)


def by_soxr(samples: Tensor, source_rate: int, target_rate: int, **_: object) -> Tensor:
    """Stand for torchaudio's ``resample``."""
    rows = [resample(row, source_rate, target_rate) for row in samples.numpy()]
    return torch.from_numpy(np.stack(rows))


@pytest.fixture(params=["soxr", "torchaudio"])
def filtering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Say what resamples."""
    if request.param == "torchaudio":
        pytest.importorskip("torchaudio")
    else:
        monkeypatch.setattr(gpu, "_torchaudio", lambda: SimpleNamespace(resample=by_soxr))
    return str(request.param)


def recording(rate: int, seconds: float) -> np.ndarray:
    """Return noise and a rising tone with soft edges, little of it in the highest tenth of the band."""
    rng = np.random.default_rng(rate)
    time_s = np.arange(round(rate * seconds)) / rate
    noise = np.convolve(rng.standard_normal(len(time_s)), np.hanning(9) / np.hanning(9).sum(), "same")
    edges = np.minimum(1, 100 * np.minimum(time_s, time_s[::-1]))
    return (edges * (0.1 * noise + 0.3 * np.sin(0.6 * min(rate, RATE) * time_s**2 / seconds))).astype(
        np.float32
    )


def cut(samples: np.ndarray, rate: int) -> list[Window]:
    taken_at, windower = clip_windower(Resamples(), rate)
    assert taken_at == rate
    return windower.push(samples) + windower.flush()


@pytest.mark.parametrize("rate", RATES)
def test_windows_are_those_of_the_resampled_recording(rate: int, filtering: str) -> None:
    samples = recording(rate, 23.4567)
    whole = resample(samples, rate, RATE)
    windows = cut(samples, rate)
    assert [(w.start, w.end) for w in windows] == [
        (0, LENGTH),
        (LENGTH, 2 * LENGTH),
        (2 * LENGTH, len(whole)),
    ]
    waveforms = Upload(CPU, RATE, LENGTH)([w.samples for w in windows]).numpy()
    for waveform, w in zip(waveforms, windows, strict=True):
        expected = np.zeros(LENGTH, np.float32)
        n_samples = w.end - w.start
        expected[: LENGTH // n_samples * n_samples] = np.tile(whole[w.start : w.end], LENGTH // n_samples)
        np.testing.assert_allclose(waveform, expected, atol=1e-3)


def test_real_recordings_are_as_the_processor_resamples_them(filtering: str) -> None:
    files = sorted((ESC50 / "audio").glob("*"))[::80]
    if not files:
        pytest.skip("needs ../shared/data/esc50")
    for file in files:
        samples, rate = load_audio(file)
        (window,) = cut(samples, rate)
        waveform = Upload(CPU, RATE, LENGTH)([window.samples])[0].numpy()
        expected = resample(samples, rate, RATE)
        np.testing.assert_allclose(waveform[: len(expected)], expected, atol=1e-3)


def test_a_batch_of_several_rates_and_lengths(filtering: str) -> None:
    recordings = [
        (rate, recording(rate, seconds)) for rate, seconds in ((44_100, 3), (16_000, 0.1), (44_100, 10))
    ]
    windows = [cut(samples, rate)[0].samples for rate, samples in recordings]
    plain = recording(RATE, 7)
    together = Upload(CPU, RATE, LENGTH)([windows[0], plain, *windows[1:]])
    for row, window in zip(together, [windows[0], plain, *windows[1:]], strict=True):
        np.testing.assert_allclose(row, Upload(CPU, RATE, LENGTH)([window])[0], atol=1e-6)
    np.testing.assert_array_equal(together[1, : 7 * RATE], plain)
    assert not together[1, 7 * RATE :].any()


def test_windows_without_samples_or_with_too_many() -> None:
    for n_samples in (0, LENGTH + 1):
        with pytest.raises(AudioError, match=f"has {n_samples} samples, but must have 1 to 480000"):
            Upload(CPU, RATE, LENGTH)([np.zeros(n_samples, np.float32)])
    excerpt = Excerpt(np.zeros(10, np.float32), 16_000, 0, LENGTH + 1)
    with pytest.raises(AudioError, match="has 480001 samples"):
        Upload(CPU, RATE, LENGTH)([excerpt])


def test_rates_with_little_in_common_are_left_to_the_reader() -> None:
    assert resample_margin(44_099, RATE) is None
    assert resample_margin(RATE, RATE) == 0
    assert resample_margin(44_100, RATE) == 93
    assert resample_margin(192_000, RATE) == 369


def test_without_a_gpu_nothing_is_resampled_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not gpu.resamples_on(CPU)
    for torchaudio, expected in ((object(), True), (None, False)):
        monkeypatch.setattr(gpu, "_torchaudio", lambda found=torchaudio: found)
        assert gpu.resamples_on(torch.device("cuda")) is expected
    assert not gpu.resamples_on(torch.device("mps"))
