"""``zsaudio detect``: from when to when each label is present in recordings of any length."""

import os
from dataclasses import asdict, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zsaudio.cli import common, shards
from zsaudio.errors import OptionError

if TYPE_CHECKING:
    from zsaudio.cli.side_outputs import Plotter, Reporter
    from zsaudio.detection.hysteresis import DetectionOptions
    from zsaudio.labels import LabelSet
    from zsaudio.results import ClipEvents, FrameScores


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


def detect(
    inputs: common.Inputs,
    labels: common.Labels = None,
    labels_file: common.LabelsFile = None,
    template: common.Templates = None,
    model: common.ModelName = "nano",
    keyword_model: common.KeywordModel = "nano-keyword",
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    batch_size: common.BatchSize = 16,
    threshold: common.Threshold = None,
    false_alarms: common.FalseAlarms = None,
    sensitivity: common.Sensitivity = None,
    min_duration: Annotated[
        float | None, common.seconds("--min-duration", "Drop events that are shorter.", "0")
    ] = None,
    merge_gap: Annotated[
        float | None, common.seconds("--merge-gap", "Join events of a label with a shorter gap.", "1")
    ] = None,
    smooth: Annotated[
        float | None, common.seconds("--smooth", "Average scores over this length.", "3")
    ] = None,
    median: Annotated[
        float | None, common.seconds("--median", "Length of a median filter over the scores.", "0")
    ] = None,
    window: Annotated[float | None, common.seconds("--window", "Length of a window.", "by model")] = None,
    hop: Annotated[float | None, common.seconds("--hop", "Distance between windows.", "by model")] = None,
    overlap: Annotated[
        float | None,
        common.seconds("--overlap", "Overlap of windows, in place of --hop.", "by model"),
    ] = None,
    recursive: common.Recursive = True,
    channel: common.Channel = None,
    start_time: Annotated[
        str | None,
        typer.Option(
            "--start-time",
            metavar="TIME",
            help="When the recording began (2026-01-31T05:30:00), to write times of day too; auto: as in "
            "names like 20260131_053000.WAV.",
            rich_help_panel=common.INPUT,
        ),
    ] = None,
    jobs: shards.Jobs = None,
    ray: shards.Ray = None,
    actors: shards.Actors = None,
    gpus: shards.Gpus = 0.0,
    unit_timeout: shards.UnitTimeout = None,
    format: Annotated[
        DetectFormat,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="table, csv, tsv, jsonl, audacity, raven, rttm, vtt, srt or textgrid.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = DetectFormat.table,
    output: shards.Output = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            "-O",
            metavar="DIR",
            help="Write a file per recording into a folder that mirrors theirs.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = None,
    resume: common.Resume = False,
    overwrite: common.Overwrite = False,
    absolute_paths: common.AbsolutePaths = False,
    escape: common.Escape = True,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="DIR",
            help="Draw each recording with its scores and events.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write a page of HTML with spectrograms, scores, and events to hear.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = None,
    clips: common.Clips = None,
    margin: common.Margin = 0.5,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Say from when to when each label is present in each recording.

    Example: zsaudio detect night.flac --labels "dog barking, siren" --format csv -o events.csv
    """
    common.set_verbosity(verbose, quiet)
    label_set = common.read_labels(labels, labels_file, template, common.EVERYDAY)
    label_set = common.promise(label_set, false_alarms, threshold)

    from zsaudio.cli.batch import Batch, settings_of
    from zsaudio.output.event_writers import EVENT_FORMATS
    from zsaudio.output.formats import Place

    options = _options(
        threshold=threshold,
        sensitivity=sensitivity,
        min_duration_s=min_duration,
        merge_gap_s=merge_gap,
        smooth_s=smooth,
        median_s=median,
        window_s=window,
        hop_s=hop,
        overlap_s=overlap,
    )
    loading: dict[str, Any] = {
        "model": model,
        "keyword_model": keyword_model,
        "device": device,
        "dtype": dtype,
    }
    settings = settings_of("detect", label_set, loading, asdict(options), channel)
    processes = shards.Processes(jobs, ray, actors, gpus, unit_timeout)
    if processes.are_asked_for:
        shards.refuse(
            output_dir=output_dir,
            plot=plot,
            report=report,
            clips=clips,
            start_time=start_time,
            format=format is not DetectFormat.table,
        )
        shards.write_shards(
            "detect",
            label_set,
            loading | {"batch_size": batch_size},
            {"options": options, "channel": channel},
            settings,
            inputs,
            recursive,
            output,
            processes,
            overwrite=overwrite,
            quiet=quiet,
        )
        return
    file = shards.file_of(output, labels_file, inputs)
    batch: Batch[ClipEvents] = Batch(
        inputs, recursive, noun="event", work="detecting", quiet=quiet, debug=debug
    )
    began = _start_times(start_time, batch.paths)
    settings |= {"start_time": start_time, "format": [format.value, absolute_paths, escape]}
    form, place = EVENT_FORMATS[format.value], Place(clock=start_time is not None, escape=escape)
    _check_format(format, form.combines or output_dir is not None, len(batch.paths))
    with batch.opened(
        form, place, settings, output=file, output_dir=output_dir, resume=resume, overwrite=overwrite
    ):
        from zsaudio.cli.side_outputs import CurveTaker, Cutter, Plotter, Reporter

        plotter = (
            Plotter(plot, batch.paths, inputs, label_set, options, channel, batch.fail) if plot else None
        )
        used = [("model", model), ("keyword model", keyword_model)]
        reporter = (
            Reporter(report, batch.paths, label_set, options, channel, used, batch.fail) if report else None
        )
        taker = CurveTaker() if plotter or reporter else None
        cutter = Cutter(clips, batch.paths, inputs, margin, batch.fail) if clips else None

        with common.starting():
            from zsaudio.recognizer import Recognizer

            recognizer = Recognizer(label_set, **loading, batch_size=batch_size)
        _show_thresholds(plotter, reporter, recognizer.labels_for(options))

        def on_scores(frame: "FrameScores") -> None:
            batch.position.seconds = frame.offset
            if taker:
                taker.take(frame)

        def prepare(path: str, clip: "ClipEvents") -> "ClipEvents":
            clip = replace(clip, started=began[path])
            curves = taker.finish() if taker else None
            if plotter and curves:
                plotter.draw(path, clip, curves)
            if reporter and curves:
                reporter.add(path, clip, curves)
            if cutter:
                cutter.cut(path, clip)
            return replace(clip, clip=os.path.abspath(path)) if absolute_paths else clip

        try:
            batch.run(
                lambda todo: recognizer.detect_batch(
                    map(common.open_source, todo),
                    options=options,
                    channel=channel,
                    on_scores=on_scores if taker or batch.wants_position else None,
                ),
                prepare,
            )
        finally:  # also when it is interrupted, or some recordings failed
            if reporter:
                reporter.write()


def _options(**given: float | None) -> "DetectionOptions":
    """Return the options of detection, its own where none is given."""
    from zsaudio.detection.hysteresis import DetectionOptions

    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return DetectionOptions(**chosen)


def _check_format(format: DetectFormat, holds_several: bool, n_paths: int) -> None:
    if n_paths > 1 and not holds_several:
        raise OptionError(f"{format.value} holds one recording, and there are {n_paths}: use --output-dir")


def _show_thresholds(plotter: "Plotter | None", reporter: "Reporter | None", label_set: "LabelSet") -> None:
    """Let plots and reports show the thresholds that the recogniser set for promised false alarms."""
    reported = [label for label in label_set if not label.background]
    if plotter:
        plotter.labels = reported
    if reporter:
        reporter.labels = reported


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
