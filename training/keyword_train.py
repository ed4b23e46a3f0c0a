"""Train nano-keyword's phoneme network.

    python -m training.keyword_train --data DATA --work WORK [--steps 4000] [--start CHECKPOINT]

Writes ``keyword.pt`` into the work folder every few hundred steps: the running average of the weights.
The loss is connectionist temporal classification over rows of ``keyword_data``.
"""

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.ema import Average
from training.keyword_data import Rows
from training.optimizer import adamw, autocast, channels_last, set_rate
from zsaudio.models.speech.network import SHORTEN, KeywordConfig, KeywordNetwork, warp

WARP = 0.1  # the mel axis is stretched by up to so much, as vocal tracts differ


def mask(mel: Tensor, rng: np.random.Generator) -> Tensor:
    """Blank out bands and moments of each row (SpecAugment, arXiv 1904.08779)."""
    mel = mel.clone()
    for row in mel:
        mean = row.mean()
        for _ in range(int(rng.integers(0, 3))):
            width = int(rng.integers(1, 10))
            start = int(rng.integers(0, row.shape[1] - width))
            row[:, start : start + width] = mean
        for _ in range(int(rng.integers(0, 5))):
            width = int(rng.integers(1, 9))
            start = int(rng.integers(0, row.shape[0] - width))
            row[start : start + width] = mean
    return mel


def make_rows(queue: "multiprocessing.Queue[Any]", data: Path, work: Path, seed: int, size: int) -> None:
    """Fill a queue with batches without end; runs in a process of its own."""
    torch.set_num_threads(1)
    rows = Rows(data, work, seed)
    while True:
        queue.put(rows.batch(size))


def train(options: argparse.Namespace) -> None:
    """Train, and write checkpoints."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    context = multiprocessing.get_context("fork")
    queue = context.Queue(4)
    maker = context.Process(
        target=make_rows, args=(queue, options.data, options.work, options.seed, options.batch), daemon=True
    )
    maker.start()
    config = KeywordConfig()
    network = channels_last(KeywordNetwork(config))
    if options.start:
        network.load_state_dict(torch.load(options.start)["network"])
    average = Average(network, 0.998)
    optimizer = adamw(network.parameters(), options.rate, decay=0.02)
    rng = np.random.default_rng(options.seed)
    print(sum(p.numel() for p in network.parameters()), "parameters", flush=True)
    started, total, waited = time.monotonic(), 0.0, 0.0
    for step in range(1, options.steps + 1):
        set_rate(optimizer, options.rate, step, options.steps, warm_up=200)
        asked = time.monotonic()
        waves, symbols = queue.get()
        waited += time.monotonic() - asked
        with torch.no_grad():
            mel = network.mel(torch.from_numpy(waves))[:, : waves.shape[1] // config.stride * SHORTEN]
            factors = torch.from_numpy(rng.uniform(1 - WARP, 1 + WARP, (len(mel), 1))).float()
            mel = mask(warp(mel, factors), rng)
        with autocast(torch.device("cpu")):
            log_probs = network.frame_log_probs(mel)
        lengths = torch.full((len(waves),), log_probs.shape[1])
        targets = torch.tensor([len(s) for s in symbols])
        loss = nn.functional.ctc_loss(
            log_probs.transpose(0, 1),
            torch.from_numpy(np.concatenate(symbols)),
            lengths,
            targets,
            reduction="sum",
            zero_infinity=True,
        ) / max(1, int(targets.sum()))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        average.update(network)
        total += loss.item()
        if step % 50 == 0:
            spent = time.monotonic() - started
            print(f"step {step} loss {total / 50:.3f} {spent:.0f} s, waited {waited:.0f} s", flush=True)
            total = 0.0
        if step % 250 == 0 or step == options.steps:
            minutes = (time.monotonic() - started) / 60
            path = options.work / f"{options.name}.pt"
            torch.save({"network": average.state, "step": step, "minutes": minutes}, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
    maker.terminate()


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--name", default="keyword", help="of the checkpoint")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
