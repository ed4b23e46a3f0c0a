"""nano's audio tower: learn to place sounds where the text tower places their names.

    python -m training.nano_audio train --fold 5 --data DATA --work WORK        # folds 1-4 of ESC-50
    python -m training.nano_audio train --partition 1 --data DATA --work WORK   # without ten classes
    python -m training.nano_audio train --ship --data DATA --work WORK          # CC0 and CC-BY only
    python -m training.nano_audio train --inner --data DATA --work WORK         # to choose settings on

Each writes a checkpoint (``fold5.pt`` ...) into the work folder. The loss is the sigmoid contrastive loss of
SigLIP (arXiv 2303.15343) between scenes of one to three sounds and texts, several of them true of a scene,
plus a softmax over the same logits. A text that is nearly synonymous with a true one is left out of the loss.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from training.data import FREE, Mels, Sound, esc50, others, partition
from training.ema import Average
from training.imagenet import start_from_imagenet
from training.nano_network import TrainedAudio
from training.nano_text import load_text, sentences
from training.optimizer import adamw, autocast, channels_last, depthwise_in_float32, set_rate
from training.scenes import KINDS, SceneOptions, Scenes, kind_and_family
from training.semantic import fit_semantic, names
from training.teacher import Pupil, Told
from zsaudio.models.nano.tower import TowerConfig, as_image

FROZEN = 4  # layers that stay as photographs made them, up to a quarter of the frames: half of the cost
STRICT = 0.78  # cosine of texts that mean the same, where many are alike


@dataclass(frozen=True)
class Run:
    """One training run: what it leaves out."""

    name: str
    folds: tuple[int, ...] = (1, 2, 3, 4, 5)
    unseen: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()

    def sounds(self, data: Path, work: Path) -> list[Sound]:
        """Return the sounds that the run may learn from."""
        captions = read_captions(work)
        chosen = [
            replace(sound, texts=sound.texts + captions[sound.category])
            for sound in esc50(data)
            if sound.fold in self.folds and (not self.licences or sound.licence in self.licences)
        ]
        chosen += others(data, work)
        return [sound for sound in chosen if sound.category not in self.unseen]


SHIP = Run("ship", licences=FREE)
INNER = Run("inner", folds=(1, 2, 3), unseen=tuple(partition(2)))


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Let a command line name a run."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--fold", type=int, help="leave this fold of ESC-50 out")
    what.add_argument("--partition", type=int, help="leave the ten classes of this partition out")
    what.add_argument("--ship", action="store_true", help="learn from free clips only, all folds")
    what.add_argument(
        "--inner", action="store_true", help="learn from folds 1-3 without the classes of partition 2"
    )


def choose_run(options: argparse.Namespace) -> Run:
    """Return the run that the command line asks for."""
    if options.fold:
        return Run(f"fold{options.fold}", folds=tuple(f for f in range(1, 6) if f != options.fold))
    if options.partition:
        return Run(f"partition{options.partition}", unseen=tuple(partition(options.partition)))
    if options.inner:
        return INNER
    return SHIP


def read_captions(work: Path, learned: bool = True) -> dict[str, tuple[str, ...]]:
    """Return captions that say a class: every other one is learned, the rest is for choosing settings."""
    found = json.loads((work / "captions.json").read_text(encoding="utf-8"))
    return {name: tuple(own[not learned :: 2]) for name, own in found.items()}


class Texts:
    """Every text of the sounds and of the ontology, its embedding, and which sounds it is true of."""

    def __init__(
        self, sounds: list[Sound], unseen: Sequence[str], data: Path, work: Path, synonym: float = 0.62
    ) -> None:
        ontology = json.loads((data / "text" / "audioset_ontology.json").read_text(encoding="utf-8"))
        own = {text for sound in sounds for text in sound.texts}
        untrue = sorted({entry["name"] for entry in ontology} - own)
        text = load_text(work)
        sentence = sentences(text, untrue)
        if unseen:  # nothing may be learned of these classes, not even that they are elsewhere
            close = (sentence @ sentences(text, list(unseen)).T).amax(1) > synonym
            untrue = [name for name, is_close in zip(untrue, close.tolist(), strict=True) if not is_close]
            sentence = sentence[~close]
        self.texts = sorted(own) + untrue
        number = {text: i for i, text in enumerate(self.texts)}
        sentence = torch.cat([sentences(text, sorted(own)), sentence])
        with torch.inference_mode():
            self.vectors = text.project(sentence).clone()
        cosines = (sentence @ sentence.T).numpy()
        near = cosines > synonym
        said = {sound.texts[0]: names(sound) for sound in sounds if sound.fold}
        self.core = np.array(sorted(number[name] for name in said))
        self.other_names = [[number[text] for text in own] for own in said.values()]
        self.true = np.zeros((len(sounds), len(self.texts)), bool)
        self.near = np.zeros_like(self.true)
        self.of_sound = [[number[text] for text in sound.texts] for sound in sounds]
        for index, numbers in enumerate(self.of_sound):
            self.true[index, numbers] = True
            self.near[index] = near[numbers].any(0)
            if kind_and_family(sounds[index])[0] in ("alarms", "soundfont", "instruments"):  # all alike
                self.near[index] = cosines[numbers[:2]].max(0) > STRICT
            if sounds[index].fold:  # the classes of ESC-50 are told apart, however close their names are
                self.near[index, self.core] = False

    def bank(
        self, scenes: list[list[int]], rng: np.random.Generator, extra: int = 96
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return for a batch the texts' embeddings, which are true of a scene, and which count."""
        chosen = set(self.core.tolist())
        for indices in scenes:
            for index in indices:
                chosen.add(int(rng.choice(self.of_sound[index])))
        chosen.update(int(rng.choice(own)) for own in self.other_names)
        chosen.update(rng.choice(len(self.texts), extra, replace=False).tolist())
        bank = np.array(sorted(chosen))
        true = np.stack([self.true[indices][:, bank].any(0) for indices in scenes])
        near = np.stack([self.near[indices][:, bank].any(0) for indices in scenes])
        return self.vectors[bank], torch.from_numpy(true), torch.from_numpy(true | ~near)


