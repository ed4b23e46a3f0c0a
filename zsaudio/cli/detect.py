"""``zsaudio detect``: from when to when each label is heard in recordings of any length."""

import sys
import traceback
from contextlib import closing
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zsaudio.cli import common
from zsaudio.errors import OptionError, has_result

if TYPE_CHECKING:
    from zsaudio.detection.hysteresis import DetectionOptions
    from zsaudio.labels import LabelSet
    from zsaudio.output.event_writers import EventFormat
    from zsaudio.output.outputs import CombinedOutput, FolderOutput, StreamOutput
    from zsaudio.results import ClipEvents, FrameScores

    _Output = CombinedOutput | FolderOutput | StreamOutput


class DetectFormat(StrEnum):
    """Choices of ``--format``: the keys of ``event_writers.EVENT_FORMATS``, which is slow to import."""

    table = "table"
    csv = "csv"
    tsv = "tsv"
    jsonl = "jsonl"
    audacity = "audacity"
    raven = "raven"
    rttm = "rttm"
    vtt = "vtt"
    srt = "srt"
    textgrid = "textgrid"


def _seconds(name: str, text: str, default: str | bool = False) -> Any:
    return typer.Option(name, min=0.0, metavar="SECONDS", help=text, show_default=default)


def detect(
    inputs: common.Inputs,
    labels: common.Labels = None,
    labels_file: common.LabelsFile = None,
    template: common.Templates = None,
    model: common.ModelName = "nano",
    keyword_model: common.KeywordModel = "nano-keyword",
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    threshold: common.Threshold = None,
    sensitivity: common.Sensitivity = None,
    min_duration: Annotated[
        float | None, _seconds("--min-duration", "Drop events that are shorter.", "0")
    ] = None,
    merge_gap: Annotated[
        float | None, _seconds("--merge-gap", "Join events of a label no further apart.", "1")
    ] = None,
    smooth: Annotated[
        float | None, _seconds("--smooth", "Judge a frame by a stretch of this length about it.", "3")
    ] = None,
    median: Annotated[
        float | None, _seconds("--median", "Length of a median filter over the scores.", "0")
    ] = None,
    window: Annotated[
        float | None, _seconds("--window", "Length of a window.", "what suits the model")
    ] = None,
    hop: Annotated[
        float | None, _seconds("--hop", "Distance between windows.", "what suits the model")
    ] = None,
    overlap: Annotated[
        float | None, _seconds("--overlap", "What windows share; another way to say --hop.")
    ] = None,
    channel: common.Channel = None,
    start_time: Annotated[
        str | None,
        typer.Option(
            "--start-time",
            metavar="TIME|auto",
            help="When the recording began (2026-01-31T05:30:00), to give times of day too; auto: from names "
            "like 20260131_053000.WAV.",
        ),
    ] = None,
    format: Annotated[
        DetectFormat, typer.Option("--format", "-f", help="Form of the results.")
    ] = DetectFormat.table,
    output: common.Output = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir", "-O", help="Write a file per recording into a folder that mirrors theirs."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with an interrupted run that wrote to -o or --output-dir."),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="DIR", help="Draw each recording, its scores and its events."),
    ] = None,
    clips: common.Clips = None,
    margin: common.Margin = 0.5,
    batch_size: common.BatchSize = 16,
    recursive: common.Recursive = True,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Tell from when to when each label is heard in each recording.

    Example: zsaudio detect night.flac --labels "dog barking, siren" --format csv -o events.csv
    """
    common.set_verbosity(verbose, quiet)
    label_set = common.read_labels(labels, labels_file, template, common.EVERYDAY)
    found = list(common.find_recordings(inputs, recursive))
    paths = [item for item in found if isinstance(item, str)]

    from zsaudio.detection.hysteresis import DetectionOptions
    from zsaudio.output.event_writers import EVENT_FORMATS
    from zsaudio.output.outputs import CombinedOutput, FolderOutput, StreamOutput, mirrored
    from zsaudio.recognizer import Recognizer

    given = {
        "threshold": threshold,
        "sensitivity": sensitivity,
        "min_duration_s": min_duration,
        "merge_gap_s": merge_gap,
        "smooth_s": smooth,
        "median_s": median,
        "window_s": window,
        "hop_s": hop,
        "overlap_s": overlap,
    }
    options = DetectionOptions(**{name: value for name, value in given.items() if value is not None})
    form = EVENT_FORMATS[format.value]
    _check_outputs(form, format.value, paths, output, output_dir, resume)
    began = _start_times(start_time, paths)
    fail = _Failing(output_dir or (output.parent if output else None), debug)
    for item in found:
        if not isinstance(item, str):
            fail(next(text for text in inputs if str(item).startswith(text)), item)
    if not paths:
        raise typer.Exit(1)
    folders = [text for text in inputs if Path(text).is_dir()]
    cut = _Cutter(clips, mirrored(paths, folders, ""), margin) if clips else None
    draw = _Plotter(plot, mirrored(paths, folders, ".png"), label_set, options, channel) if plot else None
    recognizer = Recognizer(
        label_set, model, keyword_model=keyword_model, device=device, dtype=dtype, batch_size=batch_size
    )
    settings = {
        "labels": [asdict(label) for label in label_set],
        "templates": label_set.templates,
        "model": [model, dtype, keyword_model],
        "options": asdict(options),
        "channel": channel,
        "start_time": start_time,
        "format": format.value,
    }
    clock = start_time is not None
    sink: _Output
    if output_dir is not None:
        targets = mirrored(paths, folders, form.suffix)
        sink = FolderOutput(output_dir, form, clock, targets, settings, resume)
    elif output is not None:
        sink = CombinedOutput(output, form, clock, settings, resume)
    else:
        sink = StreamOutput(common.stdout(), form, clock)
    with closing(sink):
        todo = [path for path in paths if not sink.is_done(path)]
        if len(todo) < len(paths) and not quiet:
            common.message(f"{len(paths) - len(todo)} of {len(paths)} recordings were done before")
        position = _Position(draw)
        heard = recognizer.detect_batch(
            map(common.open_source, todo),
            options=options,
            channel=channel,
            on_scores=position.take if draw or common.progress_is_shown(quiet) else None,
        )
        shown = common.show_progress(heard, len(todo), "listening", quiet, position.text)
        try:
            for path, clip in zip(todo, shown, strict=True):
                _keep(path, replace(clip, started=began[path]), sink, draw, cut, fail)
        except KeyboardInterrupt:
            common.message("interrupted" + ("; --resume goes on" if output or output_dir else ""))
            sys.exit(130)
    if fail.count:
        if len(found) > 1 and not quiet:
            common.message(f"{fail.count} of {len(found)} inputs failed")
        sys.exit(1)


def _keep(
    path: str,
    clip: "ClipEvents",
    sink: "_Output",
    draw: "_Plotter | None",
    cut: "_Cutter | None",
    fail: "_Failing",
) -> None:
    """Do all that is to be done with the events of one recording; being written comes last."""
    if clip.error is not None:
        fail(path, clip.error)
    if not has_result(clip.error):
        if draw:
            draw.forget()
        return
    if draw:
        draw.draw(path, clip)
    if cut:
        cut(path, clip)
    sink.write(path, clip)


def _start_times(text: str | None, paths: list[str]) -> dict[str, datetime | None]:
    """Return when each recording began, as ``--start-time`` says."""
    if text is None:
        return dict.fromkeys(paths)
    if text == "auto":
        from zsaudio.audio.start_time import time_in_name

        began = {path: time_in_name(path) for path in paths}
        for path, moment in began.items():
            if moment is None:
                common.message(f"{path}: no time in its name; its events have no times of day")
        return began
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise OptionError(f"--start-time {text}: give a time such as 2026-01-31T05:30:00, or auto") from error
    if len(paths) > 1:
        raise OptionError("--start-time: give a time for one recording only; for several, auto")
    return dict.fromkeys(paths, moment)


def _check_outputs(
    form: "EventFormat",
    name: str,
    paths: list[str],
    output: Path | None,
    output_dir: Path | None,
    resume: bool,
) -> None:
    if output and output_dir:
        raise OptionError("give --output for one file or --output-dir for a file per recording, not both")
    if resume and not (output or output_dir):
        raise OptionError("--resume needs --output or --output-dir: what goes to stdout is not kept")
    if resume and "-" in paths:
        raise OptionError("--resume cannot go on with standard input")
    if len(paths) > 1 and not form.combines and not output_dir:
        raise OptionError(f"{name} holds one recording, and there are {len(paths)}: use --output-dir")
    if output:
        common.refuse_input_as_output(output, paths)


class _Failing:
    """Names what failed, on stderr and in the ``failures.csv`` of a folder, and counts it."""

    def __init__(self, folder: Path | None, debug: bool) -> None:
        from zsaudio.output.outputs import Failures

        self.count = 0
        self._debug = debug
        self._file = Failures(folder) if folder else None

    def __call__(self, path: str, error: Exception) -> None:
        self.count += 1
        common.message(str(error))
        if self._debug:
            traceback.print_exception(error)
        if self._file:
            self._file.add(path, str(error).removeprefix(f"{path}: "))


class _Position:
    """Where in the present recording the work is; hands the scores on to be drawn."""

    def __init__(self, draw: "_Plotter | None") -> None:
        self._seconds = 0.0
        self._draw = draw

    def take(self, frame: "FrameScores") -> None:
        self._seconds = frame.offset
        if self._draw:
            self._draw.take(frame)

    def text(self) -> str:
        return f"at {timedelta(seconds=round(self._seconds))}"


class _Cutter:
    """Cuts events out of their recordings."""

    def __init__(self, folder: Path, targets: dict[str, Path], margin_s: float) -> None:
        if "-" in targets:
            raise OptionError("--clips cannot cut standard input, which can be read only once")
        self._folder, self._targets, self._margin_s = folder, targets, margin_s

    def __call__(self, path: str, clip: "ClipEvents") -> None:
        from zsaudio.output.cuts import cut_events

        cut_events(clip, path, self._folder / self._targets[path], self._margin_s)


class _Plotter:
    """Draws recordings, one after another, from the scores that it takes."""

    def __init__(
        self,
        folder: Path,
        targets: dict[str, Path],
        labels: "LabelSet",
        options: "DetectionOptions",
        channel: int | None,
    ) -> None:
        from zsaudio.output.plot import ScoreCurves, require_matplotlib

        if "-" in targets:
            raise OptionError("--plot cannot draw standard input, which can be read only once")
        require_matplotlib()
        self._folder, self._targets, self._options, self._channel = folder, targets, options, channel
        self._labels = [label for label in labels if not label.background]
        self._new_curves = ScoreCurves
        self.forget()

    def take(self, frame: "FrameScores") -> None:
        self._curves.add(frame)

    def forget(self) -> None:
        self._curves = self._new_curves()

    def draw(self, path: str, clip: "ClipEvents") -> None:
        from zsaudio.output.plot import draw_clip

        target = self._folder / self._targets[path]
        draw_clip(clip, path, self._curves, self._labels, self._options, target, self._channel)
        self.forget()
