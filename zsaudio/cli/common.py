"""What the commands share: options, inputs, messages, progress and output."""

import glob
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, TextIO, TypeVar, cast

import typer

from zsaudio.errors import AudioError, LabelError, OptionError

if TYPE_CHECKING:
    from zsaudio.labels import LabelSet

debug = False
_MOMENT_S = 0.5
T = TypeVar("T")


def _set_debug(value: bool) -> bool:
    global debug
    debug = value
    return value


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
        help="What to listen for, separated by commas: sounds, spoken words ('keyword: hey computer'), or a "
        "built-in set such as @home. Can be repeated.",
    ),
]
LabelsFile = Annotated[
    Path | None,
    typer.Option(
        "--labels-file",
        metavar="FILE",
        help="A file of labels: text with one a line, a table (.csv, .tsv), or YAML.",
    ),
]
Templates = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        metavar="SENTENCE",
        help="Sentence that each label is put into, such as 'the sound of {}'. Can be repeated.",
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="nano, clap, clap-small, a Hugging Face id, or a folder. See 'zsaudio models'.",
    ),
]
KeywordModel = Annotated[
    str,
    typer.Option(
        "--keyword-model",
        metavar="MODEL",
        help="What listens for 'keyword: ...' labels: nano-keyword, or the id or folder of a CTC checkpoint.",
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or mps.")]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype", metavar="DTYPE", help="Precision of a CLAP model: auto, float32, bfloat16 or float16."
    ),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Windows that go through the model at once.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        "-t",
        help="Score from which a label counts as heard, unless the label has its own.",
        show_default="0.5",
    ),
]
Sensitivity = Annotated[
    float | None,
    typer.Option("--sensitivity", help="1, 2, ...: find more; -1, -2, ...: find less.", show_default="0"),
]
Channel = Annotated[
    int | None,
    typer.Option(
        "--channel", min=0, help="Listen to this channel; 0 is the first.", show_default="mean of all"
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive/--no-recursive", help="Look into the folders of a folder.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write the results to this file.", show_default="stdout"
    ),
]
Clips = Annotated[
    Path | None,
    typer.Option("--clips", metavar="DIR", help="Cut each event out of its recording, as a FLAC file."),
]
Margin = Annotated[
    float,
    typer.Option(
        "--margin", min=0.0, metavar="SECONDS", help="What --clips adds on either side of an event."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no messages but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what is being done, and how fast.")]
Debug = Annotated[bool, typer.Option("--debug", callback=_set_debug, help="Show the traceback of an error.")]


def message(text: str) -> None:
    """Print one line on stderr."""
    print(f"zsaudio: {' '.join(text.split())}", file=sys.stderr, flush=True)


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
    """Open the file of ``--output``, or give stdout."""
    if path is None:
        yield stdout()
        return
    refuse_input_as_output(path, inputs)
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror})") from error
    with file:
        yield file


def stdout() -> TextIO:
    """Return stdout, for results that may share a terminal with a progress bar."""
    return cast(TextIO, _Stdout())


class _Stdout(io.TextIOBase):
    """stdout as it is when written to: a progress bar on the same terminal takes its place for a while."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return sys.stdout.encoding

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


def refuse_input_as_output(path: Path, inputs: Iterable[str]) -> None:
    """Raise OptionError where ``--output`` would overwrite a recording."""
    if path.exists() and any(os.path.exists(i) and os.path.samefile(path, i) for i in inputs):
        raise OptionError(f"{path}: is one of the inputs; choose another name for --output")


def progress_is_shown(quiet: bool) -> bool:
    """Tell whether ``show_progress`` will draw."""
    return not quiet and sys.stderr.isatty()


def show_progress(
    items: Iterable[T], total: int, what: str, quiet: bool, note: Callable[[], str] = str
) -> Iterator[T]:
    """Yield the items; draw a progress bar where there is a terminal and more than a moment's work.

    ``note`` says how far the present item is, in a few characters.
    """
    if not progress_is_shown(quiet):
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.text import Text

    class Note(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(note())

    progress = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        Note(),
        Remaining(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # where both share a terminal, results go above the bar
        redirect_stderr=True,
    )
    task = progress.add_task(what, total=total)
    after_a_moment = threading.Timer(_MOMENT_S, progress.start)
    after_a_moment.daemon = True
    after_a_moment.start()
    try:
        for item in items:
            progress.advance(task)
            yield item
    finally:
        after_a_moment.cancel()
        progress.stop()
