"""The spectrogram is that of transformers' extractor, and float64 is needed for it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from clap_checkpoint import SAMPLE_RATE, made_clips

from zsaudio.audio.log_mel import LogMel, SlidingLogMel

ESC50 = Path(__file__).parents[3] / "shared" / "data" / "esc50"


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


# --- Windows that overlap ---------------------------------------------------------------------------------

N_SAMPLES = 48_000  # 101 frames of 480 samples, 2 of which at either edge see the mirrored signal


@pytest.fixture
def sliding() -> Iterator[SlidingLogMel]:
    filters = torch.rand(513, 8, generator=torch.Generator().manual_seed(1))
    log_mel = LogMel(filters, 1024, 480, dtype=torch.float64)

    def pad(window: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.pad(window, (0, N_SAMPLES - len(window))))[None]

    with ThreadPoolExecutor(2) as pool:
        yield SlidingLogMel(log_mel, pad, N_SAMPLES, lambda: pool)


def check(sliding: SlidingLogMel, windows: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Compare with spectrograms one by one; return, sorted, how many frames each computation took."""
    expected = [sliding._log_mel(sliding._pad(window))[0] for window in windows]
    taken = []
    whole = LogMel.forward

    def forward(log_mel: LogMel, waveform: torch.Tensor) -> torch.Tensor:
        mel = whole(log_mel, waveform)
        taken.append(mel.shape[1])
        return mel

    with monkeypatch.context() as patch:
        patch.setattr(LogMel, "forward", forward)
        actual = sliding(windows)
    assert len(actual) == len(windows)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    return sorted(taken)


def noise(n_samples: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(2).standard_normal(n_samples)).astype(np.float32)


@pytest.mark.parametrize("hop", [480, 2400, 24_000, 45_120])
def test_shared_frames_are_computed_once(
    sliding: SlidingLogMel, hop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = noise(N_SAMPLES + 4 * hop)
    windows = [audio[start : start + N_SAMPLES] for start in range(0, 5 * hop, hop)]
    head, tail = 5, hop // 480 + 4
    assert check(sliding, windows[:3], monkeypatch) == sorted([101, *[head, tail] * 2])
    assert check(sliding, windows[3:4], monkeypatch) == sorted(
        [head, tail]
    )  # also from call to call, as live
    assert check(sliding, windows[4:], monkeypatch) == sorted([head, tail])


@pytest.mark.parametrize("hop", [24_001, 47_520, 48_000])  # between frames, too little, and no overlap
def test_other_windows_share_nothing(
    sliding: SlidingLogMel, hop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = noise(N_SAMPLES + 2 * hop)
    windows = [audio[start : start + N_SAMPLES] for start in range(0, 3 * hop, hop)]
    assert check(sliding, [*windows, audio[:1000], audio[:1000]], monkeypatch) == [101] * 5


def test_windows_that_look_alike_at_first(sliding: SlidingLogMel, monkeypatch: pytest.MonkeyPatch) -> None:
    silence, late = np.zeros(N_SAMPLES, np.float32), np.zeros(N_SAMPLES, np.float32)
    late[30_000:] = noise(18_000)
    assert check(sliding, [late, silence, late], monkeypatch) == [101, 101, 101]
    assert check(sliding, [late], monkeypatch) == [4, 5]  # the same again: shifted by nothing


def test_an_array_that_is_used_again(sliding: SlidingLogMel, monkeypatch: pytest.MonkeyPatch) -> None:
    window = noise(N_SAMPLES)
    assert check(sliding, [window], monkeypatch) == [101]
    window *= 0.5
    assert check(sliding, [window], monkeypatch) == [101]
