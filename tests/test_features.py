"""The spectrogram is that of transformers' extractor, and float64 is needed for it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from clap_checkpoint import SAMPLE_RATE, made_clips

from zsaudio.features import LogMel

ESC50 = Path(__file__).parents[2] / "shared" / "data" / "esc50"


@pytest.fixture(scope="module")
def real_clips() -> list[np.ndarray]:
    """Return 5 s clips at 48 kHz that were 16 kHz: hardly anything above 8 kHz, the hard case."""
    soundfile, soxr = pytest.importorskip("soundfile"), pytest.importorskip("soxr")
    files = sorted(ESC50.rglob("*.ogg"))[::250]
    if not files:
        pytest.skip("needs ../shared/data/esc50")
    clips = []
    for file in files:
        audio, rate = soundfile.read(file, dtype="float32")
        clips.append(soxr.resample(audio, rate, SAMPLE_RATE))
    return clips


def compare(truncation: str, clips: list[np.ndarray], dtype: torch.dtype) -> float:
    """Return the largest difference in dB between ``LogMel`` and the extractor, on 10 s of each clip."""
    from transformers import ClapFeatureExtractor

    extractor = ClapFeatureExtractor(truncation=truncation)
    filters = extractor.mel_filters if truncation == "fusion" else extractor.mel_filters_slaney
    log_mel = LogMel(torch.from_numpy(filters), 1024, 480, dtype=dtype)
    whole = np.stack([np.resize(clip, 10 * SAMPLE_RATE) for clip in clips])
    expected = extractor(list(whole), sampling_rate=SAMPLE_RATE, return_tensors="pt")["input_features"][:, 0]
    actual = log_mel(torch.from_numpy(whole))
    assert actual.dtype == torch.float32
    assert actual.shape == expected.shape == (len(clips), 1001, 64)
    return (actual - expected).abs().max().item()


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])  # Slaney, HTK
def test_equals_the_extractor_on_real_audio(truncation: str, real_clips: list[np.ndarray]) -> None:
    assert compare(truncation, real_clips, torch.float64) < 1e-3


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
def test_equals_the_extractor_on_made_audio(truncation: str) -> None:
    assert compare(truncation, made_clips(), torch.float64) < 1e-3


def test_float32_shows_its_rounding_noise() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    assert compare("fusion", [tone], torch.float32) > 0.1


def test_a_batch_equals_its_items() -> None:
    log_mel = LogMel(torch.rand(129, 8), 256, 64)
    batch = torch.randn(3, 4000, generator=torch.Generator().manual_seed(0))
    assert log_mel(batch).shape == (3, 1 + 4000 // 64, 8)
    torch.testing.assert_close(log_mel(batch), torch.cat([log_mel(item[None]) for item in batch]))


def test_silence_is_at_the_floor() -> None:
    log_mel = LogMel(torch.ones(129, 1), 256, 64, floor=1e-8)
    torch.testing.assert_close(log_mel(torch.zeros(1, 1000)), torch.full((1, 16, 1), -80.0))


def test_a_full_scale_tone_has_the_power_of_its_peak() -> None:
    """A unit sine on a bin's centre gives n_fft / 4 there (Hann), so that bin holds its square."""
    time = torch.arange(4096) / 4096
    spectrum = LogMel(torch.eye(129), 256, 64)(torch.sin(2 * torch.pi * 16 * 16 * time)[None])
    middle = spectrum[0, 32]
    assert middle.argmax() == 16
    assert middle[16].item() == pytest.approx(20 * np.log10(256 / 4), abs=0.01)
