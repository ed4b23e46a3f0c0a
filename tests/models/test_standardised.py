"""A classifier with its classes on one scale."""

from pathlib import Path

import numpy as np
import pytest
from classifier_checkpoint import NAMES, save
from conftest import Run, tone
from tone_encoder import ToneEncoder

from zsaudio.errors import DataError, ModelError
from zsaudio.labels import Label, LabelSet
from zsaudio.models.classifier import Classifier
from zsaudio.models.known_names import place_labels
from zsaudio.models.learned.standardised import Standardised
from zsaudio.models.registry import load_model

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "ast"
    save(folder, "ast")
    return folder


def test_every_class_gets_the_usual_median_and_spread(folder: Path) -> None:
    base = Classifier(str(folder))
    rng = np.random.default_rng(0)
    scales = np.array([0.5, 1, 2, 4, 8])
    log_odds = rng.normal([-9, -5, -4, -3, 0], scales, (2000, 5))
    model = Standardised.of(base, str(folder), log_odds)
    np.testing.assert_allclose(model.spread, scales, rtol=0.1)
    np.testing.assert_allclose(model.centre, [-9, -5, -4, -3, 0], atol=0.5)
    windows = [tone(440, 1.0), rng.normal(size=RATE).astype(np.float32)]
    for own, theirs in zip(model.encode_audio(windows), base.encode_audio(windows), strict=True):
        expected = np.median(model.centre) + np.median(model.spread) * (theirs - model.centre) / model.spread
        np.testing.assert_allclose(own, expected, rtol=1e-4)
    labels = LabelSet(["dog", "rain"])
    (logits,) = model.logits(windows[:1], model.embed_labels(labels))
    weights = base.encode_text(["dog", "rain"])
    np.testing.assert_allclose(logits, model.encode_audio(windows[:1])[0] @ weights.T, rtol=1e-5)


def test_a_class_that_never_moves_is_not_blown_up(folder: Path) -> None:
    log_odds = np.random.default_rng(0).normal(size=(100, 5)) * [0, 1, 1, 1, 1]
    spread = Standardised.of(Classifier(str(folder)), "", log_odds).spread
    assert spread[0] == pytest.approx(0.2 * np.median(spread[1:]), rel=0.2)


def test_few_windows_and_other_models_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"3 windows of .* are too few"):
        Standardised.of(Classifier(str(folder)), "", np.zeros((3, 5)))
    with pytest.raises(ModelError, match="has no classes to put on one scale"):
        Standardised(ToneEncoder(), "", np.zeros(13), np.ones(13))


def test_calibrate_writes_a_model(zs: Run, folder: Path, tmp_path: Path) -> None:
    import soundfile

    samples = np.random.default_rng(0).normal(size=70 * RATE) * np.repeat(np.linspace(0, 0.3, 70), RATE)
    soundfile.write(tmp_path / "night.wav", samples, RATE)
    ran = zs("calibrate", str(folder), "night.wav", "--classes", "-o", "own")
    assert (ran.code, ran.err) == (0, ["zsaudio: 5 classes on one scale, by 55 windows, written to own"])
    model = load_model(str(tmp_path / "own"))
    assert isinstance(model, Standardised)
    placed = place_labels(model, [Label("dog")])
    assert placed is not None
    name, cosine = placed[0].nearest[0]
    assert name == "Dog"
    assert cosine == pytest.approx(1.0, abs=1e-3)
    found = model.encode_audio([samples[i * RATE : (i + 1) * RATE].astype(np.float32) for i in range(70)])
    medians = np.median(np.concatenate(found), axis=0)
    assert medians.shape == (len(NAMES),)
    assert np.ptp(medians) < np.ptp(model.centre) / 3
    assert zs("calibrate", str(folder), "night.wav", "--classes").code == 2
    assert zs("calibrate", "nano", "night.wav", "--classes", "-o", "other").code == 2
    assert zs("tag", "night.wav", "-l", "dog", "--model", "own", "-q").code == 0
