"""Every family of CTC checkpoints that transformers has, on small random ones: samples or spectrograms in."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ctc_checkpoint import FRAMES_S, make

from zsaudio.errors import LabelError
from zsaudio.models.speech.ctc import CtcCheckpoint
from zsaudio.recognizer import Recognizer


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


@pytest.mark.parametrize("family", FRAMES_S)
def test_a_family(family: str, tmp_path: Path) -> None:
    network, processor = make(tmp_path, family)
    samples = noise(2.0)
    with torch.inference_mode():
        inputs = processor(audio=samples, sampling_rate=16_000, return_tensors="pt")
        logits = network(**inputs).logits[0]
    model = CtcCheckpoint(str(tmp_path))
    assert model.frame_s == pytest.approx(FRAMES_S[family])
    (found,) = model.log_probs([samples])
    blank = network.config.pad_token_id
    expected = torch.log_softmax(logits, dim=-1).numpy()
    expected = np.hstack([expected[:, [blank]], np.delete(expected, blank, axis=1)])
    shared = min(len(found), len(expected))
    assert abs(len(found) - len(expected)) <= 3
    assert np.abs(found[:shared] - expected[:shared]).max() < 1e-4

    recognizer = Recognizer(["keyword: hey computer"], keyword_model=model)
    for seconds in (0.01, 0.3, 12.0):
        (tag,) = recognizer.tag(noise(seconds), 16_000)
        assert 0 <= tag.score <= 1
    if family in ("Parakeet", "Lasr"):
        tokens = {number: token for token, number in model._number.items()}
        (way,) = model.symbols("Hey, computer!")
        assert [tokens[number] for number in way] == ["▁hey", "▁com", "pu", "ter"]
        with pytest.raises(LabelError, match="cannot spell it"):
            model.symbols("jazz")
