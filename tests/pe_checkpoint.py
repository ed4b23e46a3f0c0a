"""Small PE audio checkpoints with random weights, as Meta's are laid out."""

from pathlib import Path
from typing import Any

SAMPLE_RATE = 48_000


def save_pe_checkpoint(folder: Path, kind: str = "frame") -> Any:
    """Save a random checkpoint and its processor to ``folder``; return the model.

    ``kind`` is ``frame`` (``PeAudioFrameLevelModel``), ``clip`` (``PeAudioModel``), or ``video``
    (``PeAudioVideoModel``).
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        PeAudioConfig,
        PeAudioFeatureExtractor,
        PeAudioFrameLevelModel,
        PeAudioModel,
        PeAudioVideoConfig,
        PeAudioVideoModel,
        PreTrainedTokenizerFast,
        ViTConfig,
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
    text = {
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
    }
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_dim": 16,
    }
    codec = {
        "encoder_hidden_size": 4,
        "downsampling_ratios": [2, 8, 10, 12],
        "codebook_dim": 16,
        "hidden_size": 64,
    }
    audio = {**sizes, "dac_config": codec}
    # Meta's network for pictures would need timm; no picture is looked at.
    pictures = ViTConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2)
    both = {**sizes, "audio_config": audio, "video_config": {**sizes, "vision_config": pictures}}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        if kind == "video":
            whole: Any = PeAudioVideoModel(PeAudioVideoConfig(text_config=text, audio_video_config=both))
        else:
            part = PeAudioFrameLevelModel if kind == "frame" else PeAudioModel
            whole = part(PeAudioConfig(text_config=text, audio_config=audio))
        model = whole.eval()
        with torch.no_grad():
            # so much that logits differ from frame to frame and from text to text
            for parameter in model.parameters():
                parameter.add_(0.12 * torch.randn_like(parameter))
            (model.audio_model if kind == "video" else model).text_audio_logit_scale.fill_(1.0)
    model.save_pretrained(folder)
    PeAudioFeatureExtractor().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model
