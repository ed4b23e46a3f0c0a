"""nano: the small sound recogniser that ships with zsaudio.

A convolutional audio tower and a distilled sentence encoder share one embedding space. The audio tower
returns an embedding every ``frame_s`` seconds. A frame depends on at most ``context_s`` seconds of audio on
either side, so its embedding does not depend on how a recording is cut, as long as that context is there.
The tower has two heads: a contrastive one for labels close to a text of the training, and a semantic one for
all others.

Conventions: waveforms are float32 ``(batch, n_samples)`` at 16 kHz; log-mels ``(batch, frames, bands)`` in
dB, 100 frames a second; embeddings have unit norm. The log-odds of a label in a frame are
``scale * cosine + bias``; the odds of a stretch of audio are the mean of the odds of its frames.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, max_pool1d, normalize, pad

from zsaudio.audio import log_mel
from zsaudio.audio.log_mel import LogMel
from zsaudio.labels import LabelSet
from zsaudio.models.base import EmbeddingBank, LabelBank, LogitsByComparing, mean_of_prompts, own_bank
from zsaudio.models.bundled import ConvBlock, config_from_dict, load_weights
from zsaudio.models.device import resolve_device
from zsaudio.models.nano.efficientnet import CHANNELS, REACH, SHORTEN, efficientnet
from zsaudio.models.threads import shared_threads

WEIGHTS = Path(__file__).parents[1] / "weights" / "nano"
TEMPLATES = ("{}",)
SMOOTH = 2  # the semantic head averages this many frames on either side
QUIET_DB = 15.0  # a frame is quiet if it is this much below the loudest frame near it
NEAR = 8  # frames on either side that count as near
SILENCE_DB = -49.0  # a frame is silent below this level, just above the floor of log-mels
ATTRIBUTES = 0.5  # weight of attributes in the semantic embedding; sentence embeddings have the rest
DOUBT = 0.15  # cosine of the semantic head that is neutral: above it counts for a label, below it against
NEARNESS = 0.1  # temperature of the softmax over the names in the table of attributes
MIN_FRAMES = 4  # a shorter array is padded with zeros
_PROMPTS = 1024  # embedded at a time, which bounds the memory that many labels take


@dataclass(frozen=True)
class NanoConfig:
    """Sizes of the two towers; stored with the weights."""

    # front end
    sample_rate: int = 16000
    n_fft: int = 512
    hop_length: int = 160
    n_mels: int = 64
    floor: float = 1e-5
    # audio tower
    head: int = 320
    # text tower
    vocabulary: int = 30522
    rank: int = 128
    text_dim: int = 384
    text_layers: int = 3
    text_heads: int = 12
    text_hidden: int = 1536
    max_tokens: int = 64
    # the shared space: of the contrastive head, beside it that of the semantic head with its weight
    dim: int = 384
    attributes: int = 47  # that the semantic head tells, beside sentence embeddings
    semantic: float = 0.7
    similar: tuple[float, float] = (
        0.6,
        0.8,
    )  # cosines to a learned text: unlike, like

    @property
    def space(self) -> int:
        """Numbers in an embedding: of the two heads, and how far the second is to be doubted."""
        return self.dim + self.text_dim + self.attributes + 1

    @property
    def stride(self) -> int:
        """Samples from one output frame to the next."""
        return self.hop_length * SHORTEN

    @property
    def context(self) -> int:
        """Samples on either side of an output frame that it depends on."""
        return (REACH + SMOOTH * SHORTEN) * self.hop_length + self.n_fft // 2


def mel_filters(config: NanoConfig) -> Tensor:
    """Return the filters of nano's log-mels, ``(n_fft // 2 + 1, n_mels)``."""
    return log_mel.mel_filters(config.sample_rate, config.n_fft, config.n_mels)


def as_image(mel: Tensor) -> Tensor:
    """Return log-mels ``(batch, frames, bands)`` as ``(batch, 1, frames, bands)``, about normal."""
    return ((mel + 20.0) / 22.0).unsqueeze(1).contiguous(memory_format=torch.channels_last)


def smooth(x: Tensor) -> Tensor:
    """Return the running mean of ``(batch, frames, features)`` over ``2 * SMOOTH + 1`` frames."""
    mean = avg_pool1d(x.transpose(1, 2), 2 * SMOOTH + 1, 1, SMOOTH, count_include_pad=False)
    return mean.transpose(1, 2)


def semantic_vector(sentence: Tensor, attributes: Tensor) -> Tensor:
    """Return sentence embeddings and attributes side by side, parts of a unit vector."""
    parts = [
        (1 - ATTRIBUTES) ** 0.5 * normalize(sentence, dim=-1),
        ATTRIBUTES**0.5 * normalize(attributes, dim=-1),
    ]
    return torch.cat(parts, dim=-1)


