"""The semantic head: where a sound of an unknown kind lies among sentences, in closed form.

The contrastive head tells the sounds that it learned apart, and so pushes their texts apart; that leaves
little to go by for other names. This head is a ridge regression from the same features to plain sentence
embeddings, in which a cow stays near a sheep, and to attributes (pitched, noisy, metal, ...), in which
a helicopter stays near a washing machine. Labels close to a learned text use the first, others the second.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from training.data import Mels, Sound, title_words
from training.nano_network import TrainedAudio, TrainedText
from training.nano_text import sentences

RIDGE = 0.03
Fitted = tuple[dict[str, Tensor], Tensor]  # the head, the learned texts


def names(sound: Sound) -> tuple[str, ...]:
    """Return what a sound is called, without the title of the recording."""
    title = title_words(sound.title) if sound.fold else ""
    return tuple(text for text in sound.texts if text != title)


@torch.inference_mode()
def features(audio: TrainedAudio, mels: Sequence[np.ndarray]) -> Tensor:
    """Return the mean features of the loud frames of each log-mel."""
    rows = []
    for mel in mels:
        batch = torch.from_numpy(mel.astype(np.float32))[None]
        loud = audio.loudness(batch)[0]
        rows.append(audio.features(batch)[0][loud > loud.max() - 25].mean(0))
    return torch.stack(rows)


def fit_semantic(
    audio: TrainedAudio, text: TrainedText, sounds: Sequence[Sound], mels: Mels
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the head's weights, and the sentence embeddings of the texts that were learned."""
    audio.eval()
    chosen = [sound for sound in sounds if sound.fold]  # many takes of few names distract
    x = features(audio, [mels[sound] for sound in chosen])
    known = sorted({name for sound in sounds for name in names(sound)})
    number = {name: i for i, name in enumerate(known)}
    vectors = sentences(text, known)
    mine = torch.stack([vectors[[number[n] for n in names(sound)]].mean(0) for sound in chosen])
    target = text.semantic_embedding(normalize(mine, dim=-1))
    mean = x.mean(0)
    unit = normalize(x - mean, dim=-1) * x.shape[1] ** 0.5
    gram = unit.T @ unit / len(unit) + RIDGE * torch.eye(x.shape[1])
    weight = torch.linalg.solve(gram, unit.T @ target / len(unit)).T
    return {"weight": weight.contiguous(), "bias": -(weight @ mean)}, vectors
