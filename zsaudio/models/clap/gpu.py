"""CLAP's audio tower on a GPU: few transfers, and batches that its memory holds."""

import copy
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zsaudio.audio.log_mel import LogMel
from zsaudio.models.clap.upload import Upload
from zsaudio.models.device import explain_out_of_memory, free_cache, is_out_of_memory, out_of_memory

log = logging.getLogger("zsaudio")

# What a window takes in float32, at most: 58 MB in the tower of laion/larger_clap_general, 12 MB in the front
# end before it (measured on a processor). The rest is for workspaces, and memory in pieces.
_WINDOW_BYTES = 128 * 2**20
_LARGEST_BATCH = 128  # more would only take memory: 2 MB a window of the machine's own, too
_USUAL_BATCH = 32  # where a device does not tell its free memory
_WITHOUT_FLOAT64 = ("mps",)


class TowerOnGpu:
    """The audio tower of a checkpoint with its front end.

    Parameters
    ----------
    tower
        A ``ClapAudioModelWithProjection`` in float32; nothing of it is changed.
    log_mel
        The front end; it is moved to the device, unless that cannot compute in float64.
    device, dtype
        Where the tower runs, and in which precision.
    pool
        Threads for the front end where it stays on the processor.
    sample_rate, n_samples
        Of the waveforms that the front end takes.
    """

    def __init__(
        self,
        tower: Any,
        log_mel: LogMel,
        device: torch.device,
        dtype: torch.dtype,
        pool: ThreadPoolExecutor,
        sample_rate: int,
        n_samples: int,
    ) -> None:
        self._device, self._dtype, self._pool = device, dtype, pool
        self._mel_there = device.type not in _WITHOUT_FLOAT64
        with explain_out_of_memory(device):
            self._tower = copy.deepcopy(tower).to(
                device, dtype
            )  # a copy, or bfloat16 would round the original
            self._log_mel = log_mel.to(device) if self._mel_there else log_mel
        self._upload = Upload(device if self._mel_there else torch.device("cpu"), sample_rate, n_samples)

    @torch.inference_mode()
    def __call__(self, windows: Sequence[np.ndarray]) -> Tensor:
        """Return the embeddings ``(n_windows, dim)``, not normalised, in the machine's own memory."""
        waveforms = self._upload(windows)
        if self._mel_there:
            mels = self._log_mel(waveforms)
        else:
            mels = torch.cat(list(self._pool.map(self._log_mel, torch.split(waveforms, 1)))).to(self._device)
        # A fused model takes four channels, but looks at the last three only where `is_longer` is set.
        is_longer = torch.zeros(len(mels), 1, dtype=torch.bool, device=self._device)
        embeddings: Tensor = self._tower(mels[:, None].to(self._dtype), is_longer=is_longer).audio_embeds
        return embeddings.float().cpu()


class Batches:
    """Call a function with as many windows at a time as a device's memory holds.

    Where it holds fewer than was thought, a batch is halved and tried again, and later ones are no larger.

    Parameters
    ----------
    embed
        Takes windows and returns a row for each.
    device
        Whose memory it fills.
    size
        Windows at a time, at first.

    Raises
    ------
    ModelError
        When called, if the memory does not hold a single window.
    """

    def __init__(
        self, embed: Callable[[Sequence[np.ndarray]], Tensor], device: torch.device, size: int
    ) -> None:
        self._embed, self._device, self.size = embed, device, size

    def __call__(self, windows: Sequence[np.ndarray]) -> Tensor:
        """Return the rows of all windows, in order."""
        rows: list[Tensor] = []
        start = 0
        while start < len(windows):
            batch = windows[start : start + self.size]
            embedded = self._try(batch)
            if embedded is None:
                self._halve(len(batch))
            else:
                rows.append(embedded)
                start += len(batch)
        return torch.cat(rows)

    def _try(self, batch: Sequence[np.ndarray]) -> Tensor | None:
        """Return the rows of a batch, or None where the memory does not hold it."""
        try:
            return self._embed(batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise out_of_memory(self._device) from error
        return None  # only now, without the error, which holds on to the batch's memory

    def _halve(self, size: int) -> None:
        self.size = size // 2
        free_cache(self._device)
        log.warning(
            "the memory of device '%s' does not hold %d windows at once: it gets %d from now on",
            self._device,
            size,
            self.size,
        )


def first_batch_size(device: torch.device) -> int:
    """Return how many windows to try at a time: what fits into the free memory, within reason."""
    if device.type != "cuda":
        return _USUAL_BATCH
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(free // _WINDOW_BYTES, _LARGEST_BATCH))
