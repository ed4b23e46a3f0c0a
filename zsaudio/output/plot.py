"""A picture of a recording: mel spectrogram, the score of each label over time, and its events.

Needs matplotlib, the extra ``plot``. Memory does not grow with the length of the recording: scores and
spectrogram are kept at the resolution of the picture.
"""

import io
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zsaudio.audio.reader import AudioReader
from zsaudio.audio.sources import Source
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import AudioError, MissingExtraError, install_command
from zsaudio.files import write_atomically
from zsaudio.labels import Label
from zsaudio.results import ClipEvents, Event, FrameScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LANES = 12
_COLUMNS = 1600  # about what a figure has pixels across
_FRAMES_PER_COLUMN = 4
_BANDS = 96
_RANGE_DB = 70.0
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17a2b8", "#8c564b", "#e377c2")
_GREY = "#9a9a9a"


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
            if len(self._scores) == 2 * _COLUMNS:
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


def require_matplotlib() -> None:
    """Raise MissingExtraError where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"plots need matplotlib: {install_command('plot')}") from error


def save_figure(figure: "Figure", path: Path, dpi: int) -> None:
    """Write a figure in the format that the path's suffix names; write no file if that fails."""
    image = io.BytesIO()
    figure.savefig(image, dpi=dpi, format=path.suffix.lstrip(".") or "png")
    write_atomically(path, image.getvalue())


def draw_clip(
    clip: ClipEvents,
    source: Source,
    curves: ScoreCurves,
    labels: Sequence[Label],
    options: DetectionOptions,
    path: Path,
    channel: int | None = None,
) -> None:
    """Draw a recording into an image file, in the format that the path's suffix names.

    The other arguments are those of ``clip_figure``.
    """
    save_figure(clip_figure(clip, source, curves, labels, options, channel=channel), path, dpi=110)


def clip_figure(
    clip: ClipEvents,
    source: Source,
    curves: ScoreCurves,
    labels: Sequence[Label],
    options: DetectionOptions,
    *,
    sample_rate: int | None = None,
    channel: int | None = None,
) -> "Figure":
    """Return a figure of a recording; notebooks show it as an image.

    Parameters
    ----------
    clip
        The recording's events.
    source, sample_rate, channel
        The recording itself, which is read once more for its spectrogram.
    curves
        Its scores.
    labels
        The labels that the scores are of, without background.
    options
        The options with which the events were found; for the thresholds.
    """
    edges, scores = curves.arrays()
    thresholds, _ = options.thresholds(labels)
    lanes = _choose_lanes(clip, labels, scores)
    height = 0.62 if len(lanes) < 7 else 0.5  # inches per lane
    figure = _new_figure(figsize=(14, 3.4 + height * len(lanes)), layout="constrained")
    axes = figure.subplots(
        1 + len(lanes), 1, sharex=True, squeeze=False, height_ratios=[2.6 / height] + [1.0] * len(lanes)
    )[:, 0]
    decibels, centres = mel_spectrogram(source, channel, clip.duration_s, sample_rate)
    _draw_spectrogram(axes[0], decibels, centres, clip.duration_s)
    axes[0].set_title(_title(clip, len(labels) - len(lanes)), loc="left", fontsize=11)
    for number, (axis, index) in enumerate(zip(axes[1:], lanes, strict=True)):
        own = [event for event in clip.events if event.label == labels[index].name]
        colour = _COLOURS[number % len(_COLOURS)] if own else _GREY
        _draw_lane(axis, labels[index].name, edges, scores[:, index], thresholds[index], colour)
        spans = [_visible(event, clip.duration_s / 500) for event in own]
        axis.broken_barh(spans, (1.08, 0.3), color=colour, linewidth=0)
    _label_time(axes[-1], clip)
    return figure


def _new_figure(**options: Any) -> "Figure":
    """Return a figure that notebooks show, which else needs pyplot."""
    require_matplotlib()
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        def _repr_png_(self) -> bytes:
            image = io.BytesIO()
            self.savefig(image, format="png", dpi=70)
            return image.getvalue()

    return NotebookFigure(**options)


