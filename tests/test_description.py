"""Recordings in sentences."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import tone
from tone_encoder import ToneEncoder

from zsaudio.description import Describer, Description
from zsaudio.models.learned.class_tables import AttributeTable

TABLE = AttributeTable(
    ("800 Hz", "3000 Hz"), ("low", "high", "metal"), np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 1.0]])
)
RANDOM = np.random.default_rng(0)


def describe(*parts: np.ndarray, labels: list[str] | None = None) -> Description:
    describer = Describer(labels or ["400 Hz", "1600 Hz"], ToneEncoder(), attributes=TABLE)
    samples = np.concatenate(parts)
    return describer.describe(
        (samples + 0.001 * RANDOM.standard_normal(len(samples))).astype(np.float32), 16_000
    )


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * 16_000), np.float32)


def test_what_is_heard_when() -> None:
    about = describe(tone(400, 1.0), quiet(4), tone(400, 1.5), quiet(4), tone(1600, 2.0, amplitude=0.05))
    assert about.kind == "sounds" and about.unnamed is None
    assert {sound.label: len(sound.times) for sound in about.sounds} == {"400 Hz": 2, "1600 Hz": 1}
    assert "400 Hz twice, between 0.0 s and" in about.text and "1600 Hz, from" in about.text
    loud = next(sound for sound in about.sounds if sound.label == "400 Hz")
    assert loud.against_rest is not None and loud.against_rest > 3
    assert "dB above the rest" in about.text and about.text.endswith(".")


def test_throughout() -> None:
    wavering = tone(400, 4.0) * (1 + 0.5 * np.sin(np.arange(64_000) / 3000)).astype(np.float32)
    assert describe(wavering).text == "400 Hz, throughout."


def test_what_has_no_name_is_told_by_its_attributes() -> None:
    sound = tone(800, 3.0) * (1 + 0.5 * np.sin(np.arange(48_000) / 3000)).astype(np.float32)
    about = describe(sound, labels=["100 Hz", "5000 Hz"])
    assert about.sounds == () and about.unnamed is not None
    assert about.unnamed.attributes == ("low",)
    assert "it sounds low, and resembles" in about.text


@pytest.mark.parametrize(
    ("samples", "kind", "text"),
    [
        (np.zeros(32_000), "silence", "Silence."),
        (0.1 * RANDOM.standard_normal(32_000), "noise", "Steady noise."),
        (tone(440, 2.0, amplitude=0.1), "tone", "A steady tone of 440 Hz."),
        (tone(5000, 2.0), "tone", "A steady tone of 5000 Hz."),
    ],
)
def test_silence_noise_and_tones(samples: np.ndarray, kind: str, text: str) -> None:
    about = Describer(["400 Hz"], ToneEncoder(), attributes=TABLE).describe(
        samples.astype(np.float32), 16_000
    )
    assert (about.kind, about.text) == (kind, text)


def test_as_json(tmp_path: Path) -> None:
    about = describe(tone(400, 1.0), quiet(4))
    record = json.loads(json.dumps(about.to_dict()))
    assert record["sounds"][0]["label"] == "400 Hz" and record["error"] is None
    failed = Describer(["400 Hz"], ToneEncoder(), attributes=TABLE).describe(tmp_path / "none.wav")
    assert failed.text == "" and "no such file" in str(failed.to_dict()["error"])


def test_the_command(
    zs: Callable[..., object], write_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zsaudio.description.load_model", lambda *_, **__: ToneEncoder())
    write_wav("a.wav", np.concatenate([tone(400, 1.0), quiet(4)]))
    write_wav("b.wav", quiet(1))
    ran = zs("describe", "a.wav", "b.wav", "none.wav", "-l", "400 Hz")
    assert ran.code == 1 and "none.wav: no such file" in ran.err[0]  # type: ignore[attr-defined]
    first, second = ran.out.splitlines()  # type: ignore[attr-defined]
    assert first.startswith("a.wav: 400 Hz, from 0.0 s to") and second == "b.wav: Silence."
    ran = zs("describe", "b.wav", "-l", "400 Hz", "-f", "jsonl")
    assert json.loads(ran.out)["kind"] == "silence"  # type: ignore[attr-defined]
