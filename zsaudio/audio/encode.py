"""Audio as the content of a file."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np


def encoded(samples: np.ndarray, sample_rate: int, **options: Any) -> bytes:
    """Return samples ``(n_samples,)`` or ``(n_samples, n_channels)`` as the content of an audio file.

    ``options`` are those of ``soundfile.write``: ``format``, ``subtype`` and others.
    """
    import soundfile

    file = io.BytesIO()
    # libsndfile writes through callbacks, in which the exception of Ctrl-C or SIGTERM would be lost; a thread
    # other than the main one gets no signals
    with ThreadPoolExecutor(1) as thread:
        thread.submit(soundfile.write, file, samples, sample_rate, **options).result()
    return file.getvalue()
