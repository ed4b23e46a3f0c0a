"""One run of ``tag`` or ``detect`` over many recordings: inputs, output, failures, messages, and its end."""

import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

import typer

from zsaudio.cli import common
from zsaudio.cli.progress import Position, progress_is_shown, show_progress
from zsaudio.errors import OptionError, OutputError, ZsaudioError, has_result
from zsaudio.output.formats import Clip, Format, Place, n_items
from zsaudio.output.outputs import FAILURES, CombinedOutput, Failures, FolderOutput, Output, StreamOutput

if TYPE_CHECKING:
    from zsaudio.labels import LabelSet


class Batch(Generic[Clip]):
    """The recordings of a run, the output that it has locked, and what failed so far.

    Parameters
    ----------
    inputs, recursive
        What the user named; see ``common.find_recordings``.
    noun, work
        What a result is called, "event" or "tag", and the work, "detecting" or "tagging".
    quiet, debug
        Options of the commands.
    """

    def __init__(
        self, inputs: Sequence[str], recursive: bool, *, noun: str, work: str, quiet: bool, debug: bool
    ) -> None:
        self._started = time.monotonic()
        self._inputs, self._noun, self._work, self._quiet, self._debug = inputs, noun, work, quiet, debug
        self._found = list(common.find_recordings(inputs, recursive))
        self.paths = [item for item in self._found if isinstance(item, str)]
        self.position = Position()
        self.wants_position = progress_is_shown(quiet)
        self._failed: set[str] = set()
        self._failures: Failures | None = None
        self._place_name = ""

    @contextmanager
    def opened(
        self,
        form: Format[Clip],
        place: Place,
        settings: dict[str, Any],
        *,
        output: Path | None = None,
        output_dir: Path | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> Iterator[None]:
        """Open and lock the output, name the inputs without recordings, and close the output in the end.

        Ends the command where there is no recording at all.
        """
        _check_options(self.paths, output, output_dir, resume, overwrite)
        how = {"resume": resume, "overwrite": overwrite}
        with ExitStack() as stack:
            self._sink: Output[Clip]
            if output_dir is not None:
                folders = [text for text in self._inputs if os.path.isdir(text)]
                self._sink = FolderOutput(output_dir, form, place, self.paths, folders, settings, **how)
                self._failures = Failures(output_dir / FAILURES)
            elif output is None:
                self._sink = StreamOutput(common.stdout(), form, place)
            elif _is_special(output):
                file = stack.enter_context(common.open_special(output))
                self._sink = StreamOutput(file, form, place, str(output))
            else:
                self._sink = CombinedOutput(output, form, place, settings, **how)
                self._failures = Failures(output.with_name(f"{output.name}.{FAILURES}"))
            self._place_name = str(output or output_dir or "")
            stack.enter_context(_closing(self._sink))
            for item in self._found:
                if not isinstance(item, str):
                    self.fail(str(item).partition(": ")[0], item)
            if not self.paths:
                raise typer.Exit(1)
            yield

    def run(
        self,
        results: Callable[[list[str]], Iterator[Clip]],
        prepare: Callable[[str, Clip], Clip] = lambda path, clip: clip,
    ) -> None:
        """Write the results of all recordings that an earlier run did not do; end the command if some failed.

        Parameters
        ----------
        results
            Takes paths, yields their results in order.
        prepare
            Is called with a path and its results before they are written, and may change them.
        """
        try:
            self._sink.start()
            todo = self._to_do()
            n_done, total = self._write_all(todo, results, prepare)
            self._sink.close()
        except KeyboardInterrupt:
            common.end_interrupted("--resume goes on" if self._can_go_on else "")
        except OutputError as error:
            if self._debug or not self._can_go_on:
                raise
            common.message(f"{error}; --resume goes on")
            raise typer.Exit(1) from error
        if not self._quiet and (n_done or len(self._found) > 1):
            self._summarise(n_done, total)
        if self._failed:
            raise typer.Exit(1)

    def _to_do(self) -> list[str]:
        """Return the recordings that an earlier run did not do; name those that it could not do in full."""
        todo = []
        for path in self.paths:
            entry = self._sink.earlier(path)
            if entry is None:
                todo.append(path)
            elif entry.error:
                self.fail(path, entry.error)
        n_before = len(self.paths) - len(todo)
        if n_before and not self._quiet:
            common.message(f"{n_before} of {len(self.paths)} recordings were done before")
        return todo

    def _write_all(
        self,
        todo: list[str],
        results: Callable[[list[str]], Iterator[Clip]],
        prepare: Callable[[str, Clip], Clip],
    ) -> tuple[int, int]:
        """Write the results; return the number of recordings and the number of their events or tags."""
        n_done = total = 0
        self._go_to(todo[:1])
        shown = show_progress(results(todo), len(todo), self._work, self._quiet, self.position)
        with closing(shown):
            for number, (path, clip) in enumerate(zip(todo, shown, strict=True), start=1):
                if clip.error is not None:
                    self.fail(path, clip.error)
                if has_result(clip.error):
                    self._sink.write(path, prepare(path, clip))
                    n_done, total = n_done + 1, total + n_items(clip)
                else:
                    self._sink.fail(clip)
                self._go_to(todo[number : number + 1])
        return n_done, total

    def fail(self, path: str, error: Exception | str) -> None:
        """Name a recording that failed, on stderr and in the table of failures."""
        self._failed.add(path)
        text = str(error)
        is_named = isinstance(error, ZsaudioError) or text.startswith(path)
        common.message(text if is_named else f"{path}: {text}")
        if self._debug and isinstance(error, Exception):
            traceback.print_exception(error)
        if self._failures:
            self._failures.add(path, text.removeprefix(f"{path}: "))

    @property
    def _can_go_on(self) -> bool:
        return isinstance(self._sink, (CombinedOutput, FolderOutput))

    def _go_to(self, rest: list[str]) -> None:
        """Note which recording comes next, if any, and how long it is."""
        if self.wants_position and rest:
            self.position.begin(rest[0], _length_s(rest[0]))

    def _summarise(self, n_done: int, n_results: int) -> None:
        parts = [f"{counted(n_results, self._noun)} in {counted(n_done, 'recording')}"]
        if self._failed:
            where = f" ({self._failures.path})" if self._failures else ""
            parts.append(f"{len(self._failed)} of {counted(len(self._found), 'input')} failed{where}")
        if self._place_name:
            parts.append(f"written to {self._place_name}")
        seconds = time.monotonic() - self._started
        parts.append(f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds))))
        common.message(", ".join(parts))


