"""What ``viewer.js`` shows of a recording, as data for JSON: pictures, events, sound, settings.

A report holds it whole. A program that serves the viewer leaves the sound out and names addresses,
``audio_url`` and ``detail_url``, from which the viewer fetches the sound of a stretch, and a finer picture.
"""

import base64
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any

import numpy as np
import soxr

from zsaudio.audio.encode import encoded
from zsaudio.audio.reader import AudioReader
from zsaudio.audio.sources import Source
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import DamagedAudioError
from zsaudio.labels import Label
from zsaudio.output.overview import RANGE_DB, ScoreCurves, choose_lanes, label_colour
from zsaudio.results import ClipEvents, Event

OPUS_RATE = 48_000  # Hz
_MARGIN_S = 1.0  # of sound around an event
_WHOLE_S = 120.0  # a recording no longer than this is embedded whole
_MOST_S = 1800.0  # of sound in a page; events after it are silent
_LONGEST_S = 60.0  # of the sound of one event

Spectrogram = tuple[np.ndarray, np.ndarray]  # what mel_spectrogram returns


def scene(
    clip: ClipEvents,
    curves: ScoreCurves,
    spectrogram: Spectrogram,
    labels: Sequence[Label],
    options: DetectionOptions,
    settings: Sequence[tuple[str, str]] = (),
    **more: Any,
) -> dict[str, Any]:
    """Return what the viewer shows of a recording.

    Parameters
    ----------
    clip, curves, spectrogram
        Its events, scores and ``mel_spectrogram``.
    labels
        The labels that the scores are of, without background.
    options
        How the events were found; for the thresholds.
    settings
        Names and values for the reader.
    more
        ``audio``, ``audio_url``, ``detail_url``, ``title`` and ``note``, where they are not empty.
    """
    thresholds, _ = options.thresholds(labels)
    lanes = choose_lanes(clip, labels, curves.arrays()[1])
    place = {label.name: number for number, label in enumerate(labels)}
    n_hidden = len(labels) - len(lanes)
    started = clip.started
    return {
        "title": clip.clip,
        "summary": summary(clip),
        "duration": clip.duration_s,
        "started": None if started is None else started.hour * 3600 + started.minute * 60 + started.second,
        "error": "" if clip.error is None else str(clip.error),
        "labels": [
            {"name": label.name, "colour": label_colour(number), "threshold": float(thresholds[number])}
            for number, label in enumerate(labels)
        ],
        "lanes": lanes,
        "events": [
            [round(event.onset, 3), round(event.offset, 3), place[event.label], round(event.score, 4)]
            for event in clip.events
        ],
        "overview": picture(0.0, clip.duration_s, curves, spectrogram, lanes),
        "audio": [],
        "audio_url": "",
        "detail_url": "",
        "note": f"{n_hidden} labels that scored lower are not drawn." if n_hidden else "",
        "settings": [list(pair) for pair in settings],
    } | more


def picture(
    start_s: float, end_s: float, curves: ScoreCurves, spectrogram: Spectrogram, lanes: Sequence[int]
) -> dict[str, Any]:
    """Return spectrogram and score curves of a stretch of a recording, for the viewer."""
    edges, scores = curves.arrays()
    columns = scores[:, list(lanes)] if len(scores) else np.zeros((0, len(lanes)))
    decibels, centres = spectrogram
    top = max(float(decibels.max()), -60.0)  # of silence, the noise is not blown up
    grey = np.clip((decibels - top + RANGE_DB) / RANGE_DB, 0, 1)
    ticks = [hertz for hertz in (125, 500, 1000, 2000, 4000, 8000, 16_000, 32_000) if hertz < centres[-1]]
    heights = np.interp(ticks, centres, (np.arange(len(centres)) + 0.5) / len(centres))
    return {
        "from": start_s,
        "to": end_s,
        "edges": _packed(edges.astype("<f4")),
        "scores": _packed(np.rint(columns * 255).astype(np.uint8)),
        "spectrogram": {
            "columns": len(grey),
            "bands": len(centres),
            "values": _packed(np.rint(grey * 255).astype(np.uint8)),
            "ticks": [
                [f"{hertz} Hz" if hertz < 1000 else f"{hertz // 1000} kHz", float(height)]
                for hertz, height in zip(ticks, heights, strict=True)
            ],
        },
    }


