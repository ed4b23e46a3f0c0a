"""CLAP through transformers: any ``ClapModel`` checkpoint, fused or unfused, by hub id or folder.

Audio: a window of up to 10 s is one frame, and its embedding is that of transformers (``audio.py``).

Text: embeddings are cached on disk. The audio tower and the text tower (four fifths of the weights) are
loaded separately, each when it is first needed, and the text tower is dropped after use. With cached labels
it is never loaded.

Logits: CLAP was trained to tell captions apart, so ``scale * cosine`` says which caption fits better, not
whether one fits. For log-odds, a label is compared with a few prompts of generic background::

    logit = scale * cos(audio, label) - log(mean(exp(scale * cos(audio, background prompts))))

The sigmoid of that is CLAP's own softmax between the label and the background. What is subtracted is the same
for all labels, so a softmax over labels is exactly CLAP's own. How well the sigmoid is calibrated depends on
the checkpoint, and has not been measured.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from zsaudio.errors import ModelError
from zsaudio.labels import LabelSet
from zsaudio.models.base import EmbeddingBank, LabelBank, LogitsByComparing, mean_of_prompts, own_bank
from zsaudio.models.checkpoint import find_checkpoint, fingerprint, importing_transformers, load_part
from zsaudio.models.clap.audio import ClapAudio
from zsaudio.models.clap.gpu import resample_margin, resamples_on
from zsaudio.models.device import explain_out_of_memory, resolve_device, resolve_dtype
from zsaudio.models.text_cache import TextCache
from zsaudio.models.threads import shared_threads

# Prompts for background without any particular sound, worded positively since CLAP does not understand "no
# sound". None of them names a source, so hardly any label competes with them; a label that does ("silence")
# can still score above 0.5, because of the mean over all prompts.
BACKGROUND = (
    "This is a sound of silence.",
    "This is a sound of background noise.",
    "This is a sound of room tone.",
    "This is a sound of ambient noise.",
    "This is a sound of static hiss.",
)
_TEXT_BATCH = 16


class Clap(LogitsByComparing):
    """A CLAP checkpoint as an ``Encoder``.

    Parameters
    ----------
    source
        Hugging Face id, or folder, of a ``ClapModel`` checkpoint with its processor.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    dtype
        Precision of the audio tower: ``float32``, ``bfloat16``, ``float16`` (on a GPU), or ``auto``, which is
        bfloat16 where the device has it natively and it hardly changes the embeddings, else float32.

    Raises
    ------
    ModelError
        If the checkpoint cannot be found, downloaded or loaded.
    """

    # LAION's own template and transformers' default: the exclusive scores are those of its pipeline.
    templates = ("This is a sound of {}.",)
    context_s = 0.0

    def __init__(self, source: str, device: str = "cpu", dtype: str = "auto") -> None:
        self.name = source
        self.device = resolve_device(device)
        self._dtype = resolve_dtype(dtype, self.device, auto=None)
        self._folder = find_checkpoint(source)
        with importing_transformers():
            from transformers import ClapConfig, ClapFeatureExtractor
        self._config = load_part(ClapConfig, self._folder)
        self._extractor = extractor = load_part(ClapFeatureExtractor, self._folder)
        if extractor.padding != "repeatpad":
            raise ModelError(f"{self._folder}: pads by {extractor.padding!r}, zsaudio only by 'repeatpad'")
        self.dim: int = self._config.projection_dim
        self.sample_rate: int = extractor.sampling_rate
        self.window_s = self.frame_s = float(extractor.max_length_s)
        self._cache = TextCache(fingerprint(self._folder))

    def embed_labels(self, labels: LabelSet) -> EmbeddingBank:
        """Return a bank of label embeddings ``(n_labels, dim)``, each the mean over the label's prompts."""
        prompts = labels.prompts(self.templates)
        # In one go with the background, so that the text tower is loaded at most once.
        encoded = self.encode_text([*BACKGROUND, *(prompt for group in prompts for prompt in group)])
        means = mean_of_prompts(encoded[len(BACKGROUND) :], prompts)
        return EmbeddingBank(labels.names, means / np.linalg.norm(means, axis=1, keepdims=True))

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return the log-odds ``(n_frames, n_labels)`` of each label against generic background."""
        labels = own_bank(bank, EmbeddingBank).embeddings
        background, scale = self.background, self.scale
        logits = []
        for embedding in embeddings:
            reference = scale * embedding @ background.T
            peak = reference.max(axis=1, keepdims=True)
            reference_logit = peak + np.log(np.exp(reference - peak).mean(axis=1, keepdims=True))
            logits.append((scale * embedding @ labels.T - reference_logit).astype(np.float32))
        return logits

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the embedding ``(1, dim)``, unit norm."""
        return list(self._audio(windows)[:, None]) if len(windows) else []

    def resample_margin(self, sample_rate: int) -> int | None:
        """Return how much of a recording ``encode_audio`` needs on either side of a window to resample it.

        None: it takes windows at its own rate only, as without a GPU and torchaudio.
        """
        return resample_margin(sample_rate, self.sample_rate) if resamples_on(self.device) else None

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the embeddings ``(n_prompts, dim)``, unit norm; those not seen before are cached on disk."""
        if not len(prompts):
            return np.zeros((0, self.dim), np.float32)
        return self._cache.look_up(prompts, self._embed_text)

    @property
    def scale(self) -> float:
        """What cosines are multiplied by."""
        return float(self._audio.scale)

    @property
    def background(self) -> np.ndarray:
        """The embeddings of generic background, ``(n_prompts, dim)``."""
        return self.encode_text(BACKGROUND)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the audio tower: what was asked for, or what was found best."""
        return self._audio.dtype

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the audio tower when pickled: the other process loads it from the folder when needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_audio"}

    @cached_property
    def _audio(self) -> ClapAudio:
        tower = load_part(_audio_tower_class(), self._folder, config=self._config.audio_config)
        return ClapAudio(tower, self._extractor, self.device, self._dtype)

    def _embed_text(self, prompts: list[str]) -> np.ndarray:
        """Return the embeddings ``(n_prompts, dim)`` of prompts, unit norm, from the text tower."""
        from transformers import AutoTokenizer, ClapTextModelWithProjection

        config = self._config.text_config
        tokenizer = load_part(AutoTokenizer, self._folder)
        tower = load_part(ClapTextModelWithProjection, self._folder, config=config)
        # Positions count from the padding token's id on.
        max_length = min(tokenizer.model_max_length, config.max_position_embeddings - config.pad_token_id - 1)

        @torch.inference_mode()
        def embed(batch: list[str]) -> Tensor:
            tokens = tokenizer(
                batch, padding=True, truncation=True, max_length=max_length, return_tensors="pt"
            ).to(self.device)
            embeddings: Tensor = tower(tokens["input_ids"], tokens["attention_mask"]).text_embeds
            return embeddings.cpu()

        batches = [prompts[start : start + _TEXT_BATCH] for start in range(0, len(prompts), _TEXT_BATCH)]
        with explain_out_of_memory(self.device):
            tower.to(self.device)
            return normalize(torch.cat(list(shared_threads().map(embed, batches))), dim=-1).numpy()


def _audio_tower_class() -> Any:
    from transformers import ClapAudioModelWithProjection

    class AudioTower(ClapAudioModelWithProjection):  # type: ignore[no-untyped-call]
        """The audio half of a checkpoint, with the scale of its logits."""

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.logit_scale_a = torch.nn.Parameter(torch.zeros(()))

    return AudioTower
