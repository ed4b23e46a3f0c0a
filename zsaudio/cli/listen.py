"""``zsaudio listen``: events from a microphone, as they happen."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zsaudio.cli import common
from zsaudio.cli.listening.process import ending_on_signals, libraries_hushed
from zsaudio.errors import AudioError, OptionError

if TYPE_CHECKING:
    from zsaudio.audio.live import LiveBlocks
    from zsaudio.cli.listening.views import TerminalView
    from zsaudio.detection.hysteresis import DetectionOptions
    from zsaudio.recognizer import Recognizer

_SOURCE, _ACTIONS = "Microphone", "What to do with events"


def listen(
    labels: common.Labels = None,
    labels_file: common.LabelsFile = None,
    template: common.Templates = None,
    model: common.ModelName = "nano",
    keyword_model: common.KeywordModel = "nano-keyword",
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    input: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            metavar="NAME",
            help="Microphone: its number, or part of its name.",
            show_default="the system's default",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    list_inputs: Annotated[
        bool, typer.Option("--list-inputs", help="List the microphones.", rich_help_panel=_SOURCE)
    ] = False,
    rate: Annotated[
        int | None,
        typer.Option(
            "--rate",
            metavar="HZ",
            help="Sample rate of the microphone.",
            show_default="its own",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(
            "--channel",
            metavar="N",
            min=0,
            help="Take this channel; 0 is the first.",
            show_default="mean of all",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    simulate: Annotated[
        str | None,
        typer.Option(
            "--simulate",
            metavar="FILE",
            help="Play a file in real time in place of a microphone.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    threshold: common.Threshold = None,
    false_alarms: common.FalseAlarms = None,
    sensitivity: common.Sensitivity = None,
    min_duration: Annotated[
        float | None, common.seconds("--min-duration", "Drop events that are shorter.", "0")
    ] = None,
    merge_gap: Annotated[
        float | None, common.seconds("--merge-gap", "Join events of a label with a shorter gap.", "1")
    ] = None,
    hop: Annotated[float | None, common.seconds("--hop", "Time between scores.", "by model")] = None,
    lookahead: Annotated[
        float | None,
        common.seconds(
            "--lookahead", "Audio after a frame that its score waits for: less is earlier and less exact."
        ),
    ] = None,
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help="Print events as JSON lines.", rich_help_panel=_ACTIONS),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="DIR",
            help="Keep the audio around each event as FLAC.",
            rich_help_panel=_ACTIONS,
        ),
    ] = None,
    pre_roll: Annotated[
        float,
        typer.Option(
            "--pre-roll",
            metavar="SECONDS",
            min=0,
            max=60,
            help="Audio before an event to keep.",
            rich_help_panel=_ACTIONS,
        ),
    ] = 2.0,
    post_roll: Annotated[
        float,
        typer.Option(
            "--post-roll",
            metavar="SECONDS",
            min=0,
            max=60,
            help="Audio after an event to keep.",
            rich_help_panel=_ACTIONS,
        ),
    ] = 1.0,
    exec_: Annotated[
        str | None,
        typer.Option(
            "--exec",
            metavar="COMMAND",
            help="Run a command per event, without a shell, with its {label}, {score}, {onset} and {time}.",
            rich_help_panel=_ACTIONS,
        ),
    ] = None,
    early: Annotated[
        bool,
        typer.Option(
            "--early",
            help="Run the command when an event begins, not when it has ended.",
            rich_help_panel=_ACTIONS,
        ),
    ] = False,
    cooldown: Annotated[
        float,
        typer.Option(
            "--cooldown",
            metavar="SECONDS",
            min=0,
            help="Least time between two commands for the same label.",
            rich_help_panel=_ACTIONS,
        ),
    ] = 0.0,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Report what a microphone hears, as it happens.

    Example: zsaudio listen --labels "dog barking, siren" --exec "notify-send {label}"
    """
    common.set_verbosity(verbose, quiet)
    if list_inputs:
        _print_inputs()
        return
    label_set = common.read_labels(labels, labels_file, template)
    label_set = common.promise(label_set, false_alarms, threshold)
    with ExitStack() as open_things:
        if simulate is None and not debug:
            open_things.enter_context(libraries_hushed())
        # errors in options and devices are reported before a model is loaded, which takes time
        source = open_things.enter_context(_open_source(simulate, input, rate, channel))

        from zsaudio.listening.actions import ClipKeeper, CommandRunner

        on_screen = not jsonl and sys.stdout.isatty()
        keeper = (
            ClipKeeper(record, source.sample_rate, source.clock, before_s=pre_roll, after_s=post_roll)
            if record
            else None
        )
        runner = None
        if exec_ is not None:
            runner = CommandRunner(exec_, source.clock, not on_screen, cooldown_s=cooldown)
            runner.check(label.name for label in label_set if not label.background)
        elif early or cooldown:
            name = "early" if early else "cooldown"
            raise OptionError(f"--{name} is about the command to run: give one with --exec")

        with common.starting():
            from zsaudio.detection.hysteresis import DetectionOptions
            from zsaudio.listening.session import ListenSession
            from zsaudio.recognizer import Recognizer

            recognizer = Recognizer(label_set, model, keyword_model=keyword_model, device=device, dtype=dtype)
        given = {
            "threshold": threshold,
            "sensitivity": sensitivity,
            "min_duration_s": min_duration,
            "merge_gap_s": merge_gap,
            "hop_s": hop,
            "lookahead_s": lookahead,
        }
        given = {name: value for name, value in given.items() if value is not None}
        options = DetectionOptions.live(recognizer.model, **given)
        view = _view(source, recognizer, options, jsonl, on_screen)
        session = ListenSession(
            recognizer, source, options=options, view=view, keeper=keeper, runner=runner, early=early
        )
        session.warm_up()
        if not (quiet or on_screen):
            common.message(f"listening to {source.name} at {source.sample_rate} Hz; Ctrl-C ends")
        with ending_on_signals(source):
            session.run()
        if not quiet and (source.overruns or on_screen):
            from zsaudio.cli.listening.views import counted, overruns

            common.message(f"{counted(session.n_events, 'event')}, {overruns(source)}")
        if session.error is not None:
            if debug:
                raise session.error
            common.message(str(session.error))
            raise typer.Exit(1)


