"""What the commands share: options, inputs, messages and output."""

import gc
import glob
import io
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, NoReturn, TextIO, cast

import typer

from zsaudio.errors import AudioError, LabelError, OptionError
from zsaudio.output.text import encoded, visible

if TYPE_CHECKING:
    from zsaudio.labels import LabelSet

debug = False
is_process = False  # the command line is the whole process; not where a test or another program calls it

# Panels of the help texts
LABELS = "What to recognise"
MODEL = "Model"
INPUT = "Recordings"
EVENTS = "Events"
OUTPUT = "Results"
MESSAGES = "Messages"

INTERRUPTED = 130  # the exit code that Typer and shells give an interruption


def _set_debug(value: bool) -> bool:
    global debug
    debug = value
    return value


def seconds(name: str, text: str, default: str | bool = False) -> Any:
    """Return an option in seconds that shapes events."""
    return typer.Option(
        name, min=0.0, metavar="SECONDS", help=text, show_default=default, rich_help_panel=EVENTS
    )


Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="Recordings, folders, quoted globs ('night/**/*.flac'), or - for a stream on stdin.",
        show_default=False,
    ),
]
EVERYDAY = "@everyday"  # the labels of a command that was given none

Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        "-l",
        metavar="NAMES",
        help="Sounds, spoken words ('keyword: hey computer') or a built-in set (@home), separated by commas. "
        "Can be repeated.",
        rich_help_panel=LABELS,
    ),
]
LabelsFile = Annotated[
    Path | None,
    typer.Option(
        "--labels-file",
        metavar="FILE",
        help="A file of labels: text with one a line, a table (.csv, .tsv), or YAML.",
        rich_help_panel=LABELS,
    ),
]
Templates = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        metavar="SENTENCE",
        help="Sentence that each label is put into, such as 'the sound of {}'. Can be repeated.",
        rich_help_panel=LABELS,
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="nano, clap, clap-small, a Hugging Face id, or a folder. See 'zsaudio models'.",
        rich_help_panel=MODEL,
    ),
]
KeywordModel = Annotated[
    str,
    typer.Option(
        "--keyword-model",
        metavar="MODEL",
        help="Model for 'keyword: ...' labels: nano-keyword, the id or folder of a CTC checkpoint, or "
        "torchaudio:MMS_FA.",
        rich_help_panel=MODEL,
    ),
]
Device = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or mps.", rich_help_panel=MODEL)
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="Precision of the model: auto, float32, bfloat16 or float16.",
        rich_help_panel=MODEL,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option("--batch-size", metavar="N", min=1, help="Windows per batch.", rich_help_panel=MODEL),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        "-t",
        metavar="SCORE",
        help="Lowest score of an event, for a label without a threshold of its own.",
        show_default="0.5",
        rich_help_panel=EVENTS,
    ),
]
Sensitivity = Annotated[
    float | None,
    typer.Option(
        "--sensitivity",
        metavar="N",
        help="1, 2, ...: find more; -1, -2, ...: find less.",
        show_default="0",
        rich_help_panel=EVENTS,
    ),
]
FalseAlarms = Annotated[
    float | None,
    typer.Option(
        "--false-alarms",
        metavar="N",
        min=0.0,
        help="Set the thresholds so that N false alarms of each label are expected in an hour of everyday "
        "sounds (keywords: in an hour of speech).",
        show_default="by --threshold",
        rich_help_panel=EVENTS,
    ),
]
Channel = Annotated[
    int | None,
    typer.Option(
        "--channel",
        metavar="N",
        min=0,
        help="Take this channel; 0 is the first.",
        show_default="mean of all",
        rich_help_panel=INPUT,
    ),
]
Recursive = Annotated[
    bool,
    typer.Option("--recursive/--no-recursive", help="Search folders inside folders.", rich_help_panel=INPUT),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the results to this file.",
        show_default="stdout",
        rich_help_panel=OUTPUT,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with an interrupted run, or with more recordings.",
        rich_help_panel=OUTPUT,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace results that are there already.", rich_help_panel=OUTPUT),
]
AbsolutePaths = Annotated[
    bool,
    typer.Option("--absolute-paths", help="Write the full paths of recordings.", rich_help_panel=OUTPUT),
]
Escape = Annotated[
    bool,
    typer.Option(
        "--escape/--no-escape",
        help="In tables, put ' before text that a spreadsheet would take for a formula.",
        rich_help_panel=OUTPUT,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, no messages but errors.", rich_help_panel=MESSAGES)
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Report what is done, and how fast.", rich_help_panel=MESSAGES),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", callback=_set_debug, help="Show the traceback of an error.", rich_help_panel=MESSAGES
    ),
]
Clips = Annotated[
    Path | None,
    typer.Option(
        "--clips",
        metavar="DIR",
        help="Cut each event out of its recording, as a FLAC file.",
        rich_help_panel=OUTPUT,
    ),
]
Margin = Annotated[
    float,
    typer.Option(
        "--margin",
        min=0.0,
        metavar="SECONDS",
        help="Sound before and after an event for --clips.",
        rich_help_panel=OUTPUT,
    ),
]


