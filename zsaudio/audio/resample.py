"""Change of sample rate, by soxr: of a whole signal, or of a stream.

Conventions: samples are float32 mono ``(n_samples,)``; rates are in Hz.
"""

import numpy as np
import soxr


def resample(samples: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Return the samples at another rate.

    Equal, sample by sample, to a ``StreamResampler`` fed with the same samples in pieces of any size.

    Examples
    --------
    >>> import numpy as np
    >>> resample(np.zeros(48_000, np.float32), 48_000, 16_000).shape
    (16000,)
    """
    return StreamResampler(source_rate, target_rate).push(samples, last=True)


class StreamResampler:
    """Change the sample rate of a stream, block by block.

    Parameters
    ----------
    source_rate, target_rate
        Rates in Hz. Where they are equal, blocks pass through untouched.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self._stream = (
            None
            if source_rate == target_rate
            else soxr.ResampleStream(source_rate, target_rate, num_channels=1, dtype="float32")
        )

    def push(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Take the next block; return the samples that are ready: with ``last``, all that remain."""
        if self._stream is None:
            return block
        return np.asarray(self._stream.resample_chunk(np.ascontiguousarray(block, np.float32), last=last))
