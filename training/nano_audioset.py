"""The part of nano that knows AudioSet: YAMNet, and how its outputs become log-odds.

    python -m training.nano_audioset --ship --data DATA --work WORK

Nothing is learned here but two numbers a class, and two for all: a class's output is said in *spreads*, and
one scale and bias turn spreads into log-odds. Both are measured on clips that the run may learn from. Writes
``audioset-ship.pt`` (or of another run) into the work folder.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.data import others, read_waveform
from training.mixtures import fit, mixtures
from training.nano_audio import add_runs, choose_run
from training.nano_names import ESC50, nearest_classes
from training.nano_text import load_text
from training.yamnet import read_yamnet
from zsaudio.models.nano import yamnet
from zsaudio.models.nano.nano import HIGHEST, USUAL, NanoAudio, NanoConfig
from zsaudio.models.nano.tower import TowerConfig, front_end, mel_filters

MIXTURES, OTHERS = 800, 300  # scenes of which the scale and bias are fitted: of ESC-50, of other sounds


def load_yamnet(work: Path) -> tuple[NanoAudio, list[str]]:
    """Return nano's audio network with YAMNet's weights, and the names of the classes."""
    weights, kernel, bias, names = read_yamnet(work)
    tower = front_end(TowerConfig(), mel_filters(TowerConfig()))
    audio = NanoAudio(NanoConfig(), yamnet.LogMagnitudes(yamnet.mel_filters()), tower).eval()
    layers = [module for module in audio.yamnet.modules() if isinstance(module, nn.Conv2d)]
    for layer, (own, shift) in zip(layers, weights, strict=True):
        layer.load_state_dict({"weight": own, "bias": shift})
    audio.audioset_rows.load_state_dict({"weight": kernel, "bias": bias})
    return audio.requires_grad_(False), names


def audioset(audio: NanoAudio, wave: np.ndarray) -> Tensor:
    """Return the outputs for AudioSet's classes, ``(frames, 521)``."""
    outputs: Tensor = audio.audioset_rows(audio.features(torch.from_numpy(wave)[None])[0])
    return outputs


def in_spreads(audio: NanoAudio, waves: list[np.ndarray]) -> None:
    """Change the rows so that they give spreads: 0 at the median of clips, 1.28 at their 90 % quantile.

    These are taken of the log of the mean odds of a clip. The few clips in which a class is heard do not
    count so, nor do the outputs of silent frames, which are hundreds below all others.
    """
    clips = [audioset(audio, wave) for wave in waves]
    heard = torch.stack([frames.logsumexp(0) - np.log(len(frames)) for frames in clips])
    middle, high = heard.quantile(torch.tensor([0.5, 0.9]), dim=0)
    spread, rows = (high - middle) / 1.28, audio.audioset_rows
    rows.weight.copy_(rows.weight / spread[:, None])
    rows.bias.copy_((rows.bias - middle) / spread)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="folder for caches and checkpoints")
    add_runs(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = choose_run(options)
    audio, names = load_yamnet(options.work)
    clips = [sound for sound in run.sounds(options.data, options.work) if sound.fold]
    with torch.inference_mode():
        in_spreads(audio, [read_waveform(sound.path, yamnet.RATE) for sound in clips])
        rng, strangers = np.random.default_rng(0), others(options.data, options.work)
        waves, truth = mixtures(clips, ESC50, MIXTURES, seed=1)
        waves += [
            read_waveform(strangers[i].path, yamnet.RATE)[: 5 * yamnet.RATE]
            for i in rng.choice(len(strangers), OTHERS, replace=False)
            if not strangers[i].category
        ]
        truth = np.concatenate([truth, np.zeros((len(waves) - len(truth), len(ESC50)), bool)])
        labels = nearest_classes(load_text(options.work), names, ESC50).T
        outputs = [audioset(audio, wave).clamp(USUAL, HIGHEST) @ labels for wave in waves]
    scale, bias = (round(value, 4) for value in fit([own.numpy() for own in outputs], truth))
    state = {
        name: value for name, value in audio.state_dict().items() if name.startswith(("yamnet", "audioset"))
    }
    found = {"audio": state, "names": names, "scale": scale, "bias": bias}
    torch.save(found, options.work / f"audioset-{run.name}.pt")
    print(f"{len(names)} classes; log-odds are {scale} * spreads {bias:+}")


if __name__ == "__main__":
    main()
