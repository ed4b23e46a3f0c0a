"""Every family of CTC checkpoints that transformers has, on small random ones: samples or spectrograms in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zsaudio.errors import LabelError
from zsaudio.models.speech.ctc import CtcCheckpoint
from zsaudio.recognizer import Recognizer

CHARACTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
WAVES: dict[str, Any] = {
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 8, 8),
    "conv_kernel": (10, 16, 16),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
PIECES = "<unk> ▁ ▁hey ▁com pu ter h e y c o m p u t r s ▁the".split()
FRAMES_S = {
    "Hubert": 0.02,
    "WavLM": 0.02,
    "UniSpeechSat": 0.02,
    "Data2VecAudio": 0.02,
    "Wav2Vec2Conformer": 0.02,
    "Wav2Vec2Bert": 0.02,
    "Parakeet": 0.08,
    "Lasr": 0.04,
}


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


def characters(folder: Path) -> Any:
    from transformers import Wav2Vec2CTCTokenizer

    (folder / "made.json").write_text(json.dumps({token: i for i, token in enumerate(CHARACTERS)}))
    return Wav2Vec2CTCTokenizer(folder / "made.json", word_delimiter_token="|")


def make(folder: Path, family: str) -> tuple[Any, Any]:
    """Return a random network of a family and its processor, as ``folder`` holds them."""
    import transformers as t

    if family == "Parakeet":
        from tokenizers import Tokenizer, models, pre_tokenizers

        pieces = Tokenizer(models.Unigram([(p, -float(i)) for i, p in enumerate(PIECES)], unk_id=0))
        pieces.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer: Any = t.ParakeetTokenizer(tokenizer_object=pieces, unk_token="<unk>", pad_token="<pad>")
        encoder: Any = t.ParakeetEncoderConfig(**SMALL, subsampling_conv_channels=8)
        config: Any = t.ParakeetCTCConfig(
            encoder_config=encoder.to_dict(), vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id
        )
        processor: Any = t.ParakeetProcessor(t.ParakeetFeatureExtractor(feature_size=80), tokenizer)
    elif family == "Lasr":
        special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
        vocabulary = special + [(p, -float(i)) for i, p in enumerate(PIECES) if i]
        tokenizer = t.LasrTokenizer(vocab=vocabulary, extra_ids=0)
        encoder = t.LasrEncoderConfig(**SMALL, subsampling_conv_channels=8)
        config = t.LasrCTCConfig(encoder_config=encoder.to_dict(), vocab_size=len(tokenizer))
        processor = t.LasrProcessor(t.LasrFeatureExtractor(), tokenizer)
    else:
        kind = getattr(t, f"{family}Config")
        shape: dict[str, Any] = {} if family == "Wav2Vec2Bert" else WAVES
        config = kind(**SMALL, **shape, vocab_size=len(CHARACTERS), pad_token_id=0)
        tokenizer = characters(folder)
        if family == "Wav2Vec2Bert":
            processor = t.Wav2Vec2BertProcessor(t.SeamlessM4TFeatureExtractor(), tokenizer)
        else:
            processor = t.Wav2Vec2Processor(t.Wav2Vec2FeatureExtractor(do_normalize=True), tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = getattr(t, f"{family}ForCTC")(config).eval()
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return network, processor


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