def mel_spectrogram(
    source: Source, channel: int | None, duration_s: float, sample_rate: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a recording's mel spectrogram in dB, ``(n_columns, n_bands)``, and the bands' centres in Hz.

    For a long recording, only a few frames per column of the picture are computed.
    """
    import librosa

    reader = AudioReader(source, sample_rate, channel)
    rate = reader.sample_rate
    size = 2 ** round(np.log2(0.045 * rate))
    step = max(size // 4, int(duration_s * rate / (_COLUMNS * _FRAMES_PER_COLUMN)))
    filters = librosa.filters.mel(sr=rate, n_fft=size, n_mels=_BANDS, fmin=50.0).T
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
    power = np.concatenate(frames) if frames else np.zeros((1, _BANDS))
    group = -(-len(power) // _COLUMNS)
    power = np.stack([power[start : start + group].mean(axis=0) for start in range(0, len(power), group)])
    centres = librosa.mel_frequencies(_BANDS + 2, fmin=50.0, fmax=rate / 2)[1:-1]
    return 10 * np.log10(np.maximum(power, 1e-12)), centres


def _readable(reader: AudioReader) -> Iterator[np.ndarray]:
    """Yield a recording as far as it can be read: that it breaks off is reported with its events."""
    try:
        yield from reader.blocks()
    except AudioError:
        return


def _choose_lanes(clip: ClipEvents, labels: Sequence[Label], scores: np.ndarray) -> list[int]:
    """Return the labels to draw: those with events, then those with the highest scores; in order."""
    detected = {event.label for event in clip.events}
    peaks = scores.max(axis=0, initial=0.0)
    best = sorted(range(len(labels)), key=lambda index: (labels[index].name not in detected, -peaks[index]))
    return sorted(best[:MOST_LANES])


def _title(clip: ClipEvents, n_left_out: int) -> str:
    n_events = len(clip.events)
    text = f"{clip.clip}    {n_events} event{'s' * (n_events != 1)}"
    if clip.started is not None:
        text += f"    {clip.started:%Y-%m-%d}"
    return text + (f"    {n_left_out} labels that scored lower are not shown" if n_left_out else "")


def _visible(event: Event, least_s: float) -> tuple[float, float]:
    """Return onset and length of an event, widened around its middle if it would be too thin to see."""
    length = event.offset - event.onset
    widened = max(length, least_s)
    return event.onset + (length - widened) / 2, widened


def _draw_spectrogram(axis: "Axes", decibels: np.ndarray, centres: np.ndarray, duration_s: float) -> None:
    top = float(decibels.max())
    extent = (0.0, duration_s, -0.5, _BANDS - 0.5)
    axis.imshow(
        decibels.T,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=top - _RANGE_DB,
        vmax=top,
        interpolation="nearest",
    )
    ticks = [hertz for hertz in (125, 500, 1000, 2000, 4000, 8000, 16_000, 32_000) if hertz < centres[-1]]
    axis.set_yticks(np.interp(ticks, centres, np.arange(_BANDS)), [f"{tick / 1000:g}" for tick in ticks])
    axis.set_ylabel("kHz")


def _draw_lane(
    axis: "Axes", name: str, edges: np.ndarray, scores: np.ndarray, threshold: float, colour: str
) -> None:
    axis.stairs(scores, edges, fill=True, color=colour, alpha=0.35, linewidth=0)
    axis.stairs(scores, edges, color=colour, linewidth=1.0, baseline=None)
    axis.axhline(threshold, color="black", linewidth=0.7, linestyle=(0, (4, 3)), alpha=0.6)
    axis.set_ylim(0, 1.42)
    axis.set_yticks([0, 1])
    axis.tick_params(axis="y", labelsize=7)
    axis.set_ylabel(name, rotation=0, horizontalalignment="right", verticalalignment="center", labelpad=14)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", linewidth=0.4, alpha=0.5)


def _label_time(axis: "Axes", clip: ClipEvents) -> None:
    """Label the time axis at round times."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400)
    step = next((step for step in steps if clip.duration_s / step <= 14), 86_400)
    ticks = np.arange(0, clip.duration_s + step / 2, step)
    ticks = ticks[ticks <= clip.duration_s]
    if clip.started is not None:
        form = "%H:%M:%S" if step < 60 else "%H:%M"
        texts = [(clip.started + timedelta(seconds=float(tick))).strftime(form) for tick in ticks]
    elif clip.duration_s < 60:
        texts = [f"{tick:g} s" if step >= 1 else f"{tick:.1f} s" for tick in ticks]
    elif clip.duration_s < 3600 or step < 60:
        texts = [f"{int(tick) // 60}:{int(tick) % 60:02}" for tick in ticks]
    else:
        texts = [f"{int(tick) // 3600}:{int(tick) // 60 % 60:02} h" for tick in ticks]
    axis.set_xticks(ticks, texts)
    axis.set_xlim(0, clip.duration_s)
