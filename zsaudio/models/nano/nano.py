"""nano: the small sound recogniser that ships with zsaudio.

It knows several hundred sounds by name. A label is scored by those whose names are nearest to it in meaning.

- Audio: YAMNet tells 521 classes of AudioSet (``yamnet.py``); its features and a network of our own
  (``tower.py``) tell the fifty classes of ESC-50, instruments, alarms and the like. The embedding of a frame
  says of each sound by how many spreads it is above what is usual, from ``LOWEST`` to ``HIGHEST``; a class of
  AudioSet from ``USUAL`` on, since less than usual, as in noise, is no evidence against a sound.
- Text: a small sentence encoder. A known name weighs ``softmax(SHARPNESS * cosine)`` (ConSE: Norouzi et al.,
  ICLR 2014). A name of AudioSet stands for its class, one that our network learned for its own sound; each,
  less, for those of the other with the nearest names. The embedding of a text is the weight of each sound.
- The log-odds of a label in a frame are ``scale * product + bias``, with the inner product of both; the odds
  of a stretch of audio are the mean of its frames' odds.

Conventions: waveforms are float32 ``(batch, n_samples)`` at 16 kHz. A frame is 0.16 s; it depends on
``context_s`` seconds of audio on either side and on nothing else, so its embedding does not depend on how a
recording is cut.
"""

import json
import math
from collections.abc import Callable, Sequence
from csv import DictReader
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from zsaudio.audio.log_mel import LogMel
from zsaudio.labels import LabelSet
from zsaudio.models.base import EmbeddingBank, LabelBank, LogitsByComparing, mean_of_prompts, own_bank
from zsaudio.models.bundled import Blank, ConvBlock, config_from_dict, load_weights
from zsaudio.models.device import resolve_device, resolve_dtype
from zsaudio.models.nano import yamnet
from zsaudio.models.nano.promise import SoundPromise
from zsaudio.models.nano.tower import Tower, TowerConfig, front_end
from zsaudio.models.packed import pack
from zsaudio.models.threads import shared_threads

WEIGHTS = Path(__file__).parents[1] / "weights" / "nano"
TEMPLATES = ("{}",)
SHARPNESS = 40.0  # of the weights of known names
LOWEST, HIGHEST = -4.0, 12.0  # outputs of rows, in spreads
USUAL = -1.0  # the lowest of AudioSet's classes
GUESS_BELOW = 0.6  # cosine with the nearest known name below which a label is a guess
_PROMPTS = 1024  # embedded at a time, which bounds the memory that many labels take


@dataclass(frozen=True)
class NanoConfig:
    """Sizes that the weights have; stored with them."""

    audioset: int = 521  # known sounds
    own: int = 216
    names: int = 910  # of the known sounds
    vocabulary: int = 30522
    rank: int = 128
    text_dim: int = 384
    text_layers: int = 3
    text_heads: int = 12
    text_hidden: int = 1536
    max_tokens: int = 64

    @property
    def dim(self) -> int:
        """Numbers in an embedding: one for each known sound."""
        return self.audioset + self.own


def logarithm(features: Tensor) -> Tensor:
    """Return ``log(1 + 4 features)``: YAMNet's features are 0 or more, and some a hundred times others."""
    return torch.log1p(4 * features)


class NanoAudio(nn.Module):
    """A waveform in, an embedding per frame out."""

    def __init__(self, config: NanoConfig, mel: yamnet.LogMagnitudes, tower_mel: LogMel) -> None:
        super().__init__()
        self.mel, self.yamnet = mel, yamnet.yamnet()
        self.tower = Tower(TowerConfig(), tower_mel)
        self.audioset_rows = nn.Linear(yamnet.FEATURES, config.audioset)
        self.own_rows = nn.Linear(self.tower.config.dim, config.own)
        self.own_features = nn.Linear(yamnet.FEATURES, config.own, bias=False)

    def features(self, waveform: Tensor) -> Tensor:
        """Return YAMNet's features, ``(batch, frames, 1024)``."""
        frames = max(1, math.ceil(waveform.shape[1] / yamnet.STRIDE))
        end = frames * yamnet.STRIDE - waveform.shape[1]
        mel = self.mel(pad(waveform, (yamnet.LEAD, end)))[:, None, : frames * yamnet.SHORTEN]
        maps: Tensor = self.yamnet(mel.to(self.tower.precision, memory_format=torch.channels_last))
        return maps.to(mel.dtype).mean(3).transpose(1, 2)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return embeddings ``(batch, ceil(n_samples / STRIDE), dim)`` of waveforms."""
        features = self.features(waveform)
        own = self.own_rows(self.tower(waveform)) + self.own_features(logarithm(features))
        return torch.cat([self.classes(features), own.clamp(LOWEST, HIGHEST)], dim=2)

    def classes(self, features: Tensor) -> Tensor:
        """Return what YAMNet's features say of AudioSet's classes, ``(..., audioset)``."""
        outputs: Tensor = self.audioset_rows(features)
        return outputs.clamp(USUAL, HIGHEST)


class NanoText(nn.Module):
    """A small BERT with factorised word embeddings and mean pooling, and the names of known sounds."""

    names: Tensor
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
        self.register_buffer("names", torch.zeros(config.names, dim))  # their sentence embeddings
        self.register_buffer("table", torch.zeros(config.names, config.dim))  # what each stands for

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

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Return the weights of the known sounds, ``(batch, dim)``."""
        return self.weigh(self.sentence(tokens, padding))

    def weigh(self, sentence: Tensor) -> Tensor:
        """Return the weights of the known sounds ``(batch, dim)`` for sentence embeddings."""
        return torch.softmax(SHARPNESS * sentence @ self.names.T, dim=-1) @ self.table


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the token numbers of each text, cut to ``max_tokens`` with the end mark kept."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    return [i if len(i) <= max_tokens else i[: max_tokens - 1] + i[-1:] for i in ids]


