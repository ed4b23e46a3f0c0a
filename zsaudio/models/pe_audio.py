"""PE-A-Frame and PE-AV audio: Meta's audio-text models, through transformers (``pe_audio``).

Vyas et al., Pushing the Frontier of Audiovisual Perception with Large-Scale Multimodal Correspondence
Learning, 2025. A frame-level checkpoint (``PeAudioFrameLevelModel``) gives an embedding every 40 ms; a
clip-level one (``PeAudioModel``, and the audio half of ``PeAudioVideoModel``) gives one a window. The
log-odds of a label are ``scale * <audio embedding, label embedding> + bias``: the models were trained with a
sigmoid loss, so independent scores need no background.

Conventions: embeddings are float32 and not of unit norm, as the checkpoint's logits need their length. A
window has at most ``window_s`` seconds; its attention spans all of it, so a frame near an edge is taken from
the neighbouring window (``overlap_s``).
"""

from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zsaudio.errors import ModelError
from zsaudio.labels import LabelSet
from zsaudio.models.base import EmbeddingBank, LabelBank, LogitsByComparing, mean_of_prompts, own_bank
from zsaudio.models.checkpoint import Kind, find_checkpoint, fingerprint, importing_transformers, load_part
from zsaudio.models.device import explain_out_of_memory, has_bfloat16, resolve_device, resolve_dtype
from zsaudio.models.text_cache import TextCache

PE_AUDIO = Kind("PE audio", ("pe_audio", "pe_audio_video"), "--model nano, the bundled one")
_AUDIO_HALF = {r"^audio_model\.": ""}  # names of weights in a PE-AV checkpoint
_TEXT_BATCH = 16


