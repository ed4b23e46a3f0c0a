"""The command line: parse, call, write.

Results go to stdout, messages to stderr. Exit codes: 0, all done; 1, some inputs failed, each named on
stderr; 2, wrong usage; 130, interrupted.
"""

import os
import sys

import typer

import zsaudio
from zsaudio.cli import common
from zsaudio.cli.adapt import adapt
from zsaudio.cli.benchmark import benchmark
from zsaudio.cli.calibrate import calibrate
from zsaudio.cli.count import count
from zsaudio.cli.detect import detect
from zsaudio.cli.evaluate import evaluate
from zsaudio.cli.index import index
from zsaudio.cli.labels import labels
from zsaudio.cli.listen import listen
from zsaudio.cli.models import models
from zsaudio.cli.search import search
from zsaudio.cli.tag import tag
from zsaudio.cli.train import train
from zsaudio.errors import ZsaudioError

app = typer.Typer(
    name="zsaudio",
    help="Recognise sounds, named in plain words, in recordings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (tag, detect, listen, index, search, count, evaluate, train, adapt, calibrate, benchmark):
    app.command(no_args_is_help=True)(command)
app.command()(labels)
app.command()(models)


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
    """Recognise sounds, named in plain words, in recordings."""


def main() -> None:
    """Run the command line; the entry point of ``zsaudio`` and ``python -m zsaudio``."""
    try:
        app()
    except ZsaudioError as error:
        if common.debug:
            raise
        common.message(str(error))
        sys.exit(2)
    except BrokenPipeError:  # whoever reads our output has left, as `zsaudio ... | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