class Nano(LogitsByComparing):
    """The bundled sound recogniser: meets ``zsaudio.models.base.Encoder``.

    Parameters
    ----------
    folder
        Where ``model.safetensors``, ``config.json``, ``names.csv``, ``tokenizer.json`` and perhaps
        ``statistics.json`` are; by default the bundled ones.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    dtype
        Precision of the convolutions: ``"auto"`` and ``"float32"`` give the same scores on every computer,
        ``"bfloat16"`` is faster on processors that have it natively, and changes scores a little.
        ``"float16"`` needs a GPU.

    Raises
    ------
    OptionError
        If the device or the precision cannot be used.

    Examples
    --------
    >>> nano = Nano()
    >>> nano.encode_text(["a dog barks"]).shape == (1, nano.dim)
    True
    """

    name = "nano"
    window_s = 10.0
    sample_rate = yamnet.RATE
    frame_s = yamnet.STRIDE / yamnet.RATE
    context_s = max(yamnet.CONTEXT, TowerConfig().context) / yamnet.RATE
    guess_below = GUESS_BELOW
    promise: SoundPromise | None = None  # what is known of its false alarms, where they were measured

    def __init__(self, folder: Path | None = None, device: str = "cpu", dtype: str = "auto") -> None:
        folder = folder or WEIGHTS
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        settings.pop("model_type", None)
        self.scale, self.bias = float(settings.pop("scale")), float(settings.pop("bias"))
        self.config = config = config_from_dict(settings, NanoConfig)
        self.dim, self.parts = config.dim, (config.audioset, config.own)
        weights = load_file(folder / "model.safetensors")
        weights = {name: value.float() for name, value in weights.items()}
        weights["text.words.weight"] *= weights.pop("words.scale")
        self.device = resolve_device(device)
        precision = resolve_dtype(dtype, self.device, auto=torch.float32)
        mel = yamnet.LogMagnitudes(weights.pop("yamnet.filters"))
        tower_mel = front_end(TowerConfig(), weights.pop("mel.filters"))
        with Blank():
            self.audio, self.text = NanoAudio(config, mel, tower_mel), NanoText(config)
        for prefix, tower in (("audio.", self.audio), ("text.", self.text)):
            own = {n.removeprefix(prefix): value for n, value in weights.items() if n.startswith(prefix)}
            load_weights(tower, own, folder)
            tower.to(self.device)
        for module in self.audio.modules():
            if isinstance(module, ConvBlock):
                module.fuse()
        for convolutions in (self.audio.yamnet, self.audio.tower.body, self.audio.tower.collapse):
            convolutions.to(precision)
        if self.device.type == "cpu":
            pack(self.audio)
        self.audio.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        statistics = folder / "statistics.json"
        if statistics.is_file():
            self.promise = SoundPromise.from_dict(
                json.loads(statistics.read_text(encoding="utf-8"))["alarms"]
            )
        with (folder / "names.csv").open(newline="", encoding="utf-8") as handle:
            self.known_names = tuple(row["name"] for row in DictReader(handle))

    def embed_labels(self, labels: LabelSet) -> EmbeddingBank:
        """Embed a label set; a label with several prompts gets the mean of their embeddings."""
        prompts = labels.prompts(TEMPLATES)
        means = mean_of_prompts(self.encode_text([prompt for own in prompts for prompt in own]), prompts)
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

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the embeddings ``(n_prompts, dim)``."""
        return self._by_length(prompts, self.text, self.dim)

    def sentences(self, texts: Sequence[str]) -> np.ndarray:
        """Return the sentence embeddings ``(n_texts, text_dim)``, unit norm."""
        return self._by_length(texts, self.text.sentence, self.config.text_dim)

    def nearest(self, texts: Sequence[str], k: int = 3) -> list[list[tuple[str, float]]]:
        """Return for each text the ``k`` nearest known names with their cosine similarity, best first."""
        cosines = self.sentences(texts) @ np.asarray(self.text.names.cpu()).T
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        return [
            [(self.known_names[name], float(row[name])) for name in own]
            for own, row in zip(best, cosines, strict=True)
        ]

    @torch.inference_mode()
    def _by_length(self, texts: Sequence[str], embed: Callable[[Tensor], Tensor], dim: int) -> np.ndarray:
        """Return what ``embed`` makes of the texts' tokens; texts of one length in tokens share batches."""
        tokens = tokenize(self.tokenizer, texts, self.config.max_tokens)
        by_length: dict[int, list[int]] = {}
        for index, own in enumerate(tokens):
            by_length.setdefault(len(own), []).append(index)
        result = np.empty((len(tokens), dim), np.float32)
        for indices in by_length.values():
            for start in range(0, len(indices), _PROMPTS):
                part = indices[start : start + _PROMPTS]
                batch = torch.tensor([tokens[i] for i in part], device=self.device)
                result[part] = embed(batch).cpu().numpy()
        return result


def load_nano(source: str, device: str, dtype: str) -> Nano:
    """Load nano from a folder, by default the bundled one."""
    return Nano(Path(source) if source else None, device, dtype)