@contextmanager
def starting() -> Iterator[None]:
    """Import torch and load models inside.

    Python looks for garbage meanwhile, again and again, among the objects that torch makes when it is
    imported. None of it is garbage, so in a process of our own they are left out for good.
    """
    if not is_process:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def message(text: str) -> None:
    """Print one line on stderr; control characters in names are shown, so that they do nothing."""
    with suppress(OSError):  # nobody to read it
        print(f"zsaudio: {visible(' '.join(text.split()))}", file=sys.stderr, flush=True)


def end_interrupted(advice: str = "") -> NoReturn:
    """End the process as interrupted, with the exit code that shells give that."""
    message("; ".join(filter(None, ("interrupted", advice))))
    sys.exit(INTERRUPTED)


def set_verbosity(verbose: bool, quiet: bool = False) -> None:
    """Show the package's own log on stderr: warnings unless ``--quiet``, more with ``--verbose``."""
    log = logging.getLogger("zsaudio")
    if not any(isinstance(handler, _LogLines) for handler in log.handlers):
        log.addHandler(_LogLines())
    log.setLevel(logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING)


class _LogLines(logging.Handler):
    """Log records as messages; stderr is looked up each time, since tests and progress bars replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        message(record.getMessage())


def read_labels(
    texts: list[str] | None, path: Path | None, templates: list[str] | None, default: str | None = None
) -> "LabelSet":
    """Return the label set that ``--labels``, ``--labels-file`` and ``--template`` describe together.

    ``default`` is the built-in set that is taken without labels; None: they must be given.
    """
    from zsaudio.labels import LabelSet

    if not texts and path is None and default is not None:
        texts = [default]
    if not texts and path is None:
        raise LabelError(
            'no labels: name some with --labels "dog barking, siren", take a built-in set '
            "with --labels @home, or a file with --labels-file"
        )
    sets = ([LabelSet.from_file(path)] if path else []) + ([LabelSet.parse(*texts)] if texts else [])
    labels = sets[0] if len(sets) == 1 else LabelSet.join(sets)
    return LabelSet(labels, templates, labels.description) if templates else labels


def promise(labels: "LabelSet", false_alarms: float | None, threshold: float | None) -> "LabelSet":
    """Return the labels with what ``--false-alarms`` asks of those without a wish of their own."""
    if false_alarms is None:
        return labels
    if threshold is not None:
        raise OptionError("--threshold and --false-alarms both set thresholds: give one of them")
    from zsaudio.labels import LabelSet

    return LabelSet(
        [
            label
            if label.background or label.threshold is not None or label.false_alarms is not None
            else replace(label, false_alarms=false_alarms)
            for label in labels
        ],
        labels.templates,
        labels.description,
    )


def find_recordings(inputs: Iterable[str], recursive: bool) -> Iterator[str | AudioError]:
    """Yield the recordings that the inputs stand for, each once; an error for an input without any.

    A file named outright is yielded whatever its suffix; of a folder, the files with a known one. Pipes,
    sockets and devices in a folder are skipped, with an error for each.
    """
    from zsaudio.audio.sources import is_url

    seen = set()
    for text in inputs:
        found: Sequence[str | AudioError] | AudioError
        if (
            text == "-"
            or is_url(text)
            or not (os.path.isdir(text) or glob.has_magic(text))
            or os.path.isfile(text)
        ):
            found = [text]
        elif os.path.isdir(text):
            found = _in_folder(text, recursive) or AudioError(f"{text}: a folder with no audio in it")
        else:
            paths = [path for path in sorted(glob.glob(text, recursive=True)) if not os.path.isdir(path)]
            found = paths or AudioError(f"{text}: no file matches")
        if isinstance(found, AudioError):
            yield found
            continue
        for path in found:
            if str(path) not in seen:
                seen.add(str(path))
                yield path


def _in_folder(folder: str, recursive: bool) -> list[str | AudioError]:
    from zsaudio.audio.reader import AUDIO_SUFFIXES

    found: list[str | AudioError] = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        found += [
            _regular(os.path.join(where, name))
            for name in sorted(names)
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES
        ]
    return found


def _regular(path: str) -> str | AudioError:
    """Return the path of a file; an error where it is a pipe, a socket or a device."""
    from zsaudio.audio.decoders import special_file

    try:
        special = special_file(os.stat(path).st_mode)
    except OSError:  # a link to nowhere; the error of reading it says so
        return path
    return AudioError(f"{path}: is a {special}, skipped") if special else path


def open_source(path: str) -> str | IO[bytes]:
    """Return what the library reads: standard input for ``-``, else the path."""
    if path != "-":
        return path
    if sys.stdin.isatty():
        raise OptionError("- reads a recording from standard input; pipe one into it")
    return sys.stdin.buffer


@contextmanager
def open_output(path: Path | None, inputs: Iterable[str]) -> Iterator[TextIO]:
    """Give stdout, or a text that becomes the file of ``--output`` when it is complete."""
    if path is None:
        yield stdout()
        return
    from zsaudio.files import write_atomically
    from zsaudio.output.journal import writing

    refuse_input_as_output(path, inputs)
    text = io.StringIO()
    yield text
    with writing(path):
        write_atomically(path, encoded(text.getvalue()))


@contextmanager
def open_special(path: Path) -> Iterator[TextIO]:
    """Open a device or a named pipe for text."""
    from zsaudio.output.journal import writing

    with writing(path, OptionError):
        file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    try:
        yield file
    finally:
        with suppress(OSError):  # what could not be written was reported when it was written
            file.close()


def stdout() -> TextIO:
    """Return stdout for results: they may share a terminal with a progress bar, and hold any name."""
    return cast(TextIO, _Stdout())


class _Stdout(io.TextIOBase):
    """stdout as it is when written to: a progress bar on the same terminal takes its place for a while.

    On a terminal control characters are shown, so that they do nothing. A character that the terminal or file
    cannot have becomes an escape sequence, a bar's block ``#``.
    """

    def write(self, text: str) -> int:
        if sys.stdout.isatty():
            text = "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))
        try:
            return sys.stdout.write(text)
        except UnicodeEncodeError as error:
            text = text.replace("█", "#").encode(error.encoding, "backslashreplace").decode(error.encoding)
            return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


def usable_recordings(inputs: Sequence[str], recursive: bool) -> tuple[list[str], int]:
    """Return the recordings, and the number of inputs that are none, each named on stderr.

    Ends the command where there are inputs but no recordings.
    """
    found = list(find_recordings(inputs, recursive))
    paths = [item for item in found if isinstance(item, str)]
    for item in found:
        if not isinstance(item, str):
            message(str(item))
    if inputs and not paths:
        raise typer.Exit(1)
    return paths, len(found) - len(paths)


def refuse_to_replace(path: Path | None, overwrite: bool) -> None:
    """Raise OptionError where a file, or a folder, with something in it would be replaced."""
    if path is None or overwrite:
        return
    if (path.is_dir() and any(path.iterdir())) or (path.is_file() and path.stat().st_size):
        raise OptionError(f"{path}: exists; --overwrite replaces it")


def refuse_input_as_output(path: Path, inputs: Iterable[str], option: str = "--output") -> None:
    """Raise OptionError where an option would overwrite a recording."""
    if path.exists() and any(os.path.exists(i) and os.path.samefile(path, i) for i in inputs):
        raise OptionError(f"{path}: is one of the inputs; choose another name for {option}")
