"""Small audio classifiers with random weights, as transformers lays them out."""

from pathlib import Path
from typing import Any

NAMES = ["Dog", "Rain", "Piano", "Siren", "Glass_breaking"]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
SPEECH: dict[str, Any] = {
    **SIZES,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
FAMILIES = ("ast", "wav2vec2", "whisper", "sew")


def save(folder: Path, family: str, problem: str | None = "multi_label_classification") -> Any:
    import torch
    import transformers as t

    labels: dict[str, Any] = {
        "id2label": dict(enumerate(NAMES)),
        "label2id": {name: i for i, name in enumerate(NAMES)},
        "problem_type": problem,
    }
    extractor: Any = t.Wav2Vec2FeatureExtractor()
    if family == "ast":
        config: Any = t.ASTConfig(**SIZES, max_length=128, num_mel_bins=32, **labels)
        extractor = t.ASTFeatureExtractor(max_length=128, num_mel_bins=32)
    elif family == "whisper":
        config = t.WhisperConfig(
            d_model=32,
            encoder_layers=2,
            encoder_attention_heads=2,
            encoder_ffn_dim=48,
            num_mel_bins=80,
            **labels,
        )
        extractor = t.WhisperFeatureExtractor(feature_size=80)
    elif family == "sew":
        config = t.SEWConfig(**SIZES, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, **labels)
    else:
        config = t.Wav2Vec2Config(**SPEECH, **labels)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model: Any = t.AutoModelForAudioClassification.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return model
