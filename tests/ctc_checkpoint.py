"""Small CTC networks with random weights, as transformers lays them out."""

import json
from pathlib import Path
from typing import Any

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


def characters(folder: Path) -> Any:
    from transformers import Wav2Vec2CTCTokenizer

    (folder / "made.json").write_text(json.dumps({token: i for i, token in enumerate(CHARACTERS)}))
    return Wav2Vec2CTCTokenizer(folder / "made.json", word_delimiter_token="|")


def make(folder: Path, family: str) -> tuple[Any, Any]:
    """Return a random network of a family and its processor, as ``folder`` holds them."""
    import torch
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
