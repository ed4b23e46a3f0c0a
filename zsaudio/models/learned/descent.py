"""Gradient descent that can be interrupted."""

import math
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn

from zsaudio.files import write_atomically

_BATCH = 64
_SAVE_EVERY = 10  # epochs


def descend(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    n_clips: int,
    epochs: int,
    learning_rate: float,
    decay: float,
    seed: int,
    state: Path | None = None,
    on_epoch: Callable[[int, int], None] | None = None,
    cosine: bool = False,
) -> None:
    """Minimise a loss over clips with AdamW; leaves the network in evaluation mode.

    Parameters
    ----------
    network
        The network, trained in place.
    loss
        Takes the numbers of some clips, returns their loss.
    n_clips, epochs, learning_rate, decay, seed
        Options of AdamW. The order of the clips in an epoch depends on the seed and the epoch only.
    state
        A file with the state of training, written every few epochs. If it exists, training goes on from it,
        with the same result as without the interruption. Removed at the end.
    on_epoch
        Called after each epoch with the number of epochs that are done and the total.
    cosine
        Decrease the learning rate to almost zero along half a cosine, by epochs.
    """
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=decay)
    done = 0
    if state is not None and state.exists():
        kept = torch.load(state)
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        done = kept["done"]
    network.train()
    for epoch in range(done, epochs):
        if cosine:  # of the epoch alone, so that an interrupted run goes on with its own rate
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
        with torch.random.fork_rng():
            torch.manual_seed(seed * 100_003 + epoch)
            for rows in torch.randperm(n_clips).split(_BATCH):  # type: ignore[no-untyped-call]
                value = loss(rows)
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        if on_epoch is not None:
            on_epoch(epoch + 1, epochs)
        if state is not None and (epoch + 1) % _SAVE_EVERY == 0:
            kept = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "done": epoch + 1}
            content = BytesIO()
            torch.save(kept, content)
            write_atomically(state, content.getvalue())
    if state is not None:
        state.unlink(missing_ok=True)
    network.eval()
    network.requires_grad_(False)
