from pathlib import Path

import numpy as np
import pytest
from conftest import tone
from tone_encoder import ToneEncoder

from zsaudio.errors import ModelError
from zsaudio.labels import LabelSet
from zsaudio.models.base import EmbeddingBank, Encoder, KeywordBank, own_bank
from zsaudio.models.clap.clap import Clap
from zsaudio.models.learned.adapted import Adapted
from zsaudio.models.nano.nano import Nano
from zsaudio.models.speech.alignment import Keywords

LABELS = LabelSet(["440", "a dog"])


def adapted(base: Encoder) -> Adapted:
    key = base.encode_audio([tone(440, 1.0, base.sample_rate)])[0].mean(axis=0)
    return Adapted(base, "base", key[None] / np.linalg.norm(key), ("440",))


@pytest.mark.parametrize("kind", ["nano", "clap", "adapted nano", "adapted clap", "tones"])
def test_logits_are_compared_embeddings(kind: str, clap_slaney: Path) -> None:
    base: Encoder = Clap(str(clap_slaney), dtype="float32") if "clap" in kind else Nano()
    model: Encoder = ToneEncoder() if kind == "tones" else adapted(base) if "adapted" in kind else base
    windows = [tone(frequency, 1.5, model.sample_rate) for frequency in (440, 3000)]
    bank = model.embed_labels(LABELS)
    assert bank.names == LABELS.names
    embeddings = model.encode_audio(windows)
    compared, expected = model.compare(embeddings, bank), model.logits(windows, bank)
    assert [logits.shape for logits in compared] == [(len(frames), 2) for frames in embeddings]
    for one, other in zip(compared, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.allclose(compared[0][:, 0], compared[1][:, 0], atol=1e-3)  # or it proves nothing
    assert model.compare([], bank) == []


def test_a_bank_of_another_model_is_refused() -> None:
    nano = Nano()
    bank = adapted(nano).embed_labels(LABELS)
    with pytest.raises(ModelError, match=r"another kind of model.*AdaptedBank, not EmbeddingBank"):
        nano.compare([], bank)
    with pytest.raises(ModelError, match="KeywordBank, not EmbeddingBank"):
        own_bank(KeywordBank(("keyword: hey",), Keywords([[(1,)]], np.zeros(1))), EmbeddingBank)
