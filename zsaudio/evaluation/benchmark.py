"""Compare models on this machine: start time, speed, memory and, on labelled recordings, how good they are.

Each model runs in a process of its own, so that its memory is its own and nothing that another one loaded
helps it. Speed is measured on recordings that are read, resampled and tagged; loading is timed apart.

    python -m zsaudio.evaluation.benchmark    # what the parent process starts: a request on stdin, JSON out
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zsaudio.errors import OptionError, ZsaudioError

QUALITY = {"accuracy": "accuracy", "mAP": "mAP", "event F1": "event F1 macro"}  # and their names in a summary


@dataclass(frozen=True)
class Measured:
    """What one model was measured at.

    Parameters
    ----------
    model
        Its name.
    start_s
        Time to import, load the model and embed the labels, in seconds.
    speed
        Seconds of audio that are tagged per second, without the start.
    memory_mb
        The most memory that the process took, in MB; None where the system does not say.
    quality
        Figures on labelled recordings, by name, in [0, 1]; empty without labels.
    error
        Why the model could not be measured.
    """

    model: str
    start_s: float = 0.0
    speed: float = 0.0
    memory_mb: float | None = None
    quality: dict[str, float] = field(default_factory=dict)
    error: str | None = None


def compare_models(
    models: Sequence[str],
    recordings: Sequence[str] = (),
    data: str | None = None,
    *,
    labels: Sequence[str] = (),
    device: str = "auto",
) -> Iterator[Measured]:
    """Measure one model after another.

    Parameters
    ----------
    models
        What ``load_model`` takes.
    recordings
        Paths to measure speed on; by default the labelled recordings.
    data
        A labelled data set, as for ``read_dataset``, to measure accuracy, average precision and, where it has
        onsets and the extra ``eval`` is installed, event F1.
    labels
        The labels to tag with; by default the classes of ``data``, or the built-in set of everyday sounds.
    device
        As for ``Recognizer``.
    """
    for model in models:
        request = {
            "model": model,
            "recordings": list(recordings),
            "data": data,
            "labels": list(labels),
            "device": device,
        }
        command = [sys.executable, "-m", "zsaudio.evaluation.benchmark"]
        done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)
        try:
            yield Measured(**json.loads(done.stdout.splitlines()[-1]))
        except (IndexError, ValueError, TypeError):
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            yield Measured(model, error=last)


def measure(
    model: str, recordings: Sequence[str], data: str | None, labels: Sequence[str], device: str
) -> Measured:
    """Measure one model in this process.

    Raises
    ------
    ZsaudioError
        If the model, the data or the labels cannot be used, or no recording can be read.
    """
    started = time.perf_counter()
    from zsaudio.errors import AudioError
    from zsaudio.evaluation.datasets import read_dataset
    from zsaudio.labels import LabelSet
    from zsaudio.models.base import Model
    from zsaudio.recognizer import Recognizer

    dataset = read_dataset(data) if data else None
    names = LabelSet(labels or (dataset.classes if dataset else LabelSet.builtin("everyday").names))
    recognizer = Recognizer(names, model, device=device)
    start_s = time.perf_counter() - started
    paths = list(recordings) or [str(each.path) for each in (dataset.recordings if dataset else ())]
    started, heard_s = time.perf_counter(), 0.0
    errors = []
    for clip in recognizer.tag_batch(paths):
        heard_s += 0.0 if clip.error else clip.duration_s
        errors += [clip.error] if clip.error else []
    took_s = time.perf_counter() - started
    if not heard_s:
        reason = f", the first because: {errors[0]}" if errors else ""
        raise AudioError(f"none of the {len(paths)} recordings can be read{reason}")
    loaded: Model | None = recognizer.model
    quality = _quality(loaded, dataset) if dataset and loaded is not None else {}
    return Measured(model, start_s, heard_s / took_s, _peak_mb(), quality)


def _quality(model: Any, dataset: Any) -> dict[str, float]:
    """Return the figures of ``QUALITY`` that the data set allows."""
    from zsaudio.detection.hysteresis import DetectionOptions
    from zsaudio.errors import MissingExtraError
    from zsaudio.evaluation.clips import evaluate
    from zsaudio.evaluation.events import require_eval

    events = None
    if dataset.has_events:
        try:
            require_eval()
            events = DetectionOptions()
        except MissingExtraError:  # the other figures need no extra
            pass
    (evaluation,) = evaluate(model, dataset, events=events)
    summary = evaluation.summary
    return {name: summary[key] for name, key in QUALITY.items() if key in summary}


def _peak_mb() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def draw_comparison(results: Sequence[Measured], path: Path) -> None:
    """Draw the models side by side, a panel for each measure, as a picture; needs the extra ``plot``.

    Raises
    ------
    OptionError
        If the picture cannot be written.
    """
    from matplotlib.figure import Figure

    results = [result for result in results if result.error is None]
    panels: list[tuple[str, list[float | None]]] = [
        ("times real time\n(more is better)", [result.speed for result in results]),
        ("start, s\n(less is better)", [result.start_s for result in results]),
        ("memory, MB\n(less is better)", [result.memory_mb for result in results]),
    ]
    for name in QUALITY:
        if any(name in result.quality for result in results):
            panels.append((f"{name}\n(more is better)", [result.quality.get(name) for result in results]))
    figure = Figure(
        figsize=(2.4 * len(panels) + 1.5, 1.2 + 0.45 * max(len(results), 2)), layout="constrained"
    )
    rows = range(len(results))
    for axes, (title, values) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
    ):
        bars = axes.barh(rows, [value or 0.0 for value in values], color="#4878a8", height=0.6)
        shown = ["-" if v is None else f"{v:.0f}" if v >= 100 else f"{v:.3g}" for v in values]
        axes.bar_label(bars, shown, padding=3, fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.set_yticks(rows, [result.model for result in results])
        axes.set_xlim(0, 1.25 * max([value or 0.0 for value in values] + [1e-9]))
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(axis="x", bottom=False, labelbottom=False)
    figure.axes[0].set_ylim(max(len(results), 2) - 0.5, -0.5)  # one bar alone would be a block
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise OptionError(f"{path}: cannot be written ({error})") from error


def main() -> None:
    """Read a request from stdin, measure, and print the result as JSON."""
    request = json.loads(sys.stdin.read())
    try:
        result = measure(**request)
    except (ZsaudioError, OSError) as error:
        result = Measured(request["model"], error=str(error))
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
