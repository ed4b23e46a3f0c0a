"""CLAP's audio tower (HTSAT, a Swin transformer on a spectrogram) on a CPU.

``HtsatOnCpu`` computes the same as transformers' ``ClapAudioModelWithProjection``, one window at a time, so
that a result cannot depend on the batch and the activations of most blocks stay in the CPU's cache. It is two
to three times as fast:

- matrix products by oneDNN with weights packed beforehand (``packed.py``), with bias, GELU and residual sum
  in the same pass;
- what depends on the weights only (position bias, masks of the shifted windows, orders of the tokens) is
  computed once instead of in every call;
- a block takes a part of the windows at a time, and leaves the tokens in its order: the next one moves them
  once.

It takes the weights out of transformers' modules. If another version of transformers builds these
differently, ``cpu_tower`` falls back to transformers' own tower.

Shapes: tokens are ``(n_tokens, channels)``, row by row of a ``(height, width)`` grid.
"""

import copy
import logging
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zsaudio.models.packed import Packed

log = logging.getLogger("zsaudio")

Tower = Callable[[Tensor], Tensor]  # spectrogram (n_frames, n_mels) -> embedding (dim,), not normalised

_TOKENS = 1024  # that go through a block together, so that what it computes of them stays in the cache

_WEIGHTS = re.compile(
    r"logit_scale_a|audio_projection\..*|audio_model\.audio_encoder\.((batch_norm|patch_embed|norm)\..*"
    r"|layers\.\d+\.(downsample\.(norm|reduction)"
    r"|blocks\.\d+\.(attention\.self\.(query|key|value)|attention\.output\.dense|intermediate\.dense"
    r"|output\.dense|layernorm_before|layernorm_after))\.(weight|bias)"
    r"|layers\.\d+\.blocks\.\d+\.attention\.self\.relative_position_bias_table)"
)


def cpu_tower(tower: Any, dtype: torch.dtype) -> Tower:
    """Return the fast tower; if transformers' modules are not as it expects, their own, with a warning.

    Parameters
    ----------
    tower
        A ``ClapAudioModelWithProjection`` in float32; it is not changed.
    dtype
        float32 or bfloat16.
    """
    try:
        unknown = [name for name, _ in tower.named_parameters() if not _WEIGHTS.fullmatch(name)]
        if unknown:
            raise ValueError(f"it has a weight {unknown[0]}")
        return HtsatOnCpu(tower, dtype)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        log.warning(
            "the fast audio tower does not fit the installed transformers (%s): "
            "its own tower is used, which is two to three times as slow",
            " ".join(str(error).split()),
        )
    own = copy.deepcopy(tower).to(dtype)  # a copy, or bfloat16 would round the original

    @torch.inference_mode()
    def run(mel: Tensor) -> Tensor:
        is_longer = torch.zeros(1, 1, dtype=torch.bool)
        embedding: Tensor = own(mel[None, None].to(dtype), is_longer=is_longer).audio_embeds[0]
        return embedding.float()

    return run


class HtsatOnCpu:
    """The audio tower of a CLAP checkpoint, fast on a CPU.

    Parameters
    ----------
    tower
        A ``ClapAudioModelWithProjection`` in float32; it is not changed.
    dtype
        Precision of the blocks: float32 or bfloat16.
    """

    def __init__(self, tower: Any, dtype: torch.dtype) -> None:
        encoder = tower.audio_model.audio_encoder
        self._dtype = dtype
        # These take little time, and bfloat16 is too coarse for decibels.
        self._normalize, self._to_patches = encoder.batch_norm, encoder.patch_embed
        self._projection = tower.audio_projection
        self._side, self._n_folds = encoder.spec_size, encoder.freq_ratio
        self._norm = _LayerNorm(encoder.norm, dtype)
        self._steps: list[_Block | _Merge] = []
        for stage, grid in zip(encoder.layers, encoder.input_resolutions, strict=True):
            order = torch.arange(grid[0] * grid[1])
            for index, block in enumerate(stage.blocks):
                step = _Block(block, grid, order, shifted=index % 2 == 1, dtype=dtype)
                self._steps.append(step)
                order = step.order
            if stage.downsample is not None:
                self._steps.append(_Merge(stage.downsample, grid, order, dtype))

    @torch.inference_mode()
    def __call__(self, mel: Tensor) -> Tensor:
        """Return the embedding ``(dim,)``, not normalised, of a spectrogram ``(n_frames, n_mels)``."""
        image = self._fold(self._normalize(mel.T[None, :, :, None])[0, :, :, 0])
        # Clips of up to 10 s: none is fused with crops of a longer one.
        tokens = self._to_patches(image[None, None], [])[0].to(self._dtype)
        for step in self._steps:
            tokens = step(tokens)
        embedding: Tensor = self._projection(self._norm(tokens).float().mean(dim=0))
        return embedding

    def _fold(self, mel: Tensor) -> Tensor:
        """Make a spectrogram ``(n_mels, n_frames)`` square: stretched in time, cut, the parts stacked."""
        stretched = functional.interpolate(
            mel.T[None, None], (self._side * self._n_folds, len(mel)), mode="bicubic", align_corners=True
        )
        return stretched.view(self._n_folds, self._side, len(mel)).transpose(1, 2).reshape(-1, self._side)


