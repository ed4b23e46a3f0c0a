"""``zsaudio`` in processes that are forked from one that has imported what takes long to import."""

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import zsaudio.cli
import zsaudio.evaluation.clips  # imported here, it is not imported in each forked process
import zsaudio.models.nano.nano
import zsaudio.recognizer

torch.set_num_threads(1)  # others would not survive a fork

HANGS_S = (
    1800.0  # a process that takes longer waits for what never comes; on a busy machine, some take minutes
)
MOST_CPU_S = 200  # of processor time; a process that takes more is in a loop, each takes seconds
MOST_MB = 1500  # of memory in a process
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
FORBIDDEN = (
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
)


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: a signal, None: it hung), its streams, its memory."""

    code: int | None
    out: str
    err: str
    peak_mb: float

    def faults(self, *codes: int, lines: int | None = None) -> list[str]:
        """Return what no process may do: its exit code must be one of ``codes``; at most so many lines."""
        said = self.err.strip().splitlines()
        found = []
        if self.code not in codes:
            found.append("it hung" if self.code is None else f"exit code {self.code}")
        if "Traceback" in self.err:
            found.append("a traceback")
        elif foreign := [line for line in said if not line.startswith("zsaudio: ")]:
            found.append(f"a line that is not zsaudio's: {foreign[0]!r}")
        if lines is not None and len(said) > lines:
            found.append(f"{len(said)} lines")
        if self.peak_mb > MOST_MB:
            found.append(f"{self.peak_mb:.0f} MB of memory")
        if not found:
            return []
        before, _, trace = self.err.partition("Traceback")
        shown = f"{before[-200:]}Traceback{trace[:600]} ... " if trace else ""
        return [f"{', '.join(found)}; stderr: {shown}{self.err.strip()[-300:]}"]


def zsaudio_run(
    *arguments: object, kill_after_s: float | None = None, by: signal.Signals = signal.SIGTERM
) -> Ended:
    """Run ``zsaudio`` in a process that is forked from this one; send it a signal after a time."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("fork")
        process = context.Process(target=_command, args=(Path(folder), [*map(str, arguments)]))
        process.start()
        process.join(HANGS_S if kill_after_s is None else kill_after_s)
        if process.is_alive() and kill_after_s is not None:
            assert process.pid is not None
            os.kill(process.pid, by)
            process.join(HANGS_S)
        hung = process.is_alive()
        if hung:
            process.kill()
            process.join()
        out, err, peak = (text_of(Path(folder) / name) for name in ("out", "err", "peak"))
        return Ended(None if hung else process.exitcode, out, err, float(peak or 0))


def _command(folder: Path, arguments: list[str]) -> None:
    """Be ``zsaudio``, with streams to files."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S + 1))
    for number in ENDING:  # as in a terminal; in the background of a shell they may be ignored
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.addaudithook(_forbid)
    sys.argv = ["zsaudio", *arguments]
    try:
        zsaudio.cli.run()
    except Exception:
        traceback.print_exc()
        raise SystemExit(99) from None
    finally:
        for number in ENDING:  # those for zsaudio; what follows is ours
            signal.signal(number, signal.SIG_IGN)
        sys.stdout.flush()
        scale = 1 if sys.platform == "darwin" else 1024
        (folder / "peak").write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20))


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    if event in FORBIDDEN:
        os.write(2, f"FORBIDDEN: {event} {arguments!r}\n".encode())


def text_of(path: Path) -> str:
    """Return the text of a file; "" where there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def memory_mb() -> float:
    """Return the resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    except OSError:  # not Linux: the highest so far
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
