"""Find the phonemes in the recorded phrases, so that pieces of them can be joined in other ways.

    python -m training.keyword_splice --data DATA --work WORK

There are recordings of few phrases, and a network that gets each of them hundreds of times memorises them. So
the recordings are aligned with their phonemes by an earlier network, and ``keyword_data`` cuts them between
phonemes and joins pieces of several. Writes ``cuts.json`` into the
work folder: for each recording where, in samples, its phonemes begin, and where the last one ends.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from training.keyword_data import RATE, spoken, trained

LEAST = -1.5  # mean log-probability of its phonemes: a recording that fits worse is not cut


def spikes(log_probs: np.ndarray, symbols: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the likeliest frame of each symbol in the best alignment, and their mean log-probability."""
    states = np.zeros(2 * len(symbols) + 1, np.int64)
    states[1::2] = symbols
    skip = np.zeros(len(states), bool)
    skip[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), -np.inf)
    score[:2] = log_probs[0, states[:2]]
    back = np.zeros((len(log_probs), len(states)), np.int8)
    for t in range(1, len(log_probs)):
        one = np.append(-np.inf, score[:-1])
        two = np.where(skip, np.append([-np.inf, -np.inf], score[:-2]), -np.inf)
        choice = np.stack([score, one, two])
        back[t] = choice.argmax(axis=0)
        score = choice.max(axis=0) + log_probs[t, states]
    at = len(states) - 1 - int(score[-2] > score[-1])
    path = np.zeros(len(log_probs), np.int64)
    for t in range(len(log_probs) - 1, -1, -1):
        path[t] = at
        at -= back[t, at]
    frames = []
    for number, symbol in enumerate(symbols):
        here = np.flatnonzero(path == 2 * number + 1)
        frames.append(int(here[log_probs[here, symbol].argmax()]))
    return np.array(frames), float(log_probs[frames, symbols].mean())


def main() -> None:
    """Align all recordings of the training data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--name", default="keyword", help="of the checkpoint")
    options = parser.parse_args()
    network = trained(torch.load(options.work / f"{options.name}.pt")["network"])
    stride = network.config.stride
    sources = spoken(options.work, options.data)

    # Spikes come late. How late, utterances tell whose first phoneme begins after a twentieth of a second.
    firsts, lasts = [], []
    for item in sources["kokoro"][:200]:
        found, fit = spikes(
            network(torch.from_numpy(np.pad(item.wave(), RATE // 2))[None])[0].numpy(), item.symbols
        )
        if fit > LEAST:
            firsts.append(found[0] * stride - RATE // 2 - RATE // 20)
            lasts.append(item.samples + RATE // 2 - RATE // 20 - found[-1] * stride)
    before, after = (int(np.median(x)) for x in (firsts, lasts))
    print(
        f"first spike {before / RATE:.3f} s after the onset, last spike {after / RATE:.3f} s before the end"
    )

    cuts: dict[str, list[int]] = {}
    recordings = sources["recorded"] + sources.get("people", [])
    for item in recordings:
        padded = np.pad(item.wave(), RATE // 2)
        found, fit = spikes(network(torch.from_numpy(padded)[None])[0].numpy(), item.symbols)
        at = found * stride - RATE // 2
        if fit < LEAST:
            continue
        # a phoneme begins halfway from the spike before, but earlier, as its own spike is late
        late = (before - after) // 2
        edges = np.array([at[0] - before, *((at[1:] + at[:-1]) // 2 - late), at[-1] + after])
        edges = edges.clip(0, item.samples).tolist()
        if all(b - a > RATE // 50 for a, b in pairwise(edges)):
            cuts[item.voice] = edges
    (options.work / "cuts.json").write_text(json.dumps(cuts))
    print(f"{len(cuts)} of {len(recordings)} recordings can be cut")


if __name__ == "__main__":
    main()
