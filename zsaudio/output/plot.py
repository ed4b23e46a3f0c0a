"""A picture of a recording: mel spectrogram, the score of each label over time, and its events.

Needs matplotlib, the extra ``plot``.
"""

import io
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zsaudio.audio.sources import Source
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import MissingExtraError, install_command
from zsaudio.files import write_atomically
from zsaudio.labels import Label
from zsaudio.output.overview import BANDS, RANGE_DB, ScoreCurves, choose_lanes, label_colour, mel_spectrogram
from zsaudio.results import ClipEvents, Event

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GREY = "#9a9a9a"


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
    lanes = choose_lanes(clip, labels, scores)
    height = 0.62 if len(lanes) < 7 else 0.5  # inches per lane
    figure = _new_figure(figsize=(14, 3.4 + height * len(lanes)), layout="constrained")
    axes = figure.subplots(
        1 + len(lanes), 1, sharex=True, squeeze=False, height_ratios=[2.6 / height] + [1.0] * len(lanes)
    )[:, 0]
    decibels, centres = mel_spectrogram(source, channel, clip.duration_s, sample_rate)
    _draw_spectrogram(axes[0], decibels, centres, clip.duration_s)
    axes[0].set_title(_title(clip, len(labels) - len(lanes)), loc="left", fontsize=11)
    for axis, index in zip(axes[1:], lanes, strict=True):
        own = [event for event in clip.events if event.label == labels[index].name]
        colour = label_colour(index) if own else _GREY
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
    extent = (0.0, duration_s, -0.5, BANDS - 0.5)
    axis.imshow(
        decibels.T,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=top - RANGE_DB,
        vmax=top,
        interpolation="nearest",
    )
    ticks = [hertz for hertz in (125, 500, 1000, 2000, 4000, 8000, 16_000, 32_000) if hertz < centres[-1]]
    axis.set_yticks(np.interp(ticks, centres, np.arange(BANDS)), [f"{tick / 1000:g}" for tick in ticks])
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