def summary(clip: ClipEvents) -> str:
    """Return length and number of events in a line.

    >>> summary(ClipEvents("a.wav", 75.0, 16_000))
    '1 min 15 s · 0 events'
    """
    n_events = len(clip.events)
    minutes, seconds = divmod(round(clip.duration_s), 60)
    length = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"
    if not minutes:
        length = f"{clip.duration_s:.1f} s"
    day = "" if clip.started is None else f"{clip.started:%Y-%m-%d} · "
    return f"{day}{length} · {n_events:,} event{'s' * (n_events != 1)}"


def described(options: DetectionOptions) -> list[tuple[str, str]]:
    """Return the options that are set, with their values."""
    values = [(field.name, getattr(options, field.name)) for field in fields(options)]
    return [
        (name.removesuffix("_s").replace("_", " "), f"{value:g}")
        for name, value in values
        if value is not None
    ]


def embedded_audio(
    source: Source, clip: ClipEvents, channel: int | None = None
) -> tuple[list[list[Any]], str]:
    """Return a recording's sound as ``[start_s, end_s, data URL]``, and a note on what is left out.

    Of a long recording, only what is around its events is taken.

    Raises
    ------
    AudioError
        If the recording cannot be read.
    """
    spans, n_silent = _spans(clip)
    segments: list[list[Any]] = []
    reader = AudioReader(source, None, channel)
    rate, position = reader.sample_rate, 0
    parts: list[np.ndarray] = []
    waiting = iter(spans)
    span = next(waiting, None)
    for block in _until_damage(reader.blocks()):
        while span is not None:
            first, last = (round(seconds * rate) - position for seconds in span)
            parts.append(block[max(0, first) : max(0, last)])
            if last > len(block):  # it goes on in the next block
                break
            segments.append([*span, _data_url(np.concatenate(parts), rate)])
            parts, span = [], next(waiting, None)
        position += len(block)
    if span is not None and any(len(part) for part in parts):
        segments.append([*span, _data_url(np.concatenate(parts), rate)])
    if clip.duration_s <= _WHOLE_S:
        return segments, ""
    note = "Sound is included around the events."
    if n_silent:
        note += f" {n_silent} events have none, which would make the page too large."
    return segments, note


def opus(samples: np.ndarray, sample_rate: int) -> bytes:
    """Return mono samples ``(n_samples,)`` as an Ogg file with Opus, which browsers play."""
    if sample_rate != OPUS_RATE:
        samples = soxr.resample(samples, sample_rate, OPUS_RATE)
    return encoded(np.clip(samples, -1, 1), OPUS_RATE, format="OGG", subtype="OPUS", compression_level=0.8)


def _data_url(samples: np.ndarray, sample_rate: int) -> str:
    return "data:audio/ogg;base64," + base64.b64encode(opus(samples, sample_rate)).decode()


def _spans(clip: ClipEvents) -> tuple[list[tuple[float, float]], int]:
    """Return the stretches whose sound is embedded, in order, and the number of events without."""
    if clip.duration_s <= _WHOLE_S:
        return [(0.0, clip.duration_s)], 0
    spans: list[tuple[float, float]] = []
    total, n_silent = 0.0, 0
    for event in clip.events:
        start, end = _around(event, clip.duration_s)
        joins = bool(spans) and start <= spans[-1][1]
        more = max(0.0, end - (spans[-1][1] if joins else start))
        if total + more > _MOST_S:
            n_silent += 1
            continue
        total += more
        spans[len(spans) - joins :] = [(spans[-1][0], max(end, spans[-1][1])) if joins else (start, end)]
    return spans, n_silent


def _around(event: Event, duration_s: float) -> tuple[float, float]:
    end = min(event.offset, event.onset + _LONGEST_S)
    return max(0.0, event.onset - _MARGIN_S), min(duration_s, end + _MARGIN_S)


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _until_damage(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield blocks as far as they can be read: that a recording breaks off is reported with its events."""
    with suppress(DamagedAudioError):
        yield from blocks
