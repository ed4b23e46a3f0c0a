"""What ``zsaudio listen`` changes in its process: signals, and stderr of the sound libraries."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zsaudio.audio.live import LiveBlocks


@contextmanager
def ending_on_signals(source: "LiveBlocks") -> Iterator[None]:
    """Let SIGINT (Ctrl-C), SIGTERM and SIGHUP end the source, so that open events are still reported."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        source.stop()
        for one, handler in before.items():
            signal.signal(one, handler)

    ending = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
        ending.append(signal.SIGHUP)
    before = {one: signal.signal(one, end) for one in ending}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def libraries_hushed() -> Iterator[None]:
    """Hide what PortAudio and ALSA write to stderr; messages of zsaudio are still shown."""
    try:
        ours = sys.stderr.fileno() == 2
    except (OSError, ValueError):  # stderr is not a real file, as under a test
        ours = False
    kept, python_stderr = os.dup(2), sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    if ours:
        sys.stderr = os.fdopen(
            os.dup(kept), "w", encoding=python_stderr.encoding, errors="backslashreplace", buffering=1
        )
    try:
        yield
    finally:
        if ours:
            sys.stderr.close()
            sys.stderr = python_stderr
        os.dup2(kept, 2)
        os.close(kept)
