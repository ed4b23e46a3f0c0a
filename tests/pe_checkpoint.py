"""Small PE audio checkpoints with random weights, as Meta's are laid out."""

import json
from pathlib import Path
from typing import Any

SAMPLE_RATE = 48_000


def save_pe_checkpoint(folder: Path, kind: str = "frame") -> Any:
    """Save a random checkpoint and its processor to ``folder``; return the model.

    ``kind`` is ``frame`` (``PeAudioFrameLevelModel``), ``clip`` (``PeAudioModel``), or ``video``: the
    weights of the latter under the names that they have in a ``PeAudioVideoModel``.
    """
    import torch
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        PeAudioConfig,
        PeAudioFeatureExtractor,
        PeAudioFrameLevelModel,
        PeAudioModel,
        PreTrainedTokenizerFast,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *bytes_to_unicode().values()]
    spelling = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token="[UNK]"))
    spelling.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    spelling.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=spelling, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )
    config = PeAudioConfig(
        text_config={
            "model_type": "modernbert",
            "vocab_size": len(tokens),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "max_position_embeddings": 64,
            "global_attn_every_n_layers": 2,
            "local_attention": 16,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "cls_token_id": 1,
            "eos_token_id": 2,
            "sep_token_id": 2,
        },
        audio_config={
            "dac_config": {
                "encoder_hidden_size": 4,
                "downsampling_ratios": [2, 8, 10, 12],
                "codebook_dim": 16,
                "hidden_size": 64,
            },
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "head_dim": 16,
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = (PeAudioFrameLevelModel if kind == "frame" else PeAudioModel)(config).eval()
        with torch.no_grad():
            # so much that logits differ from frame to frame and from text to text
            for parameter in model.parameters():
                parameter.add_(0.12 * torch.randn_like(parameter))
            model.text_audio_logit_scale.fill_(1.0)
    model.save_pretrained(folder)
    PeAudioFeatureExtractor().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if kind == "video":
        weights = load_file(folder / "model.safetensors")
        named = {n if n.startswith("text_model.") else f"audio_model.{n}": w for n, w in weights.items()}
        save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
        own = json.loads((folder / "config.json").read_text())
        whole = {
            "model_type": "pe_audio_video",
            "architectures": ["PeAudioVideoModel"],
            "text_config": own["text_config"],
            "audio_video_config": {"audio_config": own["audio_config"]},
        }
        (folder / "config.json").write_text(json.dumps(whole))
    return model
