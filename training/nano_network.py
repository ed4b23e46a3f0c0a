"""The network that is trained for nano: its own tower, with a second head for names far from all it learned.

nano knows AudioSet's names by another network, and so leaves the second head out; encoders that must not have
heard ten classes have nothing else for them. Texts and sounds share a space: the contrastive head meets texts
close to a text of the training, the semantic head all others. Embeddings have unit norm.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, max_pool1d, normalize, pad

from zsaudio.models.nano import nano
from zsaudio.models.nano.tower import Tower, TowerConfig, front_end, mel_filters

SMOOTH = 2  # the semantic head averages this many frames on either side
QUIET_DB = 15.0  # a frame is quiet if it is this much below the loudest frame near it
NEAR = 8  # frames on either side that count as near
SILENCE_DB = -49.0  # a frame is silent below this level, just above the floor of log-mels
ATTRIBUTES = 0.5  # weight of attributes in the semantic embedding; sentence embeddings have the rest
DOUBT = 0.15  # cosine of the semantic head that is neutral: above it counts for a label, below it against
NEARNESS = 0.1  # temperature of the softmax over the names in the table of attributes


@dataclass(frozen=True)
class Space:
    """Sizes of the shared space: beside the contrastive head that of the semantic head with its weight."""

    text_dim: int = 384
    attributes: int = 47  # that the semantic head tells, beside sentence embeddings
    semantic: float = 0.7
    similar: tuple[float, float] = (0.6, 0.8)  # cosines to a learned text: unlike, like


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


class TrainedAudio(Tower):
    """The tower with both heads."""

    def __init__(self) -> None:
        config = TowerConfig()
        super().__init__(config, front_end(config, mel_filters(config)))
        self.space = Space()
        self.semantic = nn.Linear(config.head, self.space.text_dim + self.space.attributes)

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
        frames = max(1, math.ceil(waveform.shape[1] / self.config.stride))
        mel = self.log_mels(waveform)
        x = self.features(mel)[:, :frames]
        doubt = torch.where(self.quiet(mel)[:, :frames, None], 1.0, DOUBT)
        predicted = self.semantic(smooth(x)).split((self.space.text_dim, self.space.attributes), dim=-1)
        semantic = self.space.semantic * torch.cat(
            [(1 - doubt**2).sqrt() * semantic_vector(*predicted), doubt], dim=-1
        )
        return normalize(torch.cat([normalize(self.out(x), dim=-1), semantic], dim=-1), dim=-1)


class TrainedText(nano.NanoText):
    """nano's sentence encoder with what places a label in the shared space."""

    center: Tensor
    map: Tensor
    known: Tensor
    attribute_names: Tensor
    attributes: Tensor

    def __init__(self) -> None:
        super().__init__(nano.NanoConfig())
        space, dim = Space(), TowerConfig().dim
        self.register_buffer("center", torch.zeros(space.text_dim))
        self.register_buffer("map", torch.eye(dim, space.text_dim))
        self.register_buffer("known", torch.zeros(1, space.text_dim))
        self.register_buffer("attribute_names", torch.zeros(1, space.text_dim))
        self.register_buffer("attributes", torch.zeros(1, space.attributes))
        self.similar = space.similar

    def project(self, sentence: Tensor) -> Tensor:
        """Map sentence embeddings into the space shared with audio."""
        return normalize((sentence - self.center) @ self.map.T, dim=-1)

    def semantic_embedding(self, sentence: Tensor) -> Tensor:
        """Return sentence embeddings concatenated with predicted attributes of the sound.

        The attributes are the mean of those of a few hundred everyday sounds (``attributes``, centred),
        weighted by the similarity of their names (``attribute_names``) with the text. Attributes connect
        classes as in Lampert, Nickisch & Harmeling, CVPR 2009.
        """
        unit = normalize(sentence - self.center, dim=-1)
        weights = torch.softmax(unit @ self.attribute_names.T / NEARNESS, dim=-1)
        return semantic_vector(unit, weights @ self.attributes)

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
