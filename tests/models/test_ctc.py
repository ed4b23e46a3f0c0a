"""Keywords through checkpoints of transformers, compared with transformers itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from zsaudio.errors import LabelError, ModelError
from zsaudio.models.registry import load_keyword_model
from zsaudio.models.speech.alignment import Aligner
from zsaudio.models.speech.ctc import CtcCheckpoint
from zsaudio.recognizer import Recognizer

CHARACTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
PHONES = [
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
    *"ə ɪ ʃ ŋ ɛ ʌ k m p j uː t ɚ h eɪ a iː s ɔː d i oʊ z ɹ b n tʃ".split(),
]


def save(folder: Path, tokens: list[str]) -> Path:
    """A random wav2vec2 with a vocabulary, as transformers lays it out."""
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    config = Wav2Vec2Config(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16, 16, 16),
        conv_stride=(5, 8, 8),
        conv_kernel=(10, 16, 16),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        pad_token_id=tokens.index("<pad>"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Wav2Vec2ForCTC(config)
        with torch.no_grad():
            model.lm_head.weight.mul_(20)
    model.save_pretrained(folder)
    (folder / "made.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    tokenizer = Wav2Vec2CTCTokenizer(
        folder / "made.json", word_delimiter_token="|" if "|" in tokens else None
    )
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=16_000, do_normalize=True)
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def characters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("characters"), CHARACTERS)


@pytest.fixture(scope="module")
def phones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("phones"), PHONES)


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


def test_the_numbers_are_those_of_transformers(characters: Path) -> None:
    from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

    samples = noise(2.0)
    processor = Wav2Vec2Processor.from_pretrained(characters)
    model = Wav2Vec2ForCTC.from_pretrained(characters).eval()
    with torch.inference_mode():
        inputs = processor(samples, sampling_rate=16_000, return_tensors="pt")
        expected = torch.log_softmax(model(**inputs).logits[0], dim=-1).numpy()
    (found,) = CtcCheckpoint(str(characters)).log_probs([samples])
    assert (len(found), len(expected)) == (100, 98)  # its convolutions do not pad
    assert np.abs(found[: len(expected)] - expected).max() < 1e-5  # the padding token, 0, is blank here


def test_blank_comes_first(phones: Path) -> None:
    model = CtcCheckpoint(str(phones))
    assert model._columns[:3] == [1, 0, 2]
    assert model.log_probs([noise(1.0)])[0].shape == (50, len(PHONES))


def spelled(model: CtcCheckpoint, text: str) -> list[str]:
    names = {number: token for token, number in model._number.items()}
    return [" ".join(names[number] for number in way) for way in model.symbols(text)]


def test_spelling_in_letters(characters: Path) -> None:
    model = CtcCheckpoint(str(characters))
    assert spelled(model, "hey computer!") == ["H E Y | C O M P U T E R"]
    assert spelled(model, "don't") == ["D O N ' T"]
    assert spelled(model, "route 66") == ["R O U T E | S I X T Y | S I X", "R O U T E | S I X | S I X"]
    with pytest.raises(LabelError, match="no letter"):
        model.symbols("привет")


def test_spelling_in_phonemes(phones: Path) -> None:
    model = CtcCheckpoint(str(phones))
    assert spelled(model, "computer") == ["k ə m p j uː t ɚ"]
    assert spelled(model, "zsaudio /z iː ɛ s ɔː d i oʊ/") == ["z iː ɛ s ɔː d i oʊ"]
    with pytest.raises(LabelError, match="has no symbol for 'θ'"):
        model.symbols("x /θ/")


@pytest.mark.parametrize("seconds", [0.01, 0.3, 25.0])
def test_it_listens(characters: Path, seconds: float) -> None:
    recognizer = Recognizer(["keyword: hey computer"], keyword_model=str(characters))
    (tag,) = recognizer.tag(noise(seconds), 16_000)
    assert tag.label == "keyword: hey computer" and 0 <= tag.score <= 1
    assert [event.label for event in recognizer.detect(noise(seconds), 16_000)] in ([], [tag.label])


def test_the_likeliest_text_is_found_where_it_is(characters: Path) -> None:
    """What the checkpoint itself writes down fits without loss, from its first symbol to its last."""
    model = CtcCheckpoint(str(characters))
    (log_probs,) = model.log_probs([noise(3.0)])
    best = log_probs.argmax(axis=1)
    changes = [int(s) for i, s in enumerate(best) if s and (i == 0 or s != best[i - 1])]
    found = Aligner([[tuple(changes)]]).push(log_probs)
    assert found.ratio.max() == 0.0
    assert found.start[found.ratio[:, 0].argmax(), 0] >= np.flatnonzero(best)[0]


def test_what_is_no_checkpoint(clap_slaney: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"not a CTC checkpoint, .* of model type 'clap'"):
        load_keyword_model(str(clap_slaney))
    with pytest.raises(ModelError, match="unknown keyword model 'nope'; known are nano-keyword"):
        load_keyword_model("nope")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"use --keyword-model nano-keyword, the bundled one"):
        load_keyword_model("facebook/no-such-model")
