"""How often descriptions are right, on the 230 clips of ESC-50 that the bundled weights never learned from.

    python -m training.describe_evaluate ../shared/data/esc50

- A description is right where it has a word of the clip's class, or of its synonyms below.
- An attribute that is stated is right where the class has it in ``zsaudio/configs/attributes.csv``; that
row is
  left out of the table while the attributes are told. The weights have heard other clips of these classes.
- Silence, white and pink noise, and tones are made, and must be described as such.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from zsaudio.description import WORDS, Describer
from zsaudio.detection.stretches import embed_stretches

LEARNED = ("CC0", "CC-BY")  # licences of the clips that the weights have learned from
SYNONYMS = {"hen": ("chicken",), "chirping birds": ("bird",), "brushing teeth": ("toothbrush",)}
WEAK = ("door", "can", "clock", "sea", "water", "car", "hand", "mouse", "church", "machine")


def words_of(category: str) -> tuple[str, ...]:
    """Return the stems of words of which a right description has one."""
    words = [word for word in category.split() if word not in WEAK] or category.split()
    stems = [word.rstrip("s").removesuffix("ing")[:5] for word in words]
    return (*stems, *SYNONYMS.get(category, ()))


def made_sounds(random: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    """Return sounds of two seconds at 16 kHz, and what they are."""
    n = 32_000
    white = random.standard_normal(n)
    spectrum = np.fft.rfft(random.standard_normal(n)) / np.sqrt(np.maximum(1, np.arange(n // 2 + 1)))
    pink = np.fft.irfft(spectrum)
    sounds = [("silence", np.zeros(n)), ("silence", 1e-5 * white)]
    for level in (0.01, 0.1):
        sounds += [("noise", level * white), ("noise", level * pink / pink.std())]
        for frequency in (100, 440, 1000, 5000):
            sounds.append(("tone", level * np.sin(2 * np.pi * frequency * np.arange(n) / 16_000)))
    return [(kind, samples.astype(np.float32)) for kind, samples in sounds]


def main() -> None:
    """Describe the clips and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labels", default="@everyday")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--show", action="store_true", help="print descriptions that are not right")
    arguments = parser.parse_args()
    with (arguments.folder / "esc50.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["licence"] not in LEARNED]
    describer = Describer(arguments.labels, arguments.model)
    table = describer.table
    attribute = {word: name for name, word in WORDS.items()}
    n_right, stated = 0, []
    for row in rows:
        path, category = arguments.folder / row["file"], row["category"].replace("_", " ")
        text = describer.describe(path).text
        right = any(word in text.casefold() for word in words_of(category))
        n_right += right
        if arguments.show and not right:
            print(f"{category}: {text}")
        if category in table.names:
            (clip,) = embed_stretches(describer.stretches, [path], 4)
            audible = clip.loudness > clip.loudness.max() - 25
            values = table.values[table.names.index(category)]
            said = describer.attributes(clip.vectors[audible], without=category)
            stated += [values[table.attributes.index(attribute[word])] >= 0.5 for word in said]
    print(f"{len(rows)} clips, labels {arguments.labels}, {arguments.model}")
    print(f"class word in the description  {n_right / len(rows):.1%}")
    print(f"stated attributes right        {np.mean(stated):.1%} of {len(stated)}")
    sounds = made_sounds(np.random.default_rng(0))
    kinds = [describer.describe(samples, 16_000).kind == kind for kind, samples in sounds]
    print(f"silence, noise, tones          {sum(kinds)} of {len(kinds)}")


if __name__ == "__main__":
    main()
