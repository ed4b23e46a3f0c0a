"""Any audio classifier of transformers, opened to any label by the meaning of its class names.

A label is scored by the classes whose names are nearest to it: its log-odds are the mean of their log-odds,
weighted by ``softmax(SHARPNESS * cosine)`` of text embeddings (ConSE: Norouzi et al., Zero-shot learning by
convex combination of semantic embeddings, ICLR 2014, turned around). The text embeddings are those of nano's
bundled text encoder.

Conventions: a window's embedding is the log-odds of all classes, ``(1, n_classes)`` float32; a label's is its
weights, ``(n_labels, n_classes)``, which sum to one. For a classifier of exactly one class per clip (softmax)
the log-odds of a class are those of its probability.
"""

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from zsaudio.errors import ModelError
from zsaudio.labels import LabelSet
from zsaudio.models.base import EmbeddingBank, LabelBank, LogitsByComparing, mean_of_prompts, own_bank
from zsaudio.models.checkpoint import Kind, find_checkpoint, importing_transformers, load_part, read_config
from zsaudio.models.device import explain_out_of_memory, resolve_device
from zsaudio.models.nano.nano import GUESS_BELOW, SHARPNESS, Nano
from zsaudio.models.registry import CLASSIFIERS

CLASSIFIER = Kind(
    "audio classification",
    CLASSIFIERS,
    "--model nano, the bundled one",
    needs_tokenizer=False,
)
N_AUDIOSET = 527  # classes of AudioSet, whose checkpoints often leave out that several may be true at once
_SHORTEST_S = 0.1  # a shorter window is padded: the convolutions of some families need as much
_WINDOW_S = 10.0  # of a family that takes windows of any length


class Classifier(LogitsByComparing):
    """A checkpoint of transformers' ``...ForAudioClassification`` family as an ``Encoder``.

    Parameters
    ----------
    source
        Hugging Face id, or folder, of a checkpoint with its feature extractor.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises
    ------
    ModelError
        If the checkpoint cannot be found, downloaded or loaded, or names no classes.
    """

    templates = ("{}",)
    context_s = 0.0
    guess_below = GUESS_BELOW  # as for nano, whose text encoder it uses

    def __init__(self, source: str, device: str = "cpu") -> None:
        self.name = source
        self.device = resolve_device(device)
        self._folder = find_checkpoint(source, CLASSIFIER)
        with importing_transformers():
            from transformers import AutoConfig, AutoFeatureExtractor
        self._config = config = load_part(AutoConfig, self._folder)
        self._extractor = extractor = load_part(AutoFeatureExtractor, self._folder)
        names = [config.id2label[number] for number in sorted(config.id2label)]
        if all(name == f"LABEL_{number}" for number, name in enumerate(names)):
            raise ModelError(f"{self._folder}: its config.json has no id2label with the names of its classes")
        self.known_names = tuple(name.replace("_", " ") for name in names)
        self.dim = len(names)
        problem = config.problem_type
        self.is_multi_label = problem == "multi_label_classification" or (
            problem is None and len(names) == N_AUDIOSET
        )
        self.sample_rate: int = extractor.sampling_rate
        self.window_s = self.frame_s = _longest_window_s(extractor)

    def embed_labels(self, labels: LabelSet) -> EmbeddingBank:
        """Return the weights ``(n_labels, n_classes)``, each the mean over the label's prompts."""
        prompts = labels.prompts(self.templates)
        weights = self.encode_text([prompt for group in prompts for prompt in group])
        return EmbeddingBank(labels.names, mean_of_prompts(weights, prompts))

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return the log-odds ``(1, n_labels)`` for log-odds of classes, ``(1, n_classes)``."""
        weights = own_bank(bank, EmbeddingBank).embeddings
        return [(frames @ weights.T).astype(np.float32) for frames in embeddings]

    @torch.inference_mode()
    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the log-odds of the classes, ``(1, n_classes)``."""
        found = []
        for window in windows:
            samples = np.pad(window, (0, max(0, round(_SHORTEST_S * self.sample_rate) - len(window))))
            inputs = self._extractor(
                samples.astype(np.float32), sampling_rate=self.sample_rate, return_tensors="pt"
            )
            with explain_out_of_memory(self.device):
                logits = self._network(**inputs.to(self.device)).logits.double().cpu()
            if not self.is_multi_label:
                likely = torch.log_softmax(logits, dim=-1)
                logits = likely - torch.log(-torch.expm1(likely)).clamp(min=-50.0)
            found.append(logits.float().numpy())
        return found

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the weights of the classes for each prompt, ``(n_prompts, n_classes)``."""
        sharp = SHARPNESS * self._cosines(prompts)
        weights = np.exp(sharp - sharp.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)

    def nearest(self, texts: Sequence[str], k: int = 3) -> list[list[tuple[str, float]]]:
        """Return for each text the ``k`` nearest class names with their cosine similarity, best first."""
        found = []
        for row in self._cosines(texts):
            best = np.argsort(-row)[:k]
            found.append([(self.known_names[i], float(row[i])) for i in best])
        return found

    @cached_property
    def _network(self) -> Any:
        from transformers import AutoModelForAudioClassification

        return load_part(AutoModelForAudioClassification, self._folder).to(self.device)

    @cached_property
    def _name_embeddings(self) -> np.ndarray:
        return self._sentences(self.known_names)

    def _cosines(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self._sentences(texts) @ self._name_embeddings.T)

    @staticmethod
    def _sentences(texts: Sequence[str]) -> np.ndarray:
        """Return sentence embeddings ``(n_texts, dim)``, unit norm, of nano's text encoder."""
        return _bundled_nano().sentences(texts)


@cache
def _bundled_nano() -> Nano:
    return Nano()


def load_classifier(source: str, device: str, dtype: str) -> Classifier:
    """Load a classifier; a checkpoint of such a family with another head is refused.

    Raises
    ------
    ModelError
        If the checkpoint writes speech down instead, or has no head.
    """
    heads = read_config(source).get("architectures") or ["none"]
    if any(head.endswith("ForCTC") for head in heads):
        raise ModelError(f"{source}: is a {heads[0]} checkpoint, for keywords: use it with --keyword-model")
    if not any(head.endswith("Classification") for head in heads):
        raise ModelError(f"{source}: is a {heads[0]} checkpoint, without a head for audio classification")
    return Classifier(source, device)


def _longest_window_s(extractor: Any) -> float:
    """Return how much audio a feature extractor takes at once, in seconds."""
    if hasattr(extractor, "chunk_length"):  # Whisper
        return float(extractor.chunk_length)
    if isinstance(getattr(extractor, "max_length", None), int):  # AST: frames of 10 ms
        return float(extractor.max_length) / 100
    return _WINDOW_S
