"""A small CLAP checkpoint with random weights, as laion's are laid out."""

from pathlib import Path

import numpy as np

SAMPLE_RATE = 48_000


def save_clap_checkpoint(folder: Path, truncation: str) -> Path:
    """Save a random ``ClapModel`` and its processor to ``folder``, which is returned.

    ``truncation`` is ``rand_trunc`` (Slaney mel, unfused model) or ``fusion`` (HTK mel, fused model).
    """
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, RobertaTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    # Byte-level, without merges: a vocabulary that can spell anything and needs no file.
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *bytes_to_unicode().values(), "<mask>"]
    tokenizer = RobertaTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[])
    fusion = truncation == "fusion"
    config = ClapConfig(
        text_config={
            "vocab_size": len(tokens),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 66,
        },
        audio_config={
            "patch_embeds_hidden_size": 16,
            "hidden_size": 128,
            "depths": [2, 2, 2, 2],
            "num_attention_heads": [1, 2, 2, 4],
            "enable_fusion": fusion,
            "fusion_type": "aff_2d" if fusion else None,
        },
        projection_dim=24,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = ClapModel(config)
        # transformers' initialisation is so small that all inputs give nearly the same embedding, and so
        # regular (zero biases, unit norms) that mixed-up weights might go unnoticed.
        with torch.no_grad():
            norm = model.audio_model.audio_encoder.batch_norm
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.uniform_(-60, -20)
            norm.running_var.uniform_(200, 600)
            for parameter in model.parameters():
                if parameter.ndim > 0:
                    spread = (
                        parameter.std() if parameter.ndim > 1 and parameter.std() > 0 else torch.tensor(0.1)
                    )
                    parameter.add_(spread * torch.randn_like(parameter))
    extractor = ClapFeatureExtractor(truncation=truncation)
    model.save_pretrained(folder)
    ClapProcessor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def made_clips() -> list[np.ndarray]:
    """Return clips of several kinds and lengths up to 10 s, at ``SAMPLE_RATE``."""
    rng = np.random.default_rng(11)
    time_s = np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE
    clips = [
        0.3 * np.sin(2 * np.pi * 440 * time_s),
        0.1 * rng.standard_normal(3 * SAMPLE_RATE),
        0.5 * np.sin(2 * np.pi * 200 * 2 ** np.minimum(time_s, 6))[: 6 * SAMPLE_RATE],
        rng.standard_normal(24_000) * np.exp(-np.arange(24_000) / 3000),
        np.sign(np.sin(2 * np.pi * 3 * time_s)) * rng.standard_normal(len(time_s)) * 0.05,
        np.zeros(SAMPLE_RATE),
    ]
    return [clip.astype(np.float32) for clip in clips]
