"""Zero-shot learning on recordings that this script makes: the sounds of nine little machines.

    python examples/zero_shot_learning.py FOLDER

It writes recordings and a table into FOLDER, and prints the commands that docs/zero-shot-learning.md goes
through.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
# How each machine sounds: pitch in Hz, beats per second (0: steady), share of noise.
MACHINES = {
    "steady humming": (110, 0, 0.0),
    "slow humming": (110, 2, 0.0),
    "fast humming": (110, 8, 0.0),
    "steady beeping": (2000, 0, 0.0),
    "slow beeping": (2000, 2, 0.0),
    "fast beeping": (2000, 8, 0.0),
    "steady hissing": (0, 0, 1.0),
    "slow hissing": (0, 2, 1.0),
    "fast hissing": (0, 8, 1.0),
}
SEEN = "slow humming, fast humming, steady beeping, fast beeping, steady hissing, slow hissing"
UNSEEN = "steady humming, slow beeping, fast hissing"
ATTRIBUTES = ("low", "high", "noisy", "steady", "slow", "fast")


def sound(pitch: float, beats: float, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return three seconds of a machine, each time a little different, in a little noise."""
    time_s = np.arange(3 * RATE) / RATE
    pitch, beats = pitch * rng.uniform(0.93, 1.07), beats * rng.uniform(0.9, 1.1)
    tone = sum(np.sin(2 * np.pi * k * pitch * time_s) / k for k in (1, 2, 3)) if pitch else 0.0
    wave = (1 - noise) * tone + noise * rng.normal(scale=0.7, size=len(time_s))
    if beats:
        wave = wave * (np.sin(2 * np.pi * beats * time_s + rng.uniform(0, 6)) > 0)
    return (rng.uniform(0.1, 0.3) * wave + rng.normal(scale=0.003, size=len(time_s))).clip(-1, 1)


def attributes(pitch: float, beats: float, noise: float) -> list[float]:
    """Return what a listener would say of a machine: one number from 0 to 1 per attribute."""
    return [
        float(0 < pitch < 500),
        float(pitch > 1000),
        noise,
        float(beats == 0),
        float(0 < beats < 4),
        float(beats >= 4),
    ]


def main() -> None:
    """Make the recordings and the table of attributes."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "machines")
    rng = np.random.default_rng(0)
    for name, how in MACHINES.items():
        for split, count in (("train", 8), ("test", 4)):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                soundfile.write(folder / split / name / f"{i}.wav", sound(*how, rng), RATE)
    rows = [",".join([name, *(f"{value:g}" for value in attributes(*how))]) for name, how in MACHINES.items()]
    (folder / "attributes.csv").write_text("\n".join([",".join(["label", *ATTRIBUTES]), *rows]) + "\n")
    quiet = 0.01 * rng.normal(size=60 * RATE)
    (folder / "background").mkdir(exist_ok=True)
    soundfile.write(folder / "background" / "room.wav", quiet, RATE)
    print(f"""made {len(MACHINES)} machines in {folder}/; now try

zsaudio evaluate {folder}/test --unseen "{UNSEEN}"
zsaudio train {folder}/train --seen "{SEEN}" \\
    --semantics attributes --attributes {folder}/attributes.csv -o {folder}/model
zsaudio evaluate {folder}/test --model {folder}/model --unseen "{UNSEEN}" -o {folder}/report
zsaudio adapt nano {folder}/train -o {folder}/adapted
zsaudio evaluate {folder}/test --model {folder}/adapted
zsaudio calibrate {folder}/adapted {folder}/background --labels "slow beeping, fast hissing" \\
    -o {folder}/labels.yaml
""")


if __name__ == "__main__":
    main()