def _open_source(
    simulate: str | None, input: str | None, rate: int | None, channel: int | None
) -> "LiveBlocks":
    from zsaudio.audio.live import Playback

    if simulate is not None:
        if input is not None or rate is not None:
            raise OptionError("--simulate plays a file at its own rate: leave out --input and --rate")
        return Playback(simulate, channel=channel)
    from zsaudio.audio.microphone import microphone

    return microphone(int(input) if input and input.isdecimal() else input, rate, channel=channel)


def _view(
    source: "LiveBlocks",
    recognizer: "Recognizer",
    options: "DetectionOptions",
    jsonl: bool,
    on_screen: bool,
) -> "TerminalView":
    from zsaudio.cli.listening.views import JsonLines, TextLines

    if jsonl:
        return JsonLines(source)
    if not on_screen:
        return TextLines(source)
    from zsaudio.cli.listening.screen import Screen

    reported = [label for label in recognizer.labels_for(options) if not label.background]
    thresholds, _ = options.thresholds(reported)
    return Screen(source, [label.name for label in reported], thresholds, recognizer.model_name)


def _print_inputs() -> None:
    from zsaudio.audio.microphone import input_devices

    with libraries_hushed():
        devices = input_devices()
    if not devices:
        raise AudioError("no input device: connect a microphone, or play a file with --simulate")
    for device in devices:
        mark = "*" if device.is_default else " "
        channels = f"{device.channels} channel{'' if device.channels == 1 else 's'}"
        print(f"{mark} {device.number:>3}  {device.sample_rate:>6} Hz  {channels:<12} {device.name}")