class PeAudio(LogitsByComparing):
    """A checkpoint of transformers' ``pe_audio`` family as an ``Encoder``.

    Parameters
    ----------
    source
        Hugging Face id, or folder, of a checkpoint with its processor.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    dtype
        Precision of the audio tower's transformer (its codec stays in float32): ``float32``, ``bfloat16``,
        ``float16`` (on a GPU), or ``auto``: bfloat16 where the device has it natively, else float32.

    Raises
    ------
    ModelError
        If the checkpoint cannot be found, downloaded or loaded, or the installed transformers lacks the
        family.
    OptionError
        If the device or the precision cannot be used.
    """

    templates = ("{}",)
    window_s = 30.0
    context_s = 0.0
    overlap_s = 4.0

    def __init__(self, source: str, device: str = "cpu", dtype: str = "auto") -> None:
        self.name = source
        self.device = resolve_device(device)
        fast = torch.bfloat16 if has_bfloat16(self.device) else torch.float32
        self.dtype = resolve_dtype(dtype, self.device, auto=fast)
        self._folder = find_checkpoint(source, PE_AUDIO)
        with importing_transformers():
            try:
                from transformers import AutoConfig, PeAudioFeatureExtractor
            except ImportError as error:
                raise ModelError(
                    f"{source} needs a transformers with the pe_audio family: upgrade it to 5.0 or later"
                ) from error
        config = load_part(AutoConfig, self._folder)
        if config.model_type == "pe_audio_video":
            config = config.audio_config
        self._config = config
        self._extractor = extractor = load_part(PeAudioFeatureExtractor, self._folder)
        self.sample_rate: int = extractor.sampling_rate
        self.dim: int = config.text_config.hidden_size
        self._hop: int = config.audio_config.dac_config.hop_length
        self.is_frame_level = "PeAudioFrameLevelModel" in (config.architectures or ())
        self.frame_s = self._hop / self.sample_rate if self.is_frame_level else self.window_s
        self._cache = TextCache(fingerprint(self._folder))

    def embed_labels(self, labels: LabelSet) -> EmbeddingBank:
        """Return a bank of label embeddings ``(n_labels, dim)``, each the mean over the label's prompts."""
        prompts = labels.prompts(self.templates)
        encoded = self.encode_text([prompt for group in prompts for prompt in group])
        return EmbeddingBank(labels.names, mean_of_prompts(encoded, prompts))

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return the log-odds ``(n_frames, n_labels)`` for audio embeddings ``(n_frames, dim)``."""
        scale, bias = (float(value) for value in self._scale_and_bias)
        labels = own_bank(bank, EmbeddingBank).embeddings
        return [(scale * (frames @ labels.T) + bias).astype(np.float32) for frames in embeddings]

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the embeddings ``(n_frames, dim)``, float32.

        On a CPU windows run one by one, each on all cores. A GPU gets those of one length as a batch: padded
        to a common length, a window's embeddings would depend on the padding.
        """
        same: dict[int, list[int]] = {}
        for index, window in enumerate(windows):
            same.setdefault(index if self.device.type == "cpu" else -len(window), []).append(index)
        found: dict[int, np.ndarray] = {}
        for indices in same.values():
            found |= dict(zip(indices, self._encode([windows[i] for i in indices]), strict=True))
        return [found[index] for index in range(len(windows))]

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the embeddings ``(n_prompts, dim)``; those not seen before are cached on disk."""
        return self._cache.look_up(prompts, self._embed_text)

    @cached_property
    def _audio(self) -> Any:
        part = load_part(_audio_part(), self._folder, config=self._config, key_mapping=_AUDIO_HALF)
        part.to(self.device, self.dtype)
        # The codec stays in float32: its many layers of raw samples lose too much in 16 bits.
        embedder = part.audio_encoder.embedder
        embedder.dac_encoder.float()
        embedder.bottleneck.float()
        embedder.data_proj.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(self.dtype),))
        return part

    @cached_property
    def _scale_and_bias(self) -> tuple[Tensor, Tensor]:
        scale, bias = self._audio.text_audio_logit_scale, self._audio.text_audio_logit_bias
        return scale.float().cpu(), bias.float().cpu()

    @torch.inference_mode()
    def _encode(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        samples = [np.asarray(window, np.float32) for window in windows]
        inputs = self._extractor(samples, sampling_rate=self.sample_rate, return_tensors="pt")
        with explain_out_of_memory(self.device):
            outputs = self._audio.audio_encoder(
                input_values=inputs["input_values"].to(self.device),
                padding_mask=inputs["padding_mask"].to(self.device),
            )
            if self.is_frame_level:
                return list(self._audio.audio_head(outputs.last_hidden_state).float().cpu().numpy())
            return list(self._audio.audio_head(outputs.pooler_output).float().cpu().numpy()[:, None])

    @torch.inference_mode()
    def _embed_text(self, prompts: list[str]) -> np.ndarray:
        """Return the embeddings of prompts from the text tower, which is not kept."""
        from transformers import AutoTokenizer

        tokenizer = load_part(AutoTokenizer, self._folder)
        part = load_part(_text_part(), self._folder, config=self._config, key_mapping=_AUDIO_HALF)
        longest = self._config.text_config.max_position_embeddings
        found = []
        with explain_out_of_memory(self.device):
            part.to(self.device)
            for start in range(0, len(prompts), _TEXT_BATCH):
                tokens = tokenizer(
                    prompts[start : start + _TEXT_BATCH],
                    padding=True,
                    truncation=True,
                    max_length=min(tokenizer.model_max_length, longest),
                    return_tensors="pt",
                ).to(self.device)
                # The forward pass takes the hidden state of the first token; ``get_text_audio_embeds`` of
                # transformers 5.23 fails.
                hidden = part.text_model(
                    tokens["input_ids"], attention_mask=tokens["attention_mask"], output_hidden_states=True
                ).hidden_states[-1]
                found.append(part.text_audio_head(hidden[:, 0]).float().cpu())
        return np.asarray(torch.cat(found).numpy(), np.float32)


def _audio_part() -> Any:
    pe: Any = import_module("transformers.models.pe_audio.modeling_pe_audio")

    class AudioPart(pe.PeAudioPreTrainedModel):  # type: ignore[misc]
        """The audio half of a checkpoint, with the scale and bias of its logits."""

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            text_dim = config.text_config.hidden_size
            self.audio_encoder = pe.PeAudioEncoder(config.audio_config)
            self.audio_head = pe.PeAudioContrastiveHead(config.audio_config.hidden_size, text_dim)
            self.text_audio_logit_scale = torch.nn.Parameter(torch.zeros(1))
            self.text_audio_logit_bias = torch.nn.Parameter(torch.zeros(1))
            self.post_init()

    return AudioPart


def _text_part() -> Any:
    from transformers import AutoModel

    auto: Any = AutoModel
    pe: Any = import_module("transformers.models.pe_audio.modeling_pe_audio")

    class TextPart(pe.PeAudioPreTrainedModel):  # type: ignore[misc]
        """The text half of a checkpoint."""

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            text_dim = config.text_config.hidden_size
            self.text_model = auto.from_config(config.text_config)
            self.text_audio_head = pe.PeAudioContrastiveHead(text_dim, text_dim)
            self.post_init()

    return TextPart
