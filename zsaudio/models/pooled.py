"""An encoder with longer frames."""

from collections.abc import Sequence

import numpy as np

from zsaudio.audio.windows import Excerpt
from zsaudio.labels import LabelSet
from zsaudio.models.base import Encoder, LabelBank, LogitsByComparing


class Pooled(LogitsByComparing):
    """An encoder whose frames are *stretches*: several frames of another encoder in a row.

    The embedding of a stretch is the mean of its frames' embeddings, each weighted by its amplitude (root
    mean square), so that a short sound counts more than the pause about it. The mean is not brought to unit
    norm: its inner product with a label's embedding is the weighted mean of theirs, so the logit of a
    stretch is the weighted mean of the logits of its frames, wherever a logit is linear in that inner
    product.

    Parameters
    ----------
    base
        An encoder with several frames per window.
    n_frames
        Frames in a stretch; the last stretch of a window may have fewer.
    """

    def __init__(self, base: Encoder, n_frames: int) -> None:
        self.base, self.n_frames = base, n_frames
        self.name, self.sample_rate, self.dim = base.name, base.sample_rate, base.dim
        self.window_s, self.context_s = base.window_s, base.context_s
        self.frame_s = base.frame_s * n_frames
        if hasattr(base, "resample_margin"):
            self.resample_margin = base.resample_margin

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the embeddings ``(n_stretches, dim)``, of a norm of 1 or less."""
        pairs = zip(windows, self.base.encode_audio(windows), strict=True)
        return [self._pool(frames, self._amplitude(window, len(frames))) for window, frames in pairs]

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the base's embeddings."""
        return self.base.encode_text(prompts)

    def embed_labels(self, labels: LabelSet) -> LabelBank:
        """Return the base's bank."""
        return self.base.embed_labels(labels)

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return per window the log-odds ``(n_stretches, n_labels)`` for its embeddings."""
        return self.base.compare(embeddings, bank)

    def _amplitude(self, window: np.ndarray | Excerpt, n_frames: int) -> np.ndarray:
        """Return the root mean square of each frame of a window, ``(n_frames, 1)``, above 0."""
        excerpt = Excerpt.of(window, self.sample_rate)
        starts = excerpt.before + np.round(np.arange(n_frames) * self.base.frame_s * excerpt.sample_rate)
        n_samples = len(excerpt.samples)
        starts = np.minimum(starts.astype(int), n_samples - 1)
        power = np.add.reduceat(np.square(excerpt.samples, dtype=np.float64), starts)
        return np.asarray(np.sqrt(power / np.diff(starts, append=n_samples).clip(1)) + 1e-6)[:, None]

    def _pool(self, frames: np.ndarray, weights: np.ndarray) -> np.ndarray:
        starts = np.arange(0, len(frames), self.n_frames)
        total = np.add.reduceat(weights, starts, axis=0)
        return np.asarray(np.add.reduceat(frames * weights, starts, axis=0) / total, np.float32)
