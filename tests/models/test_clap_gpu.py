"""What CLAP does on a GPU, driven on the processor: the same numbers, and batches that a memory holds."""

import logging
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from clap_checkpoint import made_clips, save_clap_checkpoint
from torch import Tensor

from zsaudio import DetectionOptions, Recognizer
from zsaudio.audio.reader import AudioReader
from zsaudio.audio.resample import resample
from zsaudio.errors import AudioError, ModelError
from zsaudio.evaluation.embeddings import embed_clips
from zsaudio.models.clap import audio as clap_audio
from zsaudio.models.clap import gpu as clap_gpu
from zsaudio.models.clap.audio import ClapAudio
from zsaudio.models.clap.clap import Clap
from zsaudio.models.clap.gpu import Batches, first_batch_size
from zsaudio.results import FrameScores

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["rand_trunc", "fusion"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clap_checkpoint(tmp_path_factory.mktemp("clap"), request.param)


@pytest.fixture
def as_on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], Clap]:
    """Return what loads a model that takes the way of a GPU, to a device that is the processor."""

    def load(checkpoint: Path, dtype: str) -> Clap:
        model = Clap(str(checkpoint), dtype=dtype)
        monkeypatch.setattr(ClapAudio, "_embedder", ClapAudio._on_gpu)
        assert model.dtype is not None  # loads the tower
        monkeypatch.undo()
        return model

    return load