class NanoAudio(nn.Module):
    """Log-mel front end and a convolutional network: a waveform in, an embedding per frame out."""

    def __init__(self, config: NanoConfig, filters: Tensor) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(filters, config.n_fft, config.hop_length, config.floor)
        self.body = efficientnet()
        self.collapse = ConvBlock(
            CHANNELS, config.head, (1, config.n_mels // SHORTEN), padding=0, activation=nn.ReLU6
        )
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(config.head, config.dim)
        self.semantic = nn.Linear(config.head, config.text_dim + config.attributes)

    def features(self, mel: Tensor) -> Tensor:
        """Return features ``(batch, frames // 16, head)`` of log-mels whose length is a multiple of 16."""
        x: Tensor = self.collapse(self.body(as_image(mel)))
        return x.squeeze(3).transpose(1, 2)

    def embed(self, mel: Tensor) -> Tensor:
        """Return contrastive embeddings ``(batch, frames // 16, dim)`` of log-mels."""
        return normalize(self.out(self.drop(self.features(mel))).float(), dim=-1)

    def loudness(self, mel: Tensor) -> Tensor:
        """Return the loudest band of each frame ``(batch, frames // 16)`` of log-mels, in dB."""
        return mel.amax(2).view(len(mel), -1, self.config.stride // self.config.hop_length).amax(2)

    def quiet(self, mel: Tensor) -> Tensor:
        """Return which frames ``(batch, frames // 16)`` are silent, or much quieter than those near them.

        The semantic head was not trained on silence: its output for pauses between sounds is meaningless.
        """
        loud = self.loudness(mel)
        near = max_pool1d(loud, 2 * NEAR + 1, 1, NEAR)
        quiet: Tensor = (loud < near - QUIET_DB) | (loud < SILENCE_DB)
        return quiet

    def forward(self, waveform: Tensor) -> Tensor:
        """Return embeddings ``(batch, ceil(n_samples / stride), space)`` of both heads."""
        stride = self.config.stride
        frames = max(1, math.ceil(waveform.shape[1] / stride))
        padded = max(frames, MIN_FRAMES) * stride
        mel = self.mel(pad(waveform, (0, padded - waveform.shape[1])))[:, :-1]
        x = self.features(mel)[:, :frames]
        doubt = torch.where(self.quiet(mel)[:, :frames, None], 1.0, DOUBT)
        predicted = self.semantic(smooth(x)).split((self.config.text_dim, self.config.attributes), dim=-1)
        semantic = self.config.semantic * torch.cat(
            [(1 - doubt**2).sqrt() * semantic_vector(*predicted), doubt], dim=-1
        )
        return normalize(torch.cat([normalize(self.out(x), dim=-1), semantic], dim=-1), dim=-1)


class NanoText(nn.Module):
    """A small BERT with factorised word embeddings, mean pooling and a fixed linear map."""

    center: Tensor
    map: Tensor
    known: Tensor
    attribute_names: Tensor
    table: Tensor

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        dim = config.text_dim
        self.words = nn.Embedding(config.vocabulary, config.rank)
        self.expand = nn.Linear(config.rank, dim, bias=False)
        self.positions = nn.Embedding(config.max_tokens, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim,
                config.text_heads,
                config.text_hidden,
                0.0,
                "gelu",
                layer_norm_eps=1e-12,
                batch_first=True,
            )
            for _ in range(config.text_layers)
        )
        self.register_buffer("center", torch.zeros(dim))
        self.register_buffer("map", torch.eye(config.dim, dim))
        self.register_buffer("known", torch.zeros(1, dim))
        self.register_buffer("attribute_names", torch.zeros(1, dim))
        self.register_buffer("table", torch.zeros(1, config.attributes))
        self.similar = config.similar

    def sentence(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Return sentence embeddings ``(batch, text_dim)``; ``padding`` is True where a token is padding."""
        x = self.expand(self.words(tokens)) + self.positions.weight[: tokens.shape[1]]
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padding)
        if padding is None:
            return normalize(x.mean(1), dim=-1)
        keep = (~padding).unsqueeze(2)
        return normalize((x * keep).sum(1) / keep.sum(1), dim=-1)

    def project(self, sentence: Tensor) -> Tensor:
        """Map sentence embeddings into the space shared with audio."""
        return normalize((sentence - self.center) @ self.map.T, dim=-1)

    def semantic_embedding(self, sentence: Tensor) -> Tensor:
        """Return sentence embeddings concatenated with predicted attributes of the sound.

        The attributes are the mean of those of a few hundred everyday sounds (``table``, centred), weighted
        by the similarity of their names (``attribute_names``) with the text. Attributes connect classes as in
        Lampert, Nickisch & Harmeling, CVPR 2009.
        """
        unit = normalize(sentence - self.center, dim=-1)
        weights = torch.softmax(unit @ self.attribute_names.T / NEARNESS, dim=-1)
        return semantic_vector(unit, weights @ self.table)

    def label_embedding(self, sentence: Tensor) -> Tensor:
        """Return embeddings for both heads: the more like a learned text, the more for the first."""
        low, high = self.similar
        learned = (((sentence @ self.known.T).amax(1, keepdim=True) - low) / (high - low)).clamp(0, 1)
        # the last component is compared with the doubt of the audio tower
        semantic = pad(self.semantic_embedding(sentence), (0, 1), value=-1.0) / 2**0.5
        parts = [learned * self.project(sentence), (1 - learned) * semantic]
        return normalize(torch.cat(parts, dim=-1), dim=-1)

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Return embeddings ``(batch, space)`` in the space shared with audio."""
        return self.label_embedding(self.sentence(tokens, padding))


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the token numbers of each text, cut to ``max_tokens`` with the end mark kept."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    return [i if len(i) <= max_tokens else i[: max_tokens - 1] + i[-1:] for i in ids]


class Nano(LogitsByComparing):
    """The bundled sound recogniser: meets ``zsaudio.models.base.Encoder``.

    Parameters
    ----------
    folder
        Where ``model.safetensors``, ``config.json`` and ``tokenizer.json`` are; by default the bundled ones.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Examples
    --------
    >>> nano = Nano()
    >>> nano.encode_text(["a dog barks"]).shape == (1, nano.dim)
    True
    """

    name = "nano"
    window_s = 10.0

    def __init__(self, folder: Path | None = None, device: str = "cpu") -> None:
        folder = folder or WEIGHTS
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        settings.pop("model_type", None)
        self.scale, self.bias = float(settings.pop("scale")), float(settings.pop("bias"))
        self.config = config = config_from_dict(settings, NanoConfig)
        weights = {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}
        weights["text.words.weight"] *= weights.pop("words.scale")
        self.device = resolve_device(device)
        self.audio = NanoAudio(config, weights.pop("mel.filters"))
        self.text = NanoText(config)
        for name in ("known", "attribute_names", "table"):  # their lengths are not in the config
            setattr(self.text, name, weights[f"text.{name}"])
        for prefix, tower in (("audio.", self.audio), ("text.", self.text)):
            own = {
                name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)
            }
            load_weights(tower, own, folder)
            tower.to(self.device)
        for module in self.audio.modules():
            if isinstance(module, ConvBlock):
                module.fuse()
        self.audio.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.sample_rate = config.sample_rate
        self.dim = config.space
        self.frame_s = config.stride / config.sample_rate
        self.context_s = config.context / config.sample_rate

    def embed_labels(self, labels: LabelSet) -> EmbeddingBank:
        """Embed a label set; a label with several prompts gets the mean of their embeddings."""
        prompts = labels.prompts(TEMPLATES)
        means = mean_of_prompts(self.encode_text([prompt for own in prompts for prompt in own]), prompts)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return EmbeddingBank(labels.names, means.astype(np.float32))

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return the log-odds ``(n_frames, n_labels)`` for audio embeddings, ``(n_frames, dim)`` a window.

        By torch, in our threads: NumPy's BLAS would start threads of its own, which stay busy for a while
        after each product and take the CPU from those that decode.
        """
        labels = torch.from_numpy(own_bank(bank, EmbeddingBank).embeddings).T

        def one(frames: np.ndarray) -> np.ndarray:
            return np.asarray(self.scale * (torch.from_numpy(frames) @ labels) + self.bias)

        return list(shared_threads().map(one, embeddings))

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the embeddings ``(n_frames, dim)``.

        On a processor, each window has a thread to itself; on a GPU, windows of one length share a batch.
        """
        if self.device.type == "cpu":
            encoded = shared_threads().map(self._encode, ([window] for window in windows))
            return [frames[0] for frames in encoded]
        by_length: dict[int, list[int]] = {}
        for index, window in enumerate(windows):
            by_length.setdefault(len(window), []).append(index)
        result: list[np.ndarray] = [np.empty(0)] * len(windows)
        for indices in by_length.values():
            for index, frames in zip(indices, self._encode([windows[i] for i in indices]), strict=True):
                result[index] = frames
        return result

    @torch.inference_mode()
    def _encode(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        batch = torch.from_numpy(np.stack(windows).astype(np.float32))
        return np.asarray(self.audio(batch.to(self.device)).cpu())

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the embeddings ``(n_prompts, dim)``; prompts of one length in tokens share batches."""
        tokens = tokenize(self.tokenizer, prompts, self.config.max_tokens)
        by_length: dict[int, list[int]] = {}
        for index, own in enumerate(tokens):
            by_length.setdefault(len(own), []).append(index)
        result = np.empty((len(tokens), self.dim), np.float32)
        for indices in by_length.values():
            for start in range(0, len(indices), _PROMPTS):
                part = indices[start : start + _PROMPTS]
                batch = torch.tensor([tokens[i] for i in part], device=self.device)
                result[part] = self.text(batch).cpu().numpy()
        return result


def load_nano(source: str, device: str, dtype: str) -> Nano:
    """Load nano from a folder, by default the bundled one; it has one precision."""
    return Nano(Path(source) if source else None, device)
