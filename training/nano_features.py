"""What YAMNet's features say of the sounds that nano's own network learned: one linear layer.

    python -m training.nano_features learn --inner --data DATA --work WORK    # to choose settings
    python -m training.nano_features choose --inner --data DATA --work WORK   # with what else is of that run
    python -m training.nano_features learn --ship --data DATA --work WORK     # what ships

YAMNet and our own network make different mistakes, so their sum is better than either. The layer, on the
logarithm of the features, learns from scenes of one to three sounds, some in noise or over a telephone, with
the loss of ``nano_audio``: each text is true or not, and the odds of a scene are the mean of its frames'.
Writes ``features-ship.pt`` (or of another run) into the work folder. ``choose`` prints the figures by
which the shares in ``nano_export`` were chosen, and its ``--scale`` and ``--bias``.
"""

import argparse
import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy.fft import irfft, rfft
from torch import Tensor, nn
from torch.nn.functional import dropout

from training.data import Sound, esc50, others, partition, read_waveform
from training.mixtures import RATE, fit, mixtures
from training.nano_audio import Run, Texts, add_runs, choose_run, contrastive_loss
from training.nano_audioset import load_yamnet
from training.nano_evaluate import Checkpoint
from training.nano_names import ESC50, nearest_classes, own_sounds
from training.nano_stress import changed
from training.optimizer import adamw, set_rate
from training.scenes import Picker, SceneOptions
from zsaudio.detection.scoring import pool_frames
from zsaudio.evaluation.metrics import average_precision
from zsaudio.models.nano.nano import NanoAudio, logarithm
from zsaudio.models.nano.yamnet import FEATURES

SECONDS = 5
QUIET = 1e-3  # sounds that stay below this are silence, of which a louder copy says nothing
SCENES, EPOCHS, BATCH = 12_000, 10, 48
RATE_OF_LEARNING, DECAY, DROPPED = 2e-3, 0.3, 0.3


