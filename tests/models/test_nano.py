import csv
import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from zsaudio.labels import LabelSet
from zsaudio.models.learned.class_tables import AttributeTable
from zsaudio.models.nano.nano import WEIGHTS, Nano, tokenize

RATE = 16_000


@pytest.fixture(scope="module")
def nano() -> Nano:
    return Nano()


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """20 s of changing noise bursts and tones: no two seconds are alike."""
    rng = np.random.default_rng(1)
    time = np.arange(20 * RATE) / RATE
    bursts = rng.standard_normal(len(time)) * np.interp(time, np.arange(0, 21, 0.5), rng.uniform(0, 0.2, 42))
    sweep = 0.1 * np.sin(2 * np.pi * (200 + 150 * time) * time)
    return (bursts + sweep).astype(np.float32)


def scores(nano: Nano, wave: np.ndarray, names: Sequence[str]) -> np.ndarray:
    bank = nano.embed_labels(LabelSet(names))
    (logits,) = nano.logits([wave], bank)
    odds = np.logaddexp.reduce(logits, axis=0) - np.log(len(logits))
    return 1 / (1 + np.exp(-odds))


def test_one_stretch_equals_its_pieces(nano: Nano, sound: np.ndarray) -> None:
    (whole,) = nano.encode_audio([sound])
    frame, edge = round(nano.frame_s * RATE), -(-round(nano.context_s * RATE) // round(nano.frame_s * RATE))
    length = round(nano.window_s * RATE) // frame  # 10 s, in whole frames
    compared = np.zeros(len(whole), bool)
    for start in range(0, len(whole) - length + 1, length // 2):
        (piece,) = nano.encode_audio([sound[start * frame : (start + length) * frame]])
        inside = slice(start + edge, start + length - edge)
        np.testing.assert_allclose(piece[edge : length - edge], whole[inside], atol=1e-4)
        compared[inside] = True
    assert compared[edge : length + edge].all()


def test_a_window_does_not_depend_on_its_neighbours(nano: Nano, sound: np.ndarray) -> None:
    lengths = [1, 400, RATE, 3 * RATE, RATE, 10 * RATE, 3 * RATE + 1, RATE]
    windows = [sound[7 * i : 7 * i + n] for i, n in enumerate(lengths)]
    together = nano.encode_audio(windows)
    for window, frames in zip(windows, together, strict=True):
        np.testing.assert_allclose(frames, nano.encode_audio([window])[0], atol=1e-5)


def test_two_runs_are_equal(nano: Nano, sound: np.ndarray) -> None:
    first, second = (nano.encode_audio([sound[: 5 * RATE]])[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(nano.encode_text(["rain"]), Nano().encode_text(["rain"]))


@pytest.mark.parametrize("n_samples", [1, 100, 2560, 2561, 16_000, 160_000])
def test_frames_cover_arrays_of_any_length(nano: Nano, sound: np.ndarray, n_samples: int) -> None:
    (frames,) = nano.encode_audio([sound[:n_samples]])
    assert frames.shape == (-(-n_samples // round(nano.frame_s * RATE)), nano.dim)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(frames, axis=1), 1.0, atol=1e-5)


def test_text_embeddings_have_unit_norm_and_do_not_depend_on_their_neighbours(
    nano: Nano, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = ["rain", "a dog barks", "the sound of a car driving past in the rain", "word " * 200, "siren"]
    together = nano.encode_text(prompts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    for prompt, row in zip(prompts, together, strict=True):
        np.testing.assert_allclose(nano.encode_text([prompt])[0], row, atol=1e-5)
    monkeypatch.setattr("zsaudio.models.nano.nano._PROMPTS", 1)
    np.testing.assert_allclose(nano.encode_text(prompts), together, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("dog barking", "a dog barks", "rain"),
        ("baby crying", "an infant is crying", "a train passes by"),
        ("thunderstorm", "thunder", "typing on a keyboard"),
        ("someone speaks", "a person talking", "glass breaking"),
    ],
)
def test_like_texts_are_close(nano: Nano, text: str, near: str, far: str) -> None:
    one, two, three = nano.encode_text([text, near, far])
    assert one @ two > 0.4
    assert one @ two > one @ three + 0.25


def test_prompts_of_a_label_are_averaged(nano: Nano) -> None:
    labels = LabelSet(["dog", "rain"], templates=["the sound of {}", "{} outside"])
    rows = nano.encode_text(["the sound of dog", "dog outside", "the sound of rain", "rain outside"])
    means = rows.reshape(2, 2, -1).mean(1)
    bank = nano.embed_labels(labels)
    assert bank.names == ("dog", "rain")
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(bank.embeddings, means, atol=1e-6)


def test_logits_are_scaled_cosines(nano: Nano, sound: np.ndarray) -> None:
    bank = nano.embed_labels(LabelSet(["rain", "speech"]))
    (logits,) = nano.logits([sound[:RATE]], bank)
    (frames,) = nano.encode_audio([sound[:RATE]])
    np.testing.assert_allclose(logits, nano.scale * frames @ bank.embeddings.T + nano.bias, atol=1e-4)
    assert logits.dtype == np.float32


def unknown() -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    time = np.arange(10 * RATE) / RATE
    noise = rng.standard_normal(len(time))
    yield "digital silence", 0 * time
    yield "near silence", 1e-4 * noise
    for level in (0.003, 0.03, 0.3):
        yield f"white noise at {level}", level * noise
    for frequency in (440, 1000, 3000):
        for level in (0.03, 0.5):
            yield f"{frequency} Hz at {level}", level * np.sin(2 * np.pi * frequency * time)


@pytest.mark.parametrize(("name", "wave"), [pytest.param(n, w, id=n) for n, w in unknown()])
@pytest.mark.parametrize("seconds", [1, 5, 10])
def test_what_it_does_not_know_it_does_not_claim(
    nano: Nano, name: str, wave: np.ndarray, seconds: int
) -> None:
    names = LabelSet.builtin("home").names
    found = scores(nano, wave[: seconds * RATE].clip(-1, 1).astype(np.float32), names)
    assert found.max() <= 0.5, f"{name} taken for {names[found.argmax()]}"


def test_it_can_be_pickled_after_use(nano: Nano, sound: np.ndarray) -> None:
    (expected,) = nano.encode_audio([sound[:RATE]])
    (found,) = pickle.loads(pickle.dumps(nano)).encode_audio([sound[:RATE]])
    np.testing.assert_array_equal(found, expected)


def test_the_bundle_is_small() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) < 25e6


def test_the_listed_training_clips_are_free() -> None:
    rows = (WEIGHTS / "ATTRIBUTION.csv").read_text(encoding="utf-8").splitlines()
    esc50 = [row for row in rows if ",ESC-50," in row]
    assert len(esc50) == 1770
    assert all(",ESC-50,CC0," in row or ",ESC-50,CC-BY," in row for row in esc50)


def test_the_config_says_what_the_model_says(nano: Nano) -> None:
    settings = json.loads((WEIGHTS / "config.json").read_text(encoding="utf-8"))
    assert nano.sample_rate == settings["sample_rate"]
    assert nano.dim == settings["dim"] + settings["text_dim"] + settings["attributes"] + 1
    assert nano.frame_s == pytest.approx(0.16)
    assert nano.context_s == pytest.approx(2.026)


DATA = Path(__file__).parents[3] / "shared" / "data" / "esc50"


@pytest.mark.skipif(not DATA.exists(), reason="needs the recordings of ESC-50")
def test_it_recognises_recordings_that_it_never_heard(nano: Nano) -> None:
    with (DATA / "esc50.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    names = sorted({row["category"] for row in rows})
    unheard = [row for row in rows if row["licence"] not in ("CC0", "CC-BY")]
    right = 0
    for row in unheard:
        wave, _ = soundfile.read(DATA / row["file"], dtype="float32")
        right += names[scores(nano, wave, names).argmax()] == row["category"]
    assert len(unheard) == 230
    assert right / len(unheard) > 0.8


def test_quiet_frames_say_nothing_of_names_never_learned(nano: Nano) -> None:
    noise = 0.1 * np.random.default_rng(3).standard_normal(3 * RATE)
    noise[int(1.6 * RATE) :] *= 0.01
    bank = nano.embed_labels(LabelSet(["abacus", "cathedral"]))
    (logits,) = nano.logits([noise.astype(np.float32)], bank)
    loud, quiet = logits[2:9], logits[11:16]
    np.testing.assert_allclose(quiet, quiet[0, 0], atol=1e-3)
    assert (loud > quiet[0, 0] + 1).all()
    assert (np.abs(loud[:, 0] - loud[:, 1]) > 0.1).all()


def test_a_name_has_the_attributes_of_names_like_it(nano: Nano) -> None:
    table = AttributeTable.builtin()
    tokens = tokenize(nano.tokenizer, ["a helicopter", "loud helicopter flying"], 64)
    with torch.inference_mode():
        predicted = torch.cat(
            [nano.text.semantic_embedding(nano.text.sentence(torch.tensor([ids]))) for ids in tokens]
        )
    attributes = predicted[:, -len(table.attributes) :].numpy()
    rows = table.values - table.values.mean(axis=0)
    likeness = attributes @ rows.T / np.linalg.norm(rows, axis=1) / np.linalg.norm(attributes[0])
    assert table.names[likeness[0].argmax()] == "helicopter"
    np.testing.assert_allclose(np.linalg.norm(attributes, axis=1), 0.5**0.5, atol=1e-5)
