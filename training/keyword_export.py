"""Write a training run's network, the dictionary and the constants into nano-keyword's folder.

    python -m training.keyword_export --data DATA --work WORK --scoring CONSTANTS

CONSTANTS are JSON, as ``keyword_calibrate`` prints them.
"""

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from training.keyword_data import RATE, Spoken, spoken, trained
from zsaudio.models.checksums import write_sums
from zsaudio.models.speech.alignment import AlignmentScoring
from zsaudio.models.speech.nano_keyword import COHORT_STEP
from zsaudio.models.speech.network import KeywordConfig
from zsaudio.models.speech.pronunciation import WEIGHTS

RECORDED = 5  # utterances of the cohort: of each recorded phrase, and of each kind of synthetic voices
FILES = (
    "cohort.npz",
    "config.json",
    "dictionary.gz",
    "letters.safetensors",
    "model.safetensors",
    "common_words.txt",
    "statistics.json",
)
SYNTHETIC = {"kokoro": 60, "espeak": 20, "flite": 10}


def save_cohort(state: dict[str, Tensor], data: Path, work: Path, path: Path) -> None:
    """Write the network's output for some utterances of its training data."""
    network = trained(state)
    rng, sources = np.random.default_rng(0), spoken(work, data)
    phrases: dict[str, list[Spoken]] = {}
    for item in sources["recorded"]:
        phrases.setdefault(item.words, []).append(item)
    chosen = [items[i] for items in phrases.values() for i in rng.permutation(len(items))[:RECORDED]]
    for source, size in SYNTHETIC.items():
        chosen += [sources[source][i] for i in rng.permutation(len(sources[source]))[:size]]
    heard = []
    for item in chosen:
        wave = item.wave() + rng.normal(0, 0.001, item.samples).astype(np.float32)
        log_probs = network(torch.from_numpy(np.pad(wave, RATE // 4))[None])[0].numpy()
        said = np.flatnonzero(log_probs[:, 0] < np.log(0.9))  # silence about it says nothing
        heard.append(log_probs[said[0] : said[-1] + 1] if len(said) else log_probs[:1])
    steps = np.round(np.concatenate(heard) / -COHORT_STEP).clip(0, 255).astype(np.uint8)
    np.savez_compressed(path, log_probs=steps, lengths=np.array(list(map(len, heard))))
    print(f"cohort: {len(heard)} utterances, {len(steps)} frames")


def seal(folder: Path) -> None:
    """Write the checksums of the files that are there."""
    write_sums(folder, *(name for name in FILES if (folder / name).exists()))


def main() -> None:
    """Export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--name", default="keyword", help="of the checkpoint")
    parser.add_argument("--scoring", required=True, help="constants, as keyword_evaluate prints them")
    parser.add_argument("--folder", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    state = torch.load(options.work / f"{options.name}.pt")["network"]
    save_cohort(state, options.data, options.work, options.folder / "cohort.npz")
    half = {
        name: value.half().contiguous()
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(half, options.folder / "model.safetensors")
    for name in ("dictionary.gz", "letters.safetensors"):
        shutil.copy(options.work / name, options.folder / name)
        (options.folder / name).chmod(0o644)
    (options.folder / "model.safetensors").chmod(0o644)
    scoring = asdict(AlignmentScoring(**json.loads(options.scoring)))
    config = {"model_type": "zsaudio-nano-keyword"} | asdict(KeywordConfig()) | {"scoring": scoring}
    (options.folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    seal(options.folder)
    size = sum(path.stat().st_size for path in options.folder.iterdir() if path.suffix != ".md")
    print(f"{options.folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