class SceneMaker:
    """Makes scenes of some sounds, which are drawn as those of the own network."""

    def __init__(self, sounds: list[Sound], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.waves = [read_waveform(sound.path, RATE)[: SECONDS * RATE] for sound in sounds]
        self.pick = Picker(sounds, SceneOptions.shares, self.rng)

    def scene(self) -> tuple[np.ndarray, list[int]]:
        """Return a waveform and the numbers of its sounds."""
        rng, length = self.rng, SECONDS * RATE
        scene, chosen = np.zeros(length, np.float32), []
        for _ in range(int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))):
            number = self.pick()
            wave = self.waves[number]
            if np.abs(wave).max() < QUIET:
                continue
            wave = wave * np.float32(10 ** (rng.uniform(-6, 6) / 20) / np.sqrt(np.mean(wave**2)))
            start = int(rng.integers(0, length - len(wave) + 1))
            scene[start : start + len(wave)] += wave
            chosen.append(number)
        if rng.random() < 0.3:
            noise = rng.standard_normal(length).astype(np.float32)
            spectrum = rfft(noise)
            tilt = np.maximum(np.arange(len(spectrum)), 20) ** -rng.uniform(0, 1)  # white to brown
            noise = irfft(spectrum * tilt, length).astype(np.float32)
            scene += noise * np.float32(10 ** (-rng.uniform(5, 25) / 20) / noise.std())
        if rng.random() < 0.2:  # over a telephone
            spectrum, hertz = rfft(scene), np.linspace(0, RATE / 2, length // 2 + 1)
            spectrum[(hertz < rng.uniform(50, 350)) | (hertz > rng.uniform(3300, 4000))] = 0
            scene = irfft(spectrum, length).astype(np.float32)
        peak = 10 ** (rng.uniform(-25, 0) / 20)
        return scene * np.float32(peak / max(float(np.abs(scene).max()), 1e-6)), chosen


@torch.inference_mode()
def features(audio: NanoAudio, wave: np.ndarray) -> Tensor:
    """Return the logarithm of YAMNet's features ``(frames, 1024)``."""
    return logarithm(audio.features(torch.from_numpy(wave)[None])[0])


def fit_layer(inputs: Sequence[Tensor], true: np.ndarray, counts: np.ndarray, epochs: int) -> nn.Linear:
    """Return a layer that tells what is true of examples.

    Parameters
    ----------
    inputs
        For each example the features' logarithm, ``(frames, 1024)``; all have as many frames.
    true, counts
        ``(examples, sounds)``: which sounds are in an example, and which may count against it.
    epochs
        How often each example is seen.
    """
    torch.manual_seed(0)
    x, y, c = torch.stack(list(inputs)), torch.from_numpy(true), torch.from_numpy(counts)
    middle, spread = x[:2000].float().mean((0, 1)), x[:2000].float().std((0, 1)) + 0.02
    layer = nn.Linear(x.shape[2], true.shape[1])
    nn.init.normal_(layer.weight, 0, 0.003)
    nn.init.constant_(layer.bias, -4.0)
    optimizer, steps = adamw(layer.parameters(), RATE_OF_LEARNING, DECAY), epochs * (len(x) // BATCH)
    weights, step, total = argparse.Namespace(positive=3.0, softmax=1.0), 0, 0.0
    for epoch in range(epochs):
        for rows in torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH):
            step += 1
            set_rate(optimizer, RATE_OF_LEARNING, step, steps, warm_up=100)
            logits = layer(dropout((x[rows].float() - middle) / spread, DROPPED))
            pooled = logits.logsumexp(1) - math.log(logits.shape[1])
            loss = contrastive_loss(pooled, y[rows], c[rows], weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1} loss {total / (len(x) // BATCH):.3f}", flush=True)
        total = 0.0
    layer.requires_grad_(False)
    layer.weight.div_(spread)
    layer.bias.sub_(layer.weight @ middle)
    return layer


def learn(run: Run, options: argparse.Namespace) -> nn.Linear:
    """Return the layer, from the features' logarithm to log-odds of the own sounds."""
    audio, _ = load_yamnet(options.work)
    sounds = run.sounds(options.data, options.work)
    own = own_sounds(others(options.data, options.work))
    texts = Texts(sounds, run.unseen, options.data, options.work)
    heard = set(texts.texts) - set(run.unseen)
    known = [number for number, names in enumerate(own) if names[0] in heard]
    columns = [texts.texts.index(own[number][0]) for number in known]
    true, near = texts.true[:, columns], texts.near[:, columns]
    whole = nn.Linear(FEATURES, len(own)).requires_grad_(False)
    nn.init.zeros_(whole.weight)
    nn.init.zeros_(whole.bias)

    maker, inputs, said, counts = SceneMaker(sounds, seed=0), [], [], []
    for number in range(SCENES):
        wave, chosen = maker.scene()
        inputs.append(features(audio, wave).half())
        said.append(true[chosen].any(0))
        counts.append(said[-1] | ~near[chosen].any(0))
        if number % 2000 == 0:
            print(f"{number} scenes", flush=True)
    told = np.stack(said)
    layer = fit_layer(inputs, told, np.stack(counts), EPOCHS)
    for row, number in enumerate(known):
        if told[:, row].any():  # others, as silence, are left to the own network
            whole.weight[number], whole.bias[number] = layer.weight[row], layer.bias[row]
    return whole


def choose(options: argparse.Namespace) -> None:
    """Print accuracy and precision on fold 4 for shares of the own network, the features and AudioSet.

    Accuracy also in noise 10 dB below the clips and over a telephone. Scale and bias are fitted on the
    mixtures.
    """
    model, (audio, classes) = Checkpoint(options.work / "inner.pt", options.work), load_yamnet(options.work)
    audioset = torch.load(options.work / "audioset-inner.pt")
    audio.load_state_dict(audioset["audio"], strict=False)
    state = torch.load(options.work / "features-inner.pt")
    seen = [name for name in ESC50 if name not in partition(2)]
    rows = [ESC50.index(name) for name in seen]
    clips = [clip for clip in esc50(options.data) if clip.fold == 4 and clip.category in seen]
    text, near = model.encode_text(seen), nearest_classes(model.text, classes, seen).T

    @torch.inference_mode()
    def outputs(wave: np.ndarray) -> tuple[np.ndarray, ...]:
        heard = audio.features(torch.from_numpy(wave)[None])[0]
        own = model.scale * (model.encode_audio([wave])[0] @ text.T) + model.bias
        by_features = logarithm(heard) @ state["weight"][rows].T + state["bias"][rows]
        spreads = audio.classes(heard) @ near
        return own, by_features.numpy(), audioset["scale"] * spreads.numpy()

    mixed, truth = mixtures(clips, seen, 400, seed=0)
    kinds = changed([read_waveform(clip.path, RATE) for clip in clips])
    parts = {kind: [outputs(wave) for wave in waves] for kind, waves in {**kinds, "mixed": mixed}.items()}
    right = np.array([seen.index(clip.category) for clip in clips])
    for shares in product((1.0,), (0.0, 0.3, 0.5, 0.7), (0.0, 0.1, 0.2, 0.3)):
        sums = {kind: [np.tensordot(shares, np.stack(o), 1) for o in own] for kind, own in parts.items()}
        pooled = {kind: np.stack([pool_frames(o) for o in own]) for kind, own in sums.items()}
        named = ", ".join(f"{kind} {(pooled[kind].argmax(1) == right).mean():.2%}" for kind in kinds)
        precision = np.nanmean(average_precision(pooled["mixed"], truth))
        scale, bias = fit([np.asarray(own, np.float32) for own in sums["mixed"]], truth)
        print(
            f"own {shares[0]}, features {shares[1]}, AudioSet {shares[2]:.2f}: {named}, mixtures "
            f"{precision:.3f}; --scale {scale:.3f} --bias {bias:.3f}",
            flush=True,
        )


def main() -> None:
    """Learn and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=["learn", "choose"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="folder for caches and checkpoints")
    add_runs(parser)
    options = parser.parse_args()
    if options.step == "choose" and not options.inner:
        parser.error("settings are chosen on --inner")
    torch.set_num_threads(1)
    if options.step == "choose":
        choose(options)
        return
    run = choose_run(options)
    torch.save(learn(run, options).state_dict(), options.work / f"features-{run.name}.pt")


if __name__ == "__main__":
    main()
