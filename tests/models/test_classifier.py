"""Classifiers of transformers, opened to any label, on small random checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classifier_checkpoint import FAMILIES, save
from conftest import tone

from zsaudio.errors import ModelError
from zsaudio.labels import Label, LabelSet
from zsaudio.models.classifier import Classifier
from zsaudio.recognizer import Recognizer


def initials(texts: Sequence[str]) -> np.ndarray:
    """A made-up text encoder: a text means its first letter, and a little its second one."""
    vectors = np.zeros((len(texts), 256), np.float32)
    for vector, text in zip(vectors, texts, strict=True):
        vector[ord(text.casefold()[0]) % 128] += 1.0
        vector[128 + ord(text.casefold()[1]) % 128] += 0.3
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def made_up_meaning(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "bundled" not in request.node.name:
        monkeypatch.setattr(Classifier, "_sentences", staticmethod(initials))


def clips() -> list[np.ndarray]:
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    return [noise, tone(440, 0.7), tone(1000, 0.03)]


def reference(folder: Path, model: Any, clip: np.ndarray) -> np.ndarray:
    import torch
    from transformers import AutoFeatureExtractor

    extractor: Any = AutoFeatureExtractor.from_pretrained(folder)
    with torch.inference_mode():
        return np.asarray(model(**extractor(clip, sampling_rate=16_000, return_tensors="pt")).logits[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_log_odds_of_classes_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    model = save(tmp_path, family)
    classifier = Classifier(str(tmp_path))
    assert classifier.known_names == ("Dog", "Rain", "Piano", "Siren", "Glass breaking")
    for clip, found in zip(clips()[:2], classifier.encode_audio(clips()[:2]), strict=True):
        assert found.shape == (1, 5)
        assert found[0] == pytest.approx(reference(tmp_path, model, clip), abs=1e-5)
    assert np.isfinite(classifier.encode_audio(clips())[2]).all()


def test_windows_are_as_long_as_the_family_takes(tmp_path: Path) -> None:
    lengths = {}
    for family in FAMILIES:
        save(tmp_path / family, family)
        lengths[family] = Classifier(str(tmp_path / family)).window_s
    assert lengths == {"ast": 1.28, "wav2vec2": 10.0, "whisper": 30.0, "sew": 10.0}


def test_one_class_a_clip_gives_log_odds_of_its_probability(tmp_path: Path) -> None:
    model = save(tmp_path, "ast", "single_label_classification")
    (found,) = Classifier(str(tmp_path)).encode_audio(clips()[:1])
    logits = reference(tmp_path, model, clips()[0]).astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum()
    assert 1 / (1 + np.exp(-found[0])) == pytest.approx(probabilities, abs=1e-6)


def test_a_label_is_scored_by_the_nearest_class(tmp_path: Path) -> None:
    save(tmp_path, "ast")
    classifier = Classifier(str(tmp_path))
    bank = classifier.embed_labels(LabelSet(["dog", "rainfall", Label("noise", ("siren", "piano"))]))
    assert bank.embeddings.sum(axis=1) == pytest.approx([1, 1, 1])
    assert bank.embeddings[0, 0] > 0.999 and bank.embeddings[1, 1] > 0.999
    assert bank.embeddings[2, [2, 3]] == pytest.approx([0.5, 0.5], abs=1e-3)
    (classes,) = classifier.encode_audio(clips()[:1])
    (logits,) = classifier.logits(clips()[:1], bank)
    assert logits[0] == pytest.approx([classes[0, 0], classes[0, 1], classes[0, 2:4].mean()], abs=0.01)
    assert np.array_equal(classifier.compare([classes], bank)[0], logits)


def test_nearest_names(tmp_path: Path) -> None:
    save(tmp_path, "ast")
    ((first, second),) = Classifier(str(tmp_path)).nearest(["sirens"], 2)
    assert first[0] == "Siren" and first[1] == pytest.approx(1.0) and second[1] < 0.2


def test_tags_and_events(tmp_path: Path) -> None:
    save(tmp_path, "ast")
    recognizer = Recognizer(["dog", "rain"], Classifier(str(tmp_path)))
    tags = recognizer.tag(clips()[0], 16_000)
    assert {tag.label for tag in tags} == {"dog", "rain"} and all(0 < tag.score < 1 for tag in tags)
    assert recognizer.detect(clips()[0], 16_000) == recognizer.detect(clips()[0], 16_000)


def test_classes_without_names_are_refused(tmp_path: Path) -> None:
    import json

    save(tmp_path, "ast")
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = {str(i): f"LABEL_{i}" for i in range(5)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="no id2label with the names of its classes"):
        Classifier(str(tmp_path))


def test_the_bundled_text_encoder_knows_what_names_mean(tmp_path: Path) -> None:
    save(tmp_path, "ast")
    found = Classifier(str(tmp_path)).nearest(
        ["a puppy barks", "rainfall", "ambulance siren", "a broken window"], 1
    )
    assert [names[0][0] for names in found] == ["Dog", "Rain", "Siren", "Glass breaking"]
    assert all(0.2 < names[0][1] < 1 for names in found)
