"""Fine-tune the examples of an adapted model: what ``zsaudio adapt --fine-tune`` does.

After Tip-Adapter-F (Zhang et al., ECCV 2022): the keys of the cache become parameters, and are trained for a
few epochs of AdamW at a cosine rate by the cross-entropy of the sum of the model's logits and the cache's.
Labels, ``strength`` and ``sharpness`` stay. Unlike there, where each epoch crops its images anew, an example
is given here without its own key where its label has another: it would match itself perfectly otherwise, and
leave little to learn.

Keys are never shared between labels, so labels without examples keep exactly the logits that they had.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from zsaudio.errors import OptionError
from zsaudio.labels import Label, LabelSet
from zsaudio.models.learned.adapted import Adapted
from zsaudio.models.learned.descent import descend
from zsaudio.models.likeness import directions

LEARNING_RATE = 1e-3  # as in the paper's code
DECAY = 0.01
MOST_EPOCHS = 1000


def fine_tune(
    model: Adapted,
    epochs: int = 20,
    *,
    seed: int = 0,
    on_epoch: Callable[[int, int], None] | None = None,
) -> Adapted:
    """Return the model with keys that tell its labels with examples better apart.

    Parameters
    ----------
    model
        An adapted model whose keys are its examples; left as it is.
    epochs
        How often each example is gone through; 0: none.
    seed
        Of the order of the examples.
    on_epoch
        Called after each epoch, with how many are done and how many there are.

    Raises
    ------
    OptionError
        If the number of epochs is out of range, there are fewer than two labels to tell apart, or the keys
        have no say.
    """
    if not 0 <= epochs <= MOST_EPOCHS:
        raise OptionError(f"fine-tuning takes 0 to {MOST_EPOCHS} epochs, not {epochs}")
    if epochs == 0:
        return model
    names = {label.casefold(): label for label in model.labels}
    if len(names) < 2:
        raise OptionError("fine-tuning tells labels apart: it needs examples of two or more")
    if not (model.strength > 0 and model.sharpness > 0):
        raise OptionError(
            "fine-tuning needs a strength and a sharpness above 0: without, examples have no say"
        )
    owners = torch.tensor([list(names).index(label.casefold()) for label in model.labels])
    network = _Cache(model, owners, _own_logits(model, list(names.values())))
    descend(network, network, len(owners), epochs, LEARNING_RATE, DECAY, seed, on_epoch=on_epoch, cosine=True)
    return replace(model, keys=normalize(network.keys, dim=1).numpy())


class _Cache(nn.Module):
    """Numbers of examples to the loss of what the model and its keys say of them."""

    def __init__(self, model: Adapted, owners: Tensor, own: Tensor) -> None:
        super().__init__()
        self.strength, self.sharpness = model.strength, model.sharpness
        self.examples = torch.from_numpy(directions(model.keys, model))
        self.keys = nn.Parameter(self.examples.clone())
        self.owners, self.own = owners, own
        of_label = owners == torch.arange(own.shape[1])[:, None]  # (n_labels, n_keys)
        # What an example must not match: its own key, unless that is the only one of its label.
        self.hidden = torch.eye(len(owners), dtype=torch.bool) & (of_label.sum(1)[owners] > 1)
        self.of_label = of_label

    def forward(self, rows: Tensor) -> Tensor:
        cosines = self.examples[rows] @ normalize(self.keys, dim=1).T
        cosines = cosines.masked_fill(self.hidden[rows], -1.0)
        # (n_rows, n_labels): the cosine of the nearest key of each label
        nearest = cosines[:, None, :].masked_fill(~self.of_label, -1.0).amax(dim=2)
        logits = self.own[rows] + self.strength * torch.exp(-self.sharpness * (1 - nearest))
        return cross_entropy(logits, self.owners[rows])


def _own_logits(model: Adapted, names: list[str]) -> Tensor:
    """Return what the model that it stands on says of the examples, ``(n_examples, n_labels)``."""
    bank = model.base.embed_labels(LabelSet([Label(name) for name in names]))
    logits = model.base.compare([key[None] for key in model.keys.astype(np.float32)], bank)
    return torch.from_numpy(np.concatenate(logits)).float()