@contextmanager
def _closing(sink: Output[Clip]) -> Iterator[Output[Clip]]:
    """Close an output in the end; where the work has failed, a failure to close it is not news."""
    try:
        yield sink
    except BaseException:
        try:
            sink.close()
        except OutputError:
            pass
        raise
    sink.close()


def _check_options(
    paths: Sequence[str], output: Path | None, output_dir: Path | None, resume: bool, overwrite: bool
) -> None:
    if output and output_dir:
        raise OptionError("give --output for one file or --output-dir for a file per recording, not both")
    if resume and overwrite:
        raise OptionError("--resume goes on with the output, --overwrite starts it again: give one of them")
    if (resume or overwrite) and not (output or output_dir):
        name = "resume" if resume else "overwrite"
        raise OptionError(f"--{name} needs an output file or folder: what goes to stdout is not kept")
    if resume and "-" in paths:
        raise OptionError("--resume cannot go on with standard input")
    if output and resume and _is_special(output):
        raise OptionError(f"{output}: is no regular file, so --resume cannot go on with it")
    if output:
        common.refuse_input_as_output(output, paths)


def _is_special(output: Path) -> bool:
    """Return whether an output is a device or a named pipe."""
    return output.exists() and not (output.is_file() or output.is_dir())


def _length_s(path: str) -> float:
    """Return the length of a recording; 0 where it is not known at once."""
    import soundfile

    if not os.path.isfile(path):  # to look at a pipe would take from it
        return 0.0
    try:
        return float(soundfile.info(path).duration)
    except (OSError, ValueError, soundfile.LibsndfileError):
        return 0.0


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "event"), counted(1200, "event")
    ('1 event', '1,200 events')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def settings_of(
    command: str,
    labels: "LabelSet",
    loading: Mapping[str, Any],
    options: Mapping[str, Any],
    channel: int | None,
) -> dict[str, Any]:
    """Return what the results of a command depend on, besides the recordings; a run goes on with the same."""
    return {
        "command": command,
        "labels": [asdict(label) for label in labels],
        "templates": labels.templates,
        "model": [loading[name] for name in ("model", "dtype", "keyword_model")],
        "options": options,
        "channel": channel,
    }
