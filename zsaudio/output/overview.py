"""A recording at a glance: its spectrogram, the scores of its labels over time, and the labels' colours.

Memory does not grow with the length of the recording: scores and spectrogram are kept at the resolution of a
picture.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from zsaudio.audio.reader import AudioReader
from zsaudio.audio.sources import Source
from zsaudio.errors import AudioError
from zsaudio.labels import Label
from zsaudio.results import ClipEvents, FrameScores

MOST_LANES = 12
BANDS = 96
LOWEST = 50.0  # Hz
RANGE_DB = 70.0
COLUMNS = 1600  # about what a figure has pixels across
_FRAMES_PER_COLUMN = 4
# Of about one lightness, so that all are readable on white and on black.
_COLOURS = (
    "#4c78a8 #d1605e #4f9d5d #a371b0 #c98a2b #2f9c9c #9c755f #d0759b #7479c6 #7f9a3a #c2703f #6d8796".split()
)


def label_colour(number: int) -> str:
    """Return the colour of a label by its place among those reported; every twelfth has the same."""
    return _COLOURS[number % len(_COLOURS)]


class ScoreCurves:
    """The scores of one recording over time, in bounded memory: where there are many frames, their maxima."""

    def __init__(self) -> None:
        self._onsets: list[float] = []
        self._scores: list[np.ndarray] = []
        self._group = 1  # frames per point
        self._in_group = 0
        self.end = 0.0

    def add(self, frame: FrameScores) -> None:
        """Take the next frame."""
        if self._in_group == 0:
            if len(self._scores) == 2 * COLUMNS:
                self._scores = [np.maximum(*pair) for pair in zip(*[iter(self._scores)] * 2, strict=True)]
                self._onsets = self._onsets[::2]
                self._group *= 2
            self._onsets.append(frame.onset)
            self._scores.append(frame.scores)
        else:
            self._scores[-1] = np.maximum(self._scores[-1], frame.scores)
        self._in_group = (self._in_group + 1) % self._group
        self.end = frame.offset

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the edges between points, ``(n_points + 1,)``, and the scores, ``(n_points, n_labels)``."""
        return np.array([*self._onsets, self.end]), np.array(self._scores)


def mel_spectrogram(
    source: Source, channel: int | None, duration_s: float, sample_rate: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a recording's mel spectrogram in dB, ``(n_columns, n_bands)``, and the bands' centres in Hz.

    For a long recording, only a few frames per column of the picture are computed.
    """
    from zsaudio.audio.log_mel import mel_bands, mel_filters

    reader = AudioReader(source, sample_rate, channel)
    rate = reader.sample_rate
    size = 2 ** round(np.log2(0.045 * rate))
    step = max(size // 4, int(duration_s * rate / (COLUMNS * _FRAMES_PER_COLUMN)))
    filters = mel_filters(rate, size, BANDS, LOWEST).numpy()
    filters /= np.maximum(filters.sum(axis=0), 1e-9)  # means, not sums; below 8 kHz some bands hold no bin
    taper = np.hanning(size).astype(np.float32)
    frames: list[np.ndarray] = []
    margin = np.zeros(size // 2, np.float32)  # frames are centred
    rest, skip = margin, 0  # samples not yet used; how many of them to leave out
    for block in chain(_readable(reader), [margin]):
        rest = np.concatenate([rest, block])
        starts = np.arange(skip, len(rest) - size + 1, step)
        if len(starts):
            cut = np.lib.stride_tricks.sliding_window_view(rest, size)[starts]
            frames.append(np.abs(np.fft.rfft(cut * taper)) ** 2 @ filters)
            skip = int(starts[-1]) + step
        used = min(skip, len(rest))
        rest, skip = rest[used:], skip - used
    power = np.concatenate(frames) if frames else np.zeros((1, BANDS))
    group = -(-len(power) // COLUMNS)
    power = np.stack([power[start : start + group].mean(axis=0) for start in range(0, len(power), group)])
    return 10 * np.log10(np.maximum(power, 1e-12)), mel_bands(rate, BANDS, LOWEST)[1:-1]


def _readable(reader: AudioReader) -> Iterator[np.ndarray]:
    """Yield a recording as far as it can be read: that it breaks off is reported with its events."""
    try:
        yield from reader.blocks()
    except AudioError:
        return


def choose_lanes(clip: ClipEvents, labels: Sequence[Label], scores: np.ndarray) -> list[int]:
    """Return the labels to draw: those with events, then those with the highest scores; in order."""
    detected = {event.label for event in clip.events}
    peaks = scores.max(axis=0, initial=0.0) if len(scores) else np.zeros(len(labels))
    best = sorted(range(len(labels)), key=lambda index: (labels[index].name not in detected, -peaks[index]))
    return sorted(best[:MOST_LANES])