def embed(model: Clap, clips: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(model.encode_audio(clips))


@pytest.mark.parametrize("without_float64", [(), ("cpu",)])
def test_the_numbers_are_those_of_the_processor(
    checkpoint: Path,
    as_on_gpu: Callable[[Path, str], Clap],
    monkeypatch: pytest.MonkeyPatch,
    without_float64: tuple[str, ...],
) -> None:
    monkeypatch.setattr(clap_gpu, "_WITHOUT_FLOAT64", without_float64)
    clips = made_clips()
    expected = embed(Clap(str(checkpoint), dtype="float32"), clips)
    model = as_on_gpu(checkpoint, "float32")
    np.testing.assert_allclose(embed(model, clips), expected, atol=1e-5)
    model._audio._embed.size = 4  # type: ignore[attr-defined]
    np.testing.assert_allclose(embed(model, clips), expected, atol=1e-5)
    with pytest.raises(AudioError, match="480001 samples"):
        embed(model, [clips[0], np.zeros(480_001, np.float32)])


def test_trying_bfloat16_does_not_round_the_weights(
    checkpoint: Path, as_on_gpu: Callable[[Path, str], Clap], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = embed(as_on_gpu(checkpoint, "float32"), made_clips())
    monkeypatch.setattr(clap_audio, "has_bfloat16", lambda _: True)
    monkeypatch.setattr(clap_audio, "_MIN_COSINE", 1.1)
    model = Clap(str(checkpoint))
    monkeypatch.setattr(ClapAudio, "_embedder", ClapAudio._on_gpu)
    assert model.dtype == torch.float32
    np.testing.assert_array_equal(embed(model, made_clips()), expected)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_recordings_are_resampled_where_the_model_is(
    checkpoint: Path,
    as_on_gpu: Callable[[Path, str], Clap],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    rate: int,
) -> None:
    model = as_on_gpu(checkpoint, "float32")
    if find_spec("torchaudio") is None:
        by_soxr = SimpleNamespace(
            resample=lambda rows, a, b, **_: torch.from_numpy(resample(rows[0].numpy(), a, b)[None])
        )
        monkeypatch.setattr(clap_gpu, "_torchaudio", lambda: by_soxr)
    long, short = tmp_path / "long.wav", tmp_path / "short.wav"
    noise = np.random.default_rng(0).standard_normal(rate * 26) * np.hanning(rate * 26)
    soundfile.write(long, 0.1 * np.convolve(noise, np.full(4, 0.25), "same"), rate)
    soundfile.write(short, 0.1 * np.sin(np.arange(3 * rate + 7) / 9), rate)
    labels = ["rain", "a dog"]
    options = DetectionOptions(window_s=10, hop_s=5)
    sources = [long, short, long]

    def listen() -> list[np.ndarray]:
        recognizer = Recognizer(labels, model, batch_size=1)
        frames: list[FrameScores] = []
        tags = [sorted((tag.label, tag.score) for tag in clip.tags) for clip in recognizer.tag_batch(sources)]
        list(recognizer.detect_batch([long], options=options, on_scores=frames.append))
        embedded = [clip.mean() for clip in embed_clips(model, sources, batch_size=1, cache=False)]
        return [
            np.array([[score for _, score in own] for own in tags]),
            np.stack([f.scores for f in frames]),
            *embedded,
        ]

    expected = listen()
    monkeypatch.setattr("zsaudio.models.clap.clap.resamples_on", lambda _: True)
    rates, blocks = set(), AudioReader.blocks

    def blocks_at(reader: AudioReader, sample_rate: int) -> Iterator[np.ndarray]:
        rates.add(sample_rate)
        return blocks(reader, sample_rate)

    monkeypatch.setattr(AudioReader, "blocks", blocks_at)
    for found, wanted in zip(listen(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert rates == {rate}


# --- Batches ---------------------------------------------------------------------------------------------


class Memory:
    """Stands for a device's memory that holds so many windows."""

    def __init__(self, holds: int, error: type[RuntimeError] = torch.cuda.OutOfMemoryError) -> None:
        self.holds, self.error = holds, error
        self.batches: list[int] = []

    def embed(self, windows: Sequence[np.ndarray]) -> Tensor:
        self.batches.append(len(windows))
        if len(windows) > self.holds:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB")
        return torch.from_numpy(np.stack(windows)) * 10


def windows(n_windows: int) -> list[np.ndarray]:
    return [np.array([number, -number], np.float32) for number in range(n_windows)]


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, RuntimeError])  # CUDA's own, and others'
def test_too_large_a_batch_is_halved_once_and_for_all(
    error: type[RuntimeError], caplog: pytest.LogCaptureFixture
) -> None:
    memory = Memory(5, error)
    batches = Batches(memory.embed, CPU, 16)
    with caplog.at_level(logging.WARNING, "zsaudio"):
        rows = batches(windows(21))
        assert [record.getMessage() for record in caplog.records] == [
            "device 'cpu' is out of memory with 16 windows at once: it gets 8 from now on",
            "device 'cpu' is out of memory with 8 windows at once: it gets 4 from now on",
        ]
        assert memory.batches == [16, 8, 4, 4, 4, 4, 4, 1]
        np.testing.assert_array_equal(rows, 10 * np.stack(windows(21)))
        memory.batches.clear()
        np.testing.assert_array_equal(batches(windows(6)), 10 * np.stack(windows(6)))
    assert memory.batches == [4, 2]
    assert batches.size == 4
    assert len(caplog.records) == 2


def test_a_batch_that_was_not_full_is_halved_itself(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(3)
    batches = Batches(memory.embed, CPU, 100)
    np.testing.assert_array_equal(batches(windows(7)), 10 * np.stack(windows(7)))
    assert memory.batches == [7, 3, 3, 1]
    assert len(caplog.records) == 1


def test_not_even_one_window_fits() -> None:
    with pytest.raises(ModelError, match=r"'cpu' is out of memory: close.*bfloat16.*device") as caught:
        Batches(Memory(0).embed, CPU, 2)(windows(3))
    assert "\n" not in str(caught.value)


def test_another_error_is_not_taken_for_out_of_memory() -> None:
    def broken(_: Sequence[np.ndarray]) -> Tensor:
        raise RuntimeError("expected scalar type Float")

    with pytest.raises(RuntimeError, match="scalar type"):
        Batches(broken, CPU, 2)(windows(3))


def test_a_tower_that_does_not_fit(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def to(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(ClapAudio, "_embedder", ClapAudio._on_gpu)
    monkeypatch.setattr(torch.nn.Module, "to", to)
    with pytest.raises(ModelError, match="device 'cpu' is out of memory"):
        Clap(str(checkpoint), dtype="float32").encode_audio(made_clips()[:1])
    with pytest.raises(ModelError, match="device 'cpu' is out of memory"):
        Clap(str(checkpoint)).encode_text(["a prompt that is in no cache"])


@pytest.mark.parametrize(("free_gb", "size"), [(80, 128), (4, 32), (0.3, 2), (0.01, 1)])
def test_batches_follow_the_free_memory(monkeypatch: pytest.MonkeyPatch, free_gb: float, size: int) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (int(free_gb * 2**30), 80 * 2**30))
    assert first_batch_size(torch.device("cuda")) == size
    assert first_batch_size(torch.device("mps")) == 32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_numbers_of_the_processor(checkpoint: Path) -> None:
    clips = made_clips() * 4
    expected = embed(Clap(str(checkpoint), dtype="float32"), clips)
    cosines = (embed(Clap(str(checkpoint), "cuda", "float32"), clips) * expected).sum(axis=1)
    assert cosines.min() > 0.9999
