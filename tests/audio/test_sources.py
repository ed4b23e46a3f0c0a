import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ToneModel, tone
from tone_encoder import ToneEncoder

from zsaudio.audio.reader import load_audio
from zsaudio.audio.sources import source_name, sources_of
from zsaudio.detection.clips import embed_sources
from zsaudio.errors import AudioError
from zsaudio.recognizer import Recognizer

RATE = 16_000
STEREO = np.stack([tone(440, 1.0), tone(1000, 1.0)], axis=1)  # as soundfile reads it


@dataclass
class Decoder:
    """Stands for torchcodec's ``AudioDecoder``."""

    samples: np.ndarray

    def get_all_samples(self) -> SimpleNamespace:
        return SimpleNamespace(data=torch.from_numpy(self.samples)[None], sample_rate=RATE)


def forms(path: Path) -> dict[str, tuple[Any, int | None]]:
    """The same recording in every form that a source may have, each with its rate."""
    samples, content = tone(440, 1.0), path.read_bytes()
    return {
        "str": (str(path), None),
        "Path": (path, None),
        "function": (lambda: path, None),
        "file object": (io.BytesIO(content), None),
        "bytes": (content, None),
        "bytearray": (bytearray(content), None),
        "array": (samples, RATE),
        "list": (samples.tolist(), RATE),
        "tensor": (torch.from_numpy(samples), RATE),
        "tensor (1, n)": (torch.from_numpy(samples)[None], RATE),
        "tensor with a gradient": (torch.from_numpy(samples.copy()).requires_grad_(), RATE),
        "float16 tensor": (torch.from_numpy(samples).half(), RATE),
        "int16 tensor": ((torch.from_numpy(samples) * 32768).to(torch.int16), RATE),
        "decoded dict": ({"path": "a.wav", "array": samples, "sampling_rate": RATE}, None),
        "dict with a tensor": ({"array": torch.from_numpy(samples)[None], "sampling_rate": RATE}, None),
        "dict of bytes": ({"bytes": content, "path": None}, None),
        "torchcodec decoder": (Decoder(samples), None),
        "dict of a path": ({"bytes": None, "path": str(path)}, None),
    }


FORMS = list(forms(Path(__file__)))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same(form: str, write_wav: Callable[..., Path]) -> None:
    path = write_wav("a.wav", tone(440, 1.0))
    source, rate = forms(path)[form]
    samples, got_rate = load_audio(source, source_rate=rate)
    assert got_rate == RATE
    np.testing.assert_allclose(samples, tone(440, 1.0), atol=3e-4)
    recognizer = Recognizer(["440", "1000"], ToneModel())
    assert recognizer.tag(forms(path)[form][0], rate)[0].label == "440"
    assert [event.label for event in recognizer.detect(forms(path)[form][0], rate)] == ["440"]
    (outputs,) = embed_sources(ToneEncoder(), [forms(path)[form][0]], 2, sample_rate=rate)
    assert outputs.error is None and len(outputs.windows) == 1


def test_channels_come_first_where_people_write_them_so() -> None:
    first_channel = tone(440, 1.0)
    for source, rate in (
        (STEREO, RATE),
        (torch.from_numpy(STEREO.T.copy()), RATE),
        ({"array": STEREO.T, "sampling_rate": RATE}, None),
    ):
        samples, _ = load_audio(source, source_rate=rate, channel=0)
        np.testing.assert_array_equal(samples, first_channel)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, '<dict>: a dict needs "array" and "sampling_rate", or "bytes", or "path"'),
        ({"path": "a.wav", "array": np.zeros(3)}, "a.wav: a dict with an array needs its sampling_rate"),
        ({"path": "none.wav"}, "none.wav: no such file"),
        (b"", r"<bytes>: the file is empty \(0 bytes\)"),
        (torch.zeros(3), "<array>: an array needs its sample_rate"),
        (None, "<array>: an array needs its sample_rate"),
        ("https://example.org/a.wav", "https://example.org/a.wav: is a URL; download it first"),
        (Path("https://example.org/a.wav"), "is a URL; download it first"),
        ("s3://bucket/a.wav", "is a URL; download it first"),
        ("2026-01-31T05:30:00.m4a", "no such file"),
        ("C:/a.wav", "no such file"),
        ("a\0b.wav", "cannot be read"),
    ],
)
def test_wrong_sources(source: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message) as caught:
        load_audio(source)
    assert "\n" not in str(caught.value)


def test_a_rate_is_given_once() -> None:
    for source in ({"array": np.zeros(3), "sampling_rate": RATE}, b"x", "a.wav", io.BytesIO()):
        with pytest.raises(AudioError, match="leave sample_rate out"):
            load_audio(source, source_rate=RATE)
    with pytest.raises(AudioError, match=r"torch.Size\(\[100, 2\]\) has more channels than samples"):
        load_audio(torch.zeros(100, 2), source_rate=RATE)


@pytest.mark.parametrize(
    "source",
    ["a.wav", Path("a.wav"), b"RIFF", io.BytesIO(), {"path": "a.wav"}, np.zeros(9), torch.zeros(9), None, 3],
)
def test_one_recording_is_not_a_batch(source: Any) -> None:
    recognizer = Recognizer(["440"], ToneModel())
    for batch in (recognizer.tag_batch, recognizer.detect_batch, sources_of):
        with pytest.raises(AudioError, match="is one recording; a batch needs a list of them"):
            batch(source)


def test_names() -> None:
    assert source_name(Path("a") / "b.wav") == str(Path("a") / "b.wav")
    assert source_name(io.BytesIO()) == "<file object>"
    assert source_name(np.zeros(1)) == source_name(torch.zeros(1)) == "<array>"
    assert source_name({"array": np.zeros(1)}) == "<dict>"
    assert source_name({"array": np.zeros(1), "path": "x.wav"}) == "x.wav"
