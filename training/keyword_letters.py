"""Pack nano-keyword's dictionary, and train the network that guesses other words.

    python -m training.keyword_letters --work WORK [--epochs 12]

Writes ``dictionary.gz`` and ``letters.safetensors`` into the work folder, and prints how many words of a
twentieth of the dictionary, which is not trained on, are guessed right.
"""

import argparse
import gzip
import math
import re
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from training.ema import Average
from training.keyword_data import NUMBER
from training.keyword_text import bare, dictionary
from training.optimizer import autocast
from zsaudio.models.speech.letter_to_sound import best_sequences
from zsaudio.models.speech.letters_network import FRAMES, LettersNetwork, letter_numbers


def pack(work: Path) -> None:
    """Write the dictionary without stress, each pronunciation once."""
    lines = []
    for word, said in sorted(dictionary().items()):
        if re.search("[a-z]", word):
            lines += [f"{word}\t{' '.join(phones)}" for phones in dict.fromkeys(map(bare, said))]
    (work / "dictionary.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode("ascii"), 9, mtime=0))


def test(network: LettersNetwork, words: list[str], said: dict[str, list[list[int]]]) -> tuple[float, float]:
    """Return the share of words guessed right by the first guess, and by one of two."""
    right = np.zeros(2)
    for word in words:
        with torch.inference_mode():
            found = best_sequences(network(letter_numbers([word]))[0].numpy(), 2)
        hits = [list(symbols) in said[word] for _, symbols in found]
        right += [hits[0], any(hits)]
    first, either = right / len(words)
    return float(first), float(either)


def main() -> None:
    """Pack, train, test."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=512)
    options = parser.parse_args()
    pack(options.work)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    said: dict[str, list[list[int]]] = {}
    for word, found in dictionary().items():
        if re.fullmatch("[a-z]{2,24}", word) and len(bare(found[0])) <= FRAMES * len(word) - 1:
            said[word] = [[NUMBER[phone] for phone in bare(phones)] for phones in found]
    words = sorted(said)
    rng.shuffle(words)
    kept, words = words[: len(words) // 20], words[len(words) // 20 :]
    network = LettersNetwork()
    average = Average(network, 0.998)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.02)
    steps, step, started = options.epochs * (len(words) // options.batch), 0, time.monotonic()
    for epoch in range(options.epochs):
        order = sorted(rng.permutation(len(words)), key=lambda i: len(words[i]) + rng.uniform(0, 2))
        batches = np.array_split(np.array(order), len(words) // options.batch)
        total = 0.0
        for number in rng.permutation(len(batches)):
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = (
                    3e-3 * min(1, step / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
                )
            chosen = [words[i] for i in batches[number]]
            targets = [
                said[w][0] if rng.random() < 0.7 else said[w][rng.integers(len(said[w]))] for w in chosen
            ]
            with autocast(torch.device("cpu")):
                log_probs = network(letter_numbers(chosen))
            loss = nn.functional.ctc_loss(
                log_probs.transpose(0, 1),
                torch.tensor([symbol for target in targets for symbol in target]),
                torch.tensor([FRAMES * len(word) for word in chosen]),
                torch.tensor([len(target) for target in targets]),
                zero_infinity=True,
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimizer.step()
            average.update(network)
            total += loss.item()
        print(
            f"epoch {epoch + 1} loss {total / len(batches):.3f} {time.monotonic() - started:.0f} s",
            flush=True,
        )
        state = {n: v.half().contiguous() if v.is_floating_point() else v for n, v in average.state.items()}
        save_file(state, options.work / "letters.safetensors")
    average.copy_to(network)
    first, either = test(network.eval(), kept[:2000], said)
    print(f"of 2000 words not trained on: {first:.1%} right at first, {either:.1%} by one of two guesses")


if __name__ == "__main__":
    main()