class Logits(nn.Module):
    """Log-odds of texts in scenes; the odds of a scene are the mean of those of its frames."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(math.log(25.0)))
        self.bias = nn.Parameter(torch.tensor(-6.0))

    def forward(self, frames: Tensor, texts: Tensor) -> Tensor:
        """Return ``(scenes, texts)`` from ``(scenes, frames, dim)`` and ``(texts, dim)``."""
        logits = self.scale.exp() * (frames @ texts.T) + self.bias
        return logits.logsumexp(1) - math.log(frames.shape[1])


def contrastive_loss(logits: Tensor, true: Tensor, counts: Tensor, options: argparse.Namespace) -> Tensor:
    """Return the sigmoid loss (positives weighted) plus the softmax loss."""
    target = true.float()
    each = binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = counts * (1 + (options.positive - 1) * target)
    sigmoid = (each * weight).sum(1).mean() / 10
    log_p = logits.masked_fill(~counts, -1e4).log_softmax(1)
    softmax = -(log_p * target).sum(1).div(target.sum(1).clamp_min(1)).mean()
    return sigmoid + options.softmax * softmax


@torch.no_grad()
def renormalise(layers: nn.Module, scenes: Scenes, device: torch.device, batches: int = 16) -> None:
    """Let batch normalisation forget photographs: measure means and variances on scenes."""
    norms = [module for module in layers.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    for _ in range(batches):
        mel = torch.from_numpy(scenes.batch(32)[0]).to(device)
        layers(as_image(mel))


def begin(options: argparse.Namespace, scenes: Scenes, device: torch.device) -> tuple[TrainedAudio, Logits]:
    """Return the network as the run starts with it: from photographs, or from a checkpoint."""
    audio, logits = channels_last(TrainedAudio().to(device)), Logits().to(device)
    if device.type == "cpu":
        depthwise_in_float32(audio)
    if options.start:
        state = torch.load(options.start, map_location=device)
        audio.load_state_dict(state["audio"], strict=False)
        logits.load_state_dict(
            {"scale": torch.tensor(state["scale"]).log(), "bias": torch.tensor(state["bias"])}
        )
    else:
        start_from_imagenet(audio.body)
        renormalise(audio.body[:FROZEN], scenes, device)
    return audio, logits


def train(options: argparse.Namespace, run: Run | None = None) -> None:
    """Train one run, by default the one that the options ask for, and write its checkpoint."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    device = torch.device(options.device)
    run = run or choose_run(options)
    sounds = run.sounds(options.data, options.work)
    config = TowerConfig()
    mels = Mels(options.work, esc50(options.data) + others(options.data, options.work), config)
    scenes = Scenes(
        sounds, mels, SceneOptions(frames=options.frames, shares=tuple(options.shares)), options.seed
    )
    texts = Texts(sounds, run.unseen, options.data, options.work)
    audio, logits = begin(options, scenes, device)
    frozen = audio.body[:FROZEN].requires_grad_(False)
    parts: list[nn.Module] = [audio, logits]
    if options.teacher:
        every_sound = esc50(options.data) + others(options.data, options.work)
        pupil = Pupil(Told(options.data, options.work, every_sound), sounds, config.head).to(device)
        parts.append(pupil)
    learned = [weight for part in parts for weight in part.parameters() if weight.requires_grad]
    average = Average(audio, 0.998)
    optimizer = adamw(learned, options.rate, options.decay)
    audio.train()
    frozen.eval()  # its normalisation, too
    print(f"{run.name}: {len(sounds)} sounds, {len(texts.texts)} texts, {options.steps} steps", flush=True)
    started, total = time.time(), torch.zeros((), device=device)
    for step in range(1, options.steps + 1):
        set_rate(optimizer, options.rate, step, options.steps, warm_up=50)
        mel, indices, begins = scenes.batch(options.batch)
        bank, true, counts = texts.bank(indices, scenes.rng)
        with autocast(device):
            features = audio.features(torch.from_numpy(mel).to(device))
            frames = audio.place(features)
        bank, true, counts = (part.to(device) for part in (bank, true, counts))
        loss = contrastive_loss(logits(frames.float(), bank), true, counts, options)
        if options.teacher:
            loss = loss + options.teacher * pupil(features.float(), indices, begins)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 2.0)
        optimizer.step()
        average.update(audio)
        total += loss.detach()
        if step % 100 == 0:
            scale, bias = logits.scale.exp().item(), logits.bias.item()
            log = f"step {step} loss {total / 100:.3f} scale {scale:.1f} bias {bias:.1f}"
            print(f"{log} {time.time() - started:.0f} s", flush=True)
            total.zero_()
        if step % 300 == 0 or step == options.steps:
            state: dict[str, Any] = {"audio": {name: value.cpu() for name, value in average.state.items()}}
            state |= {"scale": logits.scale.exp().item(), "bias": logits.bias.item()}
            state |= {"run": run.name, "step": step, "minutes": (time.time() - started) / 60}
            torch.save(state, options.work / f"{options.tag or run.name}.pt")


