import csv
import json
import pickle
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from zsaudio.errors import OptionError
from zsaudio.labels import LabelSet
from zsaudio.models.nano.nano import HIGHEST, LOWEST, USUAL, WEIGHTS, Nano

RATE = 16_000
BEEPS = re.compile("alarm|beep")  # a tone may be called so


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


def test_bfloat16_changes_scores_little(nano: Nano, sound: np.ndarray) -> None:
    rough, names = Nano(dtype="bfloat16"), ["siren", "static noise", "rain", "dog", "piano"]
    exact, close = (scores(model, sound[: 3 * RATE], names) for model in (nano, rough))
    assert 0 < np.abs(exact - close).max() < 0.05
    (frames,) = pickle.loads(pickle.dumps(rough)).encode_audio([sound[: 3 * RATE]])
    np.testing.assert_array_equal(frames, rough.encode_audio([sound[: 3 * RATE]])[0])


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("int8", "unknown dtype 'int8': choose one of auto, float32, bfloat16, float16"),
        ("float16", "dtype 'float16' needs a GPU: use 'bfloat16' or 'float32' on a CPU"),
    ],
)
def test_a_precision_that_cannot_be_used(dtype: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Nano(dtype=dtype)


def test_two_runs_are_equal(nano: Nano, sound: np.ndarray) -> None:
    first, second = (nano.encode_audio([sound[: 5 * RATE]])[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(nano.encode_text(["rain"]), Nano().encode_text(["rain"]))


@pytest.mark.parametrize("n_samples", [1, 100, 2560, 2561, 16_000, 160_000])
def test_frames_cover_arrays_of_any_length(nano: Nano, sound: np.ndarray, n_samples: int) -> None:
    (frames,) = nano.encode_audio([sound[:n_samples]])
    assert frames.shape == (-(-n_samples // round(nano.frame_s * RATE)), nano.dim)
    assert frames.dtype == np.float32
    assert frames.min() >= LOWEST and frames.max() <= HIGHEST
    assert frames[:, : nano.config.audioset].min() >= USUAL


def test_weights_of_known_sounds_do_not_depend_on_other_texts(
    nano: Nano, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = ["rain", "a dog barks", "the sound of a car driving past in the rain", "word " * 200, "siren"]
    together = nano.encode_text(prompts)
    assert together.min() >= 0 and (together.sum(axis=1) > 0.999).all()
    for prompt, row in zip(prompts, together, strict=True):
        np.testing.assert_allclose(nano.encode_text([prompt])[0], row, atol=1e-5)
    monkeypatch.setattr("zsaudio.models.nano.nano._PROMPTS", 1)
    np.testing.assert_allclose(nano.encode_text(prompts), together, atol=1e-5)


def test_a_known_name_is_its_sound(nano: Nano) -> None:
    (weights,) = nano.encode_text(["dog"])
    with (WEIGHTS / "names.csv").open(newline="", encoding="utf-8") as handle:
        sounds = {row["name"]: int(row["sound"]) for row in csv.DictReader(handle)}
    assert weights.argmax() == sounds["dog"]
    assert weights[sounds["dog"]] > 0.8


@pytest.mark.parametrize(
    ("name", "like", "share"),
    [
        ("bark", "dog", 0.3),
        ("honk", "car horn", 0.3),
        ("crowing", "rooster", 0.23),
        ("didgeridoo", "dog", 0.0),
    ],
)
def test_a_name_of_audioset_speaks_for_a_like_sound_of_our_own(
    nano: Nano, name: str, like: str, share: float
) -> None:
    embedding, own = nano.encode_text([name])[0], nano.encode_text([like])[0].argmax()
    assert own >= nano.parts[0] > embedding.argmax()
    assert embedding[own] == pytest.approx(share, abs=0.01)


def test_the_nearest_names_come_first(nano: Nano) -> None:
    (found, unknown) = nano.nearest(["a dog barking", "xqzzy"], 3)
    assert len(found) == 3
    assert "dog" in found[0][0]
    assert found[0][1] >= found[1][1] >= found[2][1] > nano.guess_below
    assert unknown[0][1] < nano.guess_below


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
    assert one @ two > 5 * (one @ three)


def test_prompts_of_a_label_are_averaged(nano: Nano) -> None:
    labels = LabelSet(["dog", "rain"], templates=["the sound of {}", "{} outside"])
    rows = nano.encode_text(["the sound of dog", "dog outside", "the sound of rain", "rain outside"])
    means = rows.reshape(2, 2, -1).mean(1)
    bank = nano.embed_labels(labels)
    assert bank.names == ("dog", "rain")
    np.testing.assert_allclose(bank.embeddings, means, atol=1e-6)


def test_logits_are_scaled_products(nano: Nano, sound: np.ndarray) -> None:
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
    names = [n for n in LabelSet.builtin("home").names if "Hz" not in name or not BEEPS.search(n)]
    found = scores(nano, wave[: seconds * RATE].clip(-1, 1).astype(np.float32), names)
    assert found.max() <= 0.5, f"{name} taken for {names[found.argmax()]}"


def test_loading_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    Nano()
    assert torch.equal(torch.get_rng_state(), before)


def test_it_can_be_pickled_after_use(nano: Nano, sound: np.ndarray) -> None:
    (expected,) = nano.encode_audio([sound[:RATE]])
    (found,) = pickle.loads(pickle.dumps(nano)).encode_audio([sound[:RATE]])
    np.testing.assert_array_equal(found, expected)


def test_the_bundle_is_small() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) < 30e6


def test_the_listed_training_clips_are_free() -> None:
    rows = (WEIGHTS / "ATTRIBUTION.csv").read_text(encoding="utf-8").splitlines()
    esc50 = [row for row in rows if ",ESC-50," in row]
    assert len(esc50) == 1770
    assert all(",ESC-50,CC0," in row or ",ESC-50,CC-BY," in row for row in esc50)


def test_the_config_says_what_the_model_says(nano: Nano) -> None:
    settings = json.loads((WEIGHTS / "config.json").read_text(encoding="utf-8"))
    assert nano.dim == settings["audioset"] + settings["own"]
    assert len(nano.known_names) == settings["names"]
    assert nano.frame_s == pytest.approx(0.16)
    assert nano.context_s == pytest.approx(1.706)


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
