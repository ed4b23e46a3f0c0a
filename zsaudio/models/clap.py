"""CLAP through transformers: any ``ClapModel`` checkpoint, fused or unfused, by hub id or folder.

Audio. A window of up to 10 s is one frame. It is padded as ``ClapFeatureExtractor`` pads (whole repetitions,
then zeros) and never cropped at random, and no window is flagged as longer than 10 s; so its embedding is
transformers' own, whatever else is in the batch.

Text. Embeddings are cached on disk. The audio and the text tower (four fifths of the weights) are loaded
separately, each when it is first needed, and the text tower is let go after use: with known labels it is
never loaded.

Logits. CLAP was trained to tell captions apart, so ``scale * cosine`` says which caption fits better, not
whether one fits. To make log-odds, a label is compared with a few prompts of generic background::

    logit = scale * cos(audio, label) - log(mean(exp(scale * cos(audio, background prompts))))

so that a sigmoid of it is CLAP's own softmax between the label and the background. What is
subtracted is the same for all labels: a softmax over labels is exactly CLAP's own. How well the sigmoid is
calibrated depends on the checkpoint, and has not been measured.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zsaudio.errors import AudioError, ModelError, OptionError
from zsaudio.features import LogMel
from zsaudio.labels import LabelSet
from zsaudio.models.base import LabelBank
from zsaudio.models.cache import TextCache
from zsaudio.models.checkpoint import find_checkpoint, identity, importing_transformers, load_part
from zsaudio.models.device import resolve_device

# What is heard when nothing in particular is: positive prompts, since CLAP does not understand "no sound".
# None of them names a source, so that hardly any label competes with them; and for one that does ("silence"),
# the mean over all still lets its score pass 0.5.
BACKGROUND = (
    "This is a sound of silence.",
    "This is a sound of background noise.",
    "This is a sound of room tone.",
    "This is a sound of ambient noise.",
    "This is a sound of static hiss.",
)
DTYPES = ("auto", "float32", "bfloat16", "float16")
_PROMPTS_PER_BATCH = 64


class Clap:
    """A CLAP checkpoint as an ``Encoder``.

    Parameters
    ----------
    source
        Hugging Face id, or folder, of a ``ClapModel`` checkpoint with its processor.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    dtype
        Precision of the audio tower: ``auto``, ``float32``, ``bfloat16`` or ``float16``.

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
        if dtype not in DTYPES:
            raise OptionError(f"unknown dtype {dtype!r}: choose one of {', '.join(DTYPES)}")
        self.dtype = torch.float32 if dtype == "auto" else getattr(torch, dtype)
        self._folder = find_checkpoint(source)
        with importing_transformers():
            from transformers import ClapConfig, ClapFeatureExtractor
        self._config = load_part(ClapConfig, self._folder)
        extractor = load_part(ClapFeatureExtractor, self._folder)
        if extractor.padding != "repeatpad":
            raise ModelError(
                f"{self._folder}: padding {extractor.padding!r} is not supported, only 'repeatpad'"
            )
        self.dim: int = self._config.projection_dim
        self.sample_rate: int = extractor.sampling_rate
        self.window_s = self.frame_s = float(extractor.max_length_s)
        self._n_samples: int = extractor.nb_max_samples
        filters = extractor.mel_filters if extractor.truncation == "fusion" else extractor.mel_filters_slaney
        self._log_mel = LogMel(
            torch.from_numpy(filters), extractor.fft_window_size, extractor.hop_length, dtype=torch.float64
        )
        self._cache = TextCache(identity(self._folder))
        self._batch_size = 4 if self.device.type == "cpu" else 32

    def embed_labels(self, labels: LabelSet) -> LabelBank:
        """Return a bank of label embeddings ``(n_labels, dim)``, each the mean over the label's prompts."""
        prompts = labels.prompts(self.templates)
        # In one go with the background, so that the text tower is loaded at most once.
        encoded = self.encode_text([*BACKGROUND, *(prompt for group in prompts for prompt in group)])
        ends = np.cumsum([len(BACKGROUND), *map(len, prompts)])
        means = np.stack([group.mean(axis=0) for group in np.split(encoded, ends)[1:-1]])
        return LabelBank(labels.names, means / np.linalg.norm(means, axis=1, keepdims=True))

    def logits(self, windows: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return per window the log-odds ``(1, n_labels)`` of each label against generic background."""
        background = self.encode_text(BACKGROUND)
        scale = self._audio_tower.logit_scale_a.exp().item()
        logits = []
        for embedding in self.encode_audio(windows):
            reference = scale * embedding @ background.T
            peak = reference.max()
            reference_logit = peak + np.log(np.exp(reference - peak).mean())
            logits.append((scale * embedding @ bank.data.T - reference_logit).astype(np.float32))
        return logits

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the embedding ``(1, dim)``, unit norm."""
        embeddings: list[np.ndarray] = []
        for start in range(0, len(windows), self._batch_size):
            # Spectrograms are made one by one: small enough for the processor's cache, faster than a batch.
            mels = [self._mel(window) for window in windows[start : start + self._batch_size]]
            embeddings.extend(self._encode_mels(torch.cat(mels)).numpy()[:, None])
        return embeddings

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the embeddings ``(n_prompts, dim)``, unit norm; those not seen before are cached on disk."""
        new = [prompt for prompt in dict.fromkeys(prompts) if self._cache.get(prompt) is None]
        if new:
            for prompt, embedding in zip(new, self._embed_text(new), strict=True):
                self._cache.put(prompt, embedding)
        known = [self._cache.get(prompt) for prompt in prompts]
        return np.stack(known) if known else np.zeros((0, self.dim), np.float32)  # type: ignore[arg-type]

    def _mel(self, window: np.ndarray) -> Tensor:
        """Return the spectrogram ``(1, n_frames, n_mels)`` of a window, padded as the extractor does."""
        if not 0 < len(window) <= self._n_samples:
            raise AudioError(f"a window has {len(window)} samples, {self.name} takes 1 to {self._n_samples}")
        repeated = np.tile(window, self._n_samples // len(window))
        padded = np.pad(repeated, (0, self._n_samples - len(repeated)))
        return self._log_mel(torch.from_numpy(padded)[None])

    @torch.inference_mode()
    def _encode_mels(self, mels: Tensor) -> Tensor:
        # A fused model takes four channels, but looks at the last three only where `is_longer` is set.
        is_longer = torch.zeros(len(mels), 1, dtype=torch.bool, device=self.device)
        embeddings = self._audio_tower(
            mels[:, None].to(self.device, self.dtype), is_longer=is_longer
        ).audio_embeds
        return torch.nn.functional.normalize(embeddings.float(), dim=-1).cpu()

    @cached_property
    def _audio_tower(self) -> Any:
        from transformers import ClapAudioModelWithProjection

        class AudioTower(ClapAudioModelWithProjection):
            """The audio half of a checkpoint, with the scale of its logits."""

            def __init__(self, config: Any) -> None:
                super().__init__(config)
                self.logit_scale_a = torch.nn.Parameter(torch.zeros(()))

        return load_part(AudioTower, self._folder, config=self._config.audio_config).to(
            self.device, self.dtype
        )

    @torch.inference_mode()
    def _embed_text(self, prompts: list[str]) -> np.ndarray:
        """Return the embeddings ``(n_prompts, dim)`` of prompts, unit norm, from the text tower."""
        from transformers import AutoTokenizer, ClapTextModelWithProjection

        config = self._config.text_config
        tokenizer = load_part(AutoTokenizer, self._folder)
        tower = load_part(ClapTextModelWithProjection, self._folder, config=config).to(self.device)
        # Positions count from the padding token's id on.
        max_length = min(tokenizer.model_max_length, config.max_position_embeddings - config.pad_token_id - 1)
        embeddings = []
        for start in range(0, len(prompts), _PROMPTS_PER_BATCH):
            batch = prompts[start : start + _PROMPTS_PER_BATCH]
            tokens = tokenizer(
                batch, padding=True, truncation=True, max_length=max_length, return_tensors="pt"
            )
            outputs = tower(tokens["input_ids"].to(self.device), tokens["attention_mask"].to(self.device))
            embeddings.append(torch.nn.functional.normalize(outputs.text_embeds, dim=-1).cpu())
        return torch.cat(embeddings).numpy()