class _LayerNorm:
    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype):
        self._shape, self._eps = norm.normalized_shape, norm.eps
        self._weight, self._bias = norm.weight.detach().to(dtype), norm.bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self._shape, self._weight, self._bias, self._eps)


class _Block:
    """Attention within square windows of the grid, then a two-layer perceptron; both residual."""

    def __init__(self, block: Any, grid: tuple[int, int], before: Tensor, shifted: bool, dtype: torch.dtype):
        attention = block.attention.self
        side = min(block.window_size, *grid)
        # Where the grid is one window, there is nothing to shift.
        shift = side // 2 if shifted and min(grid) > side else 0
        self._window, self._heads = side * side, attention.num_attention_heads
        self.order = _window_order(grid, side, shift)
        self._moves = _moves(before, self.order)
        bias = _attention_bias(attention, grid, side, shift, self.order).to(dtype)
        n_windows = max(1, _TOKENS // self._window)
        self._part = n_windows * self._window
        self._biases = torch.split(bias, n_windows * self._heads)
        parts = [attention.query, attention.key, attention.value]
        self._qkv = Packed(
            torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]), dtype
        )
        out, up, down = block.attention.output.dense, block.intermediate.dense, block.output.dense
        self._out = Packed(out.weight, out.bias, dtype)
        self._up = Packed(up.weight, up.bias, dtype, activation="gelu")
        self._down = Packed(down.weight, down.bias, dtype)
        self._norm_before = _LayerNorm(block.layernorm_before, dtype)
        self._norm_after = _LayerNorm(block.layernorm_after, dtype)

    def __call__(self, tokens: Tensor) -> Tensor:
        if self._moves is not None:
            tokens = tokens.index_select(0, self._moves)
        parts = zip(torch.split(tokens, self._part), self._biases, strict=True)
        done = [self._run(part, bias) for part, bias in parts]
        return done[0] if len(done) == 1 else torch.cat(done)

    def _run(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Return some windows' tokens after the block."""
        tokens = self._out(self._attend(self._norm_before(tokens), bias), add_to=tokens)
        return self._down(self._up(self._norm_after(tokens)), add_to=tokens)

    def _attend(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Return what the tokens ``(n_tokens, channels)``, window after window, see in their windows."""
        n_tokens, channels = tokens.shape
        size = channels // self._heads
        parts = self._qkv(tokens).view(-1, self._window, 3, self._heads, size)
        query, key, value = parts.permute(2, 0, 3, 1, 4).reshape(3, -1, self._window, size)
        scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=size**-0.5)
        torch.softmax(scores, dim=-1, out=scores)
        seen = torch.bmm(scores, value).view(-1, self._heads, self._window, size)
        return seen.transpose(1, 2).reshape(n_tokens, channels)


class _Merge:
    """Four neighbouring tokens become one with twice the channels."""

    def __init__(self, merge: Any, grid: tuple[int, int], before: Tensor, dtype: torch.dtype):
        height, width = grid
        squares = torch.arange(height * width).view(height // 2, 2, width // 2, 2).permute(0, 2, 3, 1)
        self._moves = _moves(before, squares.reshape(-1))
        self._norm = _LayerNorm(merge.norm, dtype)
        self._reduce = Packed(merge.reduction.weight, merge.reduction.bias, dtype)

    def __call__(self, tokens: Tensor) -> Tensor:
        if self._moves is not None:
            tokens = tokens.index_select(0, self._moves)
        return self._reduce(self._norm(tokens.view(len(tokens) // 4, -1)))


def _moves(before: Tensor, after: Tensor) -> Tensor | None:
    """Return where the tokens of one order are in another; None if it is the same one."""
    return None if torch.equal(before, after) else before.argsort()[after]


def _window_order(grid: tuple[int, int], side: int, shift: int) -> Tensor:
    """Return the indices of the tokens, window after window, of the grid rolled by ``shift``."""
    height, width = grid
    indices = torch.arange(height * width).view(grid).roll((-shift, -shift), dims=(0, 1))
    windows = indices.view(height // side, side, width // side, side).transpose(1, 2)
    return windows.reshape(-1)


def _attention_bias(attention: Any, grid: tuple[int, int], side: int, shift: int, order: Tensor) -> Tensor:
    """Return what is added to the attention scores, ``(n_windows * n_heads, window, window)``.

    That is the learned bias of relative positions; and in windows that the roll has put together from
    opposite edges of the grid, -100 between tokens that are not neighbours.
    """
    window = side * side
    index = attention.relative_position_index.view(-1)
    position = (
        attention.relative_position_bias_table.detach()[index].view(window, window, -1).permute(2, 0, 1)
    )
    rows, columns = (torch.arange(size) < shift for size in grid)  # those that come from the opposite edge
    regions = (2 * rows[:, None] + columns).view(-1)[order].view(-1, 1, window)
    mask = -100.0 * (regions != regions.transpose(1, 2))
    bias: Tensor = mask[:, None] + position
    return bias.reshape(-1, window, window)
