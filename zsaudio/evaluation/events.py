"""Evaluate detected events against annotated onsets and offsets.

Three measures. *Segment-based F1* compares which classes are present in each second. *Event-based F1* counts
an event as detected if its onset and offset are right within a tolerance. Both use the events of
``Recognizer.detect``, at one threshold. *PSDS* (polyphonic sound detection score) uses the scores of frames,
before smoothing, over all thresholds: the mean detection rate up to 100 false alarms an hour.

Conventions: times are in seconds from the start of a recording. Events of a class that touch or overlap are
one. A class without annotated events is left out of macro means and of PSDS; its detections are false alarms
in the micro figures. A class without detections has an F1 of 0.

References
----------
Mesaros et al., Metrics for Polyphonic Sound Event Detection, 2016 (segment- and event-based F1; sed_eval).
Bilen et al., A Framework for the Robust Evaluation of Sound Event Detection, ICASSP 2020 (PSDS).
Ebbers et al., Threshold Independent Evaluation of Sound Event Detection Scores, ICASSP 2022 (how PSDS is
computed from scores; sed_scores_eval).
DCASE challenge, task 4: the tolerances and both sets of PSDS parameters.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import numpy as np

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import DataError, MissingExtraError, install_command
from zsaudio.evaluation.datasets import Dataset
from zsaudio.labels import LabelSet
from zsaudio.models.base import Model
from zsaudio.recognizer import Recognizer
from zsaudio.results import ClipEvents, FrameScores

SEGMENT_S = 1.0
COLLAR_S = 0.2  # tolerance of onsets, and the least one of offsets
OFFSET_SHARE = 0.2  # of an event's length: the tolerance of its offset where that is more
PSDS: dict[str, dict[str, float | None]] = {
    "PSDS1": {
        "dtc_threshold": 0.7,
        "gtc_threshold": 0.7,
        "cttc_threshold": None,
        "alpha_ct": 0.0,
        "alpha_st": 1.0,
        "max_efpr": 100.0,
    },
    "PSDS2": {
        "dtc_threshold": 0.1,
        "gtc_threshold": 0.1,
        "cttc_threshold": 0.3,
        "alpha_ct": 0.5,
        "alpha_st": 1.0,
        "max_efpr": 100.0,
    },
}

Span = tuple[float, float, int]
"""Onset, offset, and the number of a class."""


@dataclass(frozen=True)
class Heard:
    """One recording with its annotated and detected events.

    Parameters
    ----------
    duration_s
        Its length.
    truth, found
        Events.
    edges
        ``(n_frames + 1,)``: where frames begin, and the last one ends.
    scores
        ``(n_frames, n_classes)``.
    """

    duration_s: float
    truth: tuple[Span, ...]
    found: tuple[Span, ...]
    edges: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class EventEvaluation:
    """How well events were found.

    Parameters
    ----------
    summary
        The figures, by their names.
    per_class
        The same for each class, in the order of the data set's, with the numbers of events.
    options
        How events were found.
    problems
        What is amiss with the annotations, a line each.
    """

    summary: dict[str, float]
    per_class: tuple[dict[str, float], ...]
    options: DetectionOptions
    problems: tuple[str, ...] = ()

    def parameters(self) -> dict[str, Any]:
        """Return what the figures depend on, as JSON takes it."""
        return {
            "segment_s": SEGMENT_S,
            "collar_s": COLLAR_S,
            "offset_share": OFFSET_SHARE,
            **PSDS,
            "detection": asdict(self.options),
        }


def evaluate_events(
    model: Model,
    data: Dataset,
    labels: LabelSet,
    options: DetectionOptions | None = None,
    *,
    batch_size: int = 16,
    progress: Callable[[Iterable[ClipEvents], int], Iterable[ClipEvents]] | None = None,
) -> EventEvaluation:
    """Find the events of labelled recordings and compare them with the truth.

    Parameters
    ----------
    model
        Any model.
    data
        Recordings with onsets and offsets. Those that cannot be used as audio are left out.
    labels
        What to listen for: the classes of the data, and others if need be.
    options
        How events are found.
    batch_size
        Windows that go through the model together.
    progress
        Wraps the iterator over recordings; gets their number.

    Raises
    ------
    DataError
        If no recording with an event can be used.
    MissingExtraError
        If sed_eval or sed_scores_eval is missing.
    """
    require_eval()
    options = options or DetectionOptions()
    reported = [label.name for label in labels if not label.background]
    columns = [reported.index(name) for name in data.classes]
    number = {name: i for i, name in enumerate(data.classes)}
    frames: list[FrameScores] = []
    recognizer = Recognizer(labels, model, batch_size=batch_size)
    paths = [recording.path for recording in data.recordings]
    clips: Iterable[ClipEvents] = recognizer.detect_batch(paths, options=options, on_scores=frames.append)
    if progress is not None:
        clips = progress(clips, len(paths))
    heard, problems = [], []
    for recording, clip in zip(data.recordings, clips, strict=True):
        own = frames.copy()
        frames.clear()
        if clip.error is not None or not own:
            continue
        late = [event for event in recording.events if event[0] >= clip.duration_s]
        if late:
            problems.append(
                f"{recording.path}: lasts {clip.duration_s:g} s, but {len(late)} of its events begin later, "
                f"the first at {min(late)[0]:g} s"
            )
        heard.append(
            Heard(
                clip.duration_s,
                _spans(((on, off, number[name]) for on, off, name in recording.events), clip.duration_s),
                tuple((e.onset, e.offset, number[e.label]) for e in clip.events if e.label in number),
                np.array([*(frame.onset for frame in own), own[-1].offset]),
                np.stack([frame.scores[columns] for frame in own]),
            )
        )
    if not any(recording.truth for recording in heard):
        raise DataError(f"{data.name}: no recording with an event in it can be used")
    summary, per_class = measure(heard, len(data.classes))
    return EventEvaluation(summary, tuple(per_class), options, tuple(problems))


def measure(heard: Sequence[Heard], n_classes: int) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Return all figures: over all classes, and for each."""
    present = sorted({number for recording in heard for _, _, number in recording.truth})
    rows: list[dict[str, float]] = [
        {
            "events": sum(span[2] == i for recording in heard for span in recording.truth),
            "found": sum(span[2] == i for recording in heard for span in recording.found),
        }
        for i in range(n_classes)
    ]
    summary = {}
    for name, metric in _count(heard, n_classes).items():
        of_classes = [metric.class_wise_f_measure(_key(i))["f_measure"] for i in range(n_classes)]
        summary[f"{name} macro"] = float(np.mean([of_classes[i] for i in present]))
        summary[f"{name} micro"] = float(metric.overall_f_measure()["f_measure"])
        for i, row in enumerate(rows):
            row[name] = float(of_classes[i]) if i in present else float("nan")
    for name, (score, of_class) in _psds(heard, present).items():
        summary[name] = score
        for i, row in enumerate(rows):
            row[name] = of_class.get(i, float("nan"))
    return summary, rows


