"""The command line: parse, call, write.

Results go to stdout, messages to stderr. Exit codes: 0, all done; 1, some inputs failed, each named on
stderr, or results could not be written; 2, wrong usage; 130, interrupted, by Ctrl-C, SIGTERM or SIGHUP.
"""

import gc
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand

import zsaudio
from zsaudio.cli import common
from zsaudio.cli.adapt import adapt
from zsaudio.cli.benchmark import benchmark
from zsaudio.cli.browser import browser
from zsaudio.cli.calibrate import calibrate
from zsaudio.cli.count import count
from zsaudio.cli.describe import describe
from zsaudio.cli.detect import detect
from zsaudio.cli.evaluate import evaluate
from zsaudio.cli.index import index
from zsaudio.cli.keywords import keywords
from zsaudio.cli.labels import labels
from zsaudio.cli.listen import listen
from zsaudio.cli.models import models
from zsaudio.cli.search import search
from zsaudio.cli.tag import tag
from zsaudio.cli.train import train
from zsaudio.errors import ZsaudioError

_UsageError: Any = typer.BadParameter.__mro__[1]  # Typer has no public name for it


class _Command(TyperCommand):
    """A command that has ``--help`` among the last options."""

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel = common.MESSAGES
        return option

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for option in self.get_params(ctx):
            if getattr(option, "is_flag", False) and option.metavar is None:
                option.metavar = ""  # not "<bool>", which takes room
        super().format_help(ctx, formatter)


app = typer.Typer(
    name="zsaudio",
    help="Recognise sounds and spoken words in recordings, named in plain English.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    tag,
    detect,
    listen,
    describe,
    index,
    search,
    count,
    evaluate,
    train,
    adapt,
    calibrate,
    keywords,
    benchmark,
):
    app.command(cls=_Command, no_args_is_help=True)(command)
app.command(cls=_Command)(labels)
app.command(cls=_Command)(models)
app.command("app", cls=_Command)(browser)


def _version(asked: bool) -> None:
    if asked:
        print(f"zsaudio {zsaudio.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Recognise sounds and spoken words in recordings, named in plain English."""


def run() -> None:
    """Be the process ``zsaudio``, or ``python -m zsaudio``: run the command line, and end.

    A signal that comes while Python shuts down ends the process at once, without a traceback.
    """
    common.is_process = True
    try:
        main()
    finally:
        gc.freeze()  # or Python would look for garbage in everything that torch holds, at its end
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)


def main() -> None:
    """Run the command line."""
    _open_standard_streams()
    _interrupt_on_signals()
    try:
        try:
            code = app(standalone_mode=False)
        finally:
            sys.stdout.flush()
        if code == common.INTERRUPTED:
            _end_interrupted()
        if code:
            sys.exit(code)
    except (KeyboardInterrupt, typer.Abort):
        _end_interrupted()
    except _UsageError as error:
        _explain(error)
        sys.exit(2)
    except BrokenPipeError:  # whoever reads our output has left, as `zsaudio ... | head` does
        _abandon_stdout()
        sys.exit(1)
    except (ZsaudioError, OSError) as error:
        if common.debug:
            raise
        common.message(str(error) if isinstance(error, ZsaudioError) else _describe(error))
        _abandon_stdout()
        sys.exit(1 if isinstance(error, OSError) else 2)


def _end_interrupted() -> NoReturn:
    _abandon_stdout()
    common.end_interrupted()


def _explain(error: Any) -> None:
    """Print what is wrong with a command line, unless its help was printed in place of an error."""
    wrong = error.format_message().rstrip(".")
    if wrong:
        command = error.ctx.command_path if error.ctx is not None else "zsaudio"
        common.message(f"{wrong[0].lower()}{wrong[1:]}; see {command} --help")


def _describe(error: OSError) -> str:
    """Return the line for a failure of the system; without a file's name it is one of writing to stdout."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    return f"standard output: cannot be written ({error.strerror or error})"


def _open_standard_streams() -> None:
    """Put a stand-in where stdin, stdout or stderr is closed, so that no other file takes its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # the lowest free number; writing to it fails
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")


def _abandon_stdout() -> None:
    """Let what could not be written to stdout go, so that Python does not try again at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # not a real file, as under a test
        return


def _interrupt_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the work as Ctrl-C does, except where they are ignored (``nohup``)."""
    if threading.current_thread() is not threading.main_thread():
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, interrupt)
