"""A running average of a model's weights."""

import torch
from torch import nn


class Average:
    """Exponential moving average of everything in a model's state.

    The average starts as the weights themselves and slows down to ``decay`` over the first updates.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)

    def copy_to(self, model: nn.Module) -> None:
        """Put the average into a model of the same shape."""
        model.load_state_dict(self.state)
