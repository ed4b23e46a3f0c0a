"""The sounds that nano knows and their names: what places a label among them.

The first 521 sounds are AudioSet's classes as YAMNet has them; one has several names where commas are in its
own ("Vehicle horn, car horn, honking"). Then come those that nano's own network learned: ESC-50's fifty
classes, with the names in ``prompts.csv``, and each text that is said of at least twenty of the other sounds.
A name that both have belongs to the latter.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from training.data import PARTITIONS, Sound, partition, phrases
from training.nano_text import sentences
from zsaudio.models.nano.nano import SHARPNESS, NanoText

AUDIOSET = 521  # sounds of AudioSet
FEWEST = 20  # sounds of which a text is said that is a known name
ESC50 = sorted(name for number in PARTITIONS for name in partition(number))


def own_sounds(sounds: Sequence[Sound]) -> list[tuple[str, ...]]:
    """Return the names of each sound that nano's own network learned, the first the best one."""
    others = phrases()
    classes = [tuple(dict.fromkeys((name, *others[name]))) for name in ESC50]
    taken = {name for own in classes for name in own}
    counts = Counter(text for sound in sounds if not sound.fold for text in sound.texts)
    said = sorted(text for text, count in counts.items() if count >= FEWEST and text not in taken)
    return classes + [(text,) for text in said]


def known_names(audioset: Sequence[str], own: Sequence[tuple[str, ...]] = ()) -> list[tuple[str, int]]:
    """Return each known name with the number of its sound.

    Parameters
    ----------
    audioset
        The 521 classes.
    own
        The names of the other sounds (``own_sounds``).
    """
    taken = {name for names in own for name in names}
    split = [(name, n) for n, names in enumerate(audioset) for name in names.lower().split(", ")]
    classes = [(name, n) for name, n in split if name not in taken]
    return classes + [(name, AUDIOSET + n) for n, names in enumerate(own) for name in names]


def nearest(text: NanoText, known: Sequence[tuple[str, int]], names: list[str]) -> tuple[Tensor, Tensor]:
    """Return how much each name is like those of known sounds, and its cosine with the nearest name.

    The former is ``(names, sounds)``, and rows sum to 1.
    """
    cosines = sentences(text, names) @ sentences(text, [name for name, _ in known]).T
    of_sound = one_hot(torch.tensor([sound for _, sound in known])).float()
    return torch.softmax(SHARPNESS * cosines, dim=1) @ of_sound, cosines.amax(1)


def nearest_classes(text: NanoText, audioset: Sequence[str], names: list[str]) -> Tensor:
    """Return how much each name is like those of AudioSet's classes, ``(names, 521)``."""
    return nearest(text, known_names(audioset), names)[0]