def finish(options: argparse.Namespace) -> None:
    """Add the semantic head to a run's checkpoint."""
    torch.set_num_threads(1)
    run, config, text = choose_run(options), TowerConfig(), load_text(options.work)
    file = options.work / f"{options.tag or run.name}.pt"
    state = torch.load(file)
    audio = TrainedAudio()
    audio.load_state_dict(state["audio"], strict=False)
    mels = Mels(options.work, [], config)
    head, known = fit_semantic(audio, text, run.sounds(options.data, options.work), mels)
    state["audio"] |= {f"semantic.{name}": value for name, value in head.items()}
    torch.save(state | {"known": known}, file)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of a command line, by default of this program's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=["train", "finish"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="folder for caches and checkpoints")
    add_runs(parser)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument(
        "--frames", type=int, default=SceneOptions.frames, help="of a scene, a multiple of 16"
    )
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument(
        "--positive", type=float, default=3.0, help="weight of true texts in the sigmoid loss"
    )
    parser.add_argument("--softmax", type=float, default=1.0, help="weight of the softmax loss")
    parser.add_argument(
        "--shares",
        type=float,
        nargs=len(KINDS),
        default=SceneOptions.shares,
        metavar="SHARE",
        help=f"of the kinds of sounds: {', '.join(KINDS)}",
    )
    parser.add_argument("--teacher", type=float, default=0.0, help="weight of what the teacher says")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--tag", help="name of the checkpoint, if not the run's")
    options = parser.parse_args(arguments)
    if options.teacher and options.partition:
        parser.error("the teacher has heard the classes that this run must not hear: leave --teacher out")
    return options


def main() -> None:
    """Do what the command line says."""
    options = parse()
    if options.step == "train":
        train(options)
    finish(options)


if __name__ == "__main__":
    main()