def require_eval() -> tuple[ModuleType, ModuleType]:
    """Return sed_eval and sed_scores_eval, or raise MissingExtraError where they do not work."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # both are older than what they import
            import pandas
            import sed_eval
            import sed_scores_eval
    except ImportError as error:
        raise MissingExtraError(
            f"figures of events need more ({error}): {install_command('eval')}, or leave them out with "
            "--no-events"
        ) from error
    if int(pandas.__version__.split(".")[0]) >= 3:  # whose arrays are read-only, which sed_scores_eval is not
        raise MissingExtraError(
            f"figures of events need pandas below 3, not {pandas.__version__}: {install_command('eval')}, "
            "or leave them out with --no-events"
        )
    return sed_eval, sed_scores_eval


def _count(heard: Sequence[Heard], n_classes: int) -> dict[str, Any]:
    """Return the metrics of sed_eval that have seen all recordings, by name."""
    sound_event = require_eval()[0].sound_event
    classes = [_key(i) for i in range(n_classes)]
    segments = sound_event.SegmentBasedMetrics(classes, time_resolution=SEGMENT_S)
    events = sound_event.EventBasedMetrics(classes, t_collar=COLLAR_S, percentage_of_length=OFFSET_SHARE)
    for metric in (segments, events):
        # else a class of which nothing is found has no F1, and leaving it out flatters the mean
        metric.empty_system_output_handling = "zero_score"
    for recording in heard:
        truth, found = _as_sed_eval(recording.truth), _as_sed_eval(recording.found)
        segments.evaluate(truth, found, evaluated_length_seconds=recording.duration_s)
        events.evaluate(truth, found)
    return {"segment F1": segments, "event F1": events}


def _psds(heard: Sequence[Heard], present: Sequence[int]) -> dict[str, tuple[float, dict[int, float]]]:
    """Return each PSDS, and that of each class."""
    sed_scores_eval = require_eval()[1]
    create = sed_scores_eval.base_modules.scores.create_score_dataframe
    classes = [_key(i) for i in present]
    scores, truth, lengths = {}, {}, {}
    for n, recording in enumerate(heard):
        clip = str(n)
        scores[clip] = create(recording.scores[:, present].astype(np.float64), recording.edges, classes)
        truth[clip] = [(onset, offset, _key(number)) for onset, offset, number in recording.truth]
        lengths[clip] = recording.duration_s
    results = {}
    for name, parameters in PSDS.items():
        own = parameters
        if len(present) == 1:  # nothing to be taken for another
            own = {**parameters, "alpha_ct": 0.0, "cttc_threshold": None}
        score, of_class, *_ = sed_scores_eval.intersection_based.psds(
            scores=scores, ground_truth=truth, audio_durations=lengths, **own
        )
        results[name] = (float(score), {i: float(of_class[_key(i)]) for i in present})
    return results


def _spans(events: Iterable[Span], duration_s: float) -> tuple[Span, ...]:
    """Cut events to the recording, and join those of a class that touch or overlap."""
    joined: list[Span] = []
    for onset, offset, number in sorted(events, key=lambda event: (event[2], event[0])):
        if onset >= duration_s:
            continue
        offset = min(offset, duration_s)  # noqa: PLW2901  # annotations are rounded
        if joined and joined[-1][2] == number and onset <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(offset, joined[-1][1]), number)
        else:
            joined.append((onset, offset, number))
    return tuple(sorted(joined))


def _as_sed_eval(spans: Iterable[Span]) -> list[dict[str, Any]]:
    return [
        {"filename": "recording", "event_onset": onset, "event_offset": offset, "event_label": _key(number)}
        for onset, offset, number in spans
    ]


def _key(number: int) -> str:
    # not the class's name, which may be one that the packages keep for themselves, such as "onset"
    return f"class {number}"
