"""Events in what was heard are those of listening anew."""

import numpy as np
import pytest
from conftest import ToneModel, tone
from tone_encoder import ToneEncoder

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.recognizer import Recognizer

CLIP = np.concatenate([tone(440, 1.3), np.zeros(20_000), tone(1000, 2.0), tone(440, 3.1)]).astype(np.float32)


@pytest.mark.parametrize("options", [DetectionOptions(), DetectionOptions(threshold=0.9, smooth_s=0.0)])
def test_other_options_need_no_listening(options: DetectionOptions) -> None:
    model = ToneModel()
    recognizer = Recognizer(["440", "1000"], model)
    passed: list[float] = []
    heard = recognizer.hear(CLIP, 16_000, on_seconds=passed.append)
    assert passed == sorted(passed)
    assert passed[-1] == pytest.approx(len(CLIP) / 16_000)
    n_batches = len(model.batches)
    found = recognizer.detect_heard(heard, options=options)
    assert found is not None
    assert len(model.batches) == n_batches
    assert list(found.events) == recognizer.detect(CLIP, 16_000, options=options)


def test_other_labels_need_listening_without_embeddings() -> None:
    recognizer = Recognizer(["440"], ToneModel())
    heard = recognizer.hear(CLIP, 16_000)
    assert recognizer.with_labels(["1000"]).detect_heard(heard) is None


def test_embeddings_serve_other_labels() -> None:
    recognizer = Recognizer(["440"], ToneEncoder())
    heard = recognizer.hear(CLIP, 16_000)
    other = recognizer.with_labels(["1000", "440"])
    found = other.detect_heard(heard)
    assert found is not None and found.events
    assert list(found.events) == other.detect(CLIP, 16_000)
    assert other.with_labels(["keyword: a"]).detect_heard(heard) is None
