import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from zsaudio.audio.live import Clock
from zsaudio.errors import OptionError
from zsaudio.listening.actions import ClipKeeper, CommandRunner
from zsaudio.results import Event

PYTHON = f'"{sys.executable}" -c'


def test_commands_take_labels_as_they_are(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runner = CommandRunner(f"{PYTHON} 'import sys; print(sys.argv[1:])' {{label}}", Clock(), True)
    label = "a 'b' {score} $(ls) ; *"
    runner.run(label, 0.5, 1.0)
    runner.finish(30.0)
    assert capfd.readouterr().err == f"{[label]}\n"


def test_commands_are_not_waited_for_and_not_too_many(caplog: pytest.LogCaptureFixture) -> None:
    runner = CommandRunner(f"{PYTHON} 'import time; time.sleep(60)'", Clock(), False)
    started = time.monotonic()
    for _ in range(17):
        runner.run("dog", 0.5, 1.0)
    runner.finish(0.1)
    assert time.monotonic() - started < 20
    (line,) = caplog.messages
    assert line == f"command '{sys.executable}' is not run for 'dog': 16 of them are still running"
    caplog.clear()
    for process in runner._running:
        process.kill()
    runner.finish(30.0)
    ended = f"command '{sys.executable}' was ended by signal 9"
    assert caplog.messages == ([ended] * 16 if os.name == "posix" else [])


@pytest.mark.parametrize(
    ("command", "message"), [("'", "command ': no closing quotation"), (" ", "the command to run is empty")]
)
def test_commands_that_cannot_be(command: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CommandRunner(command, Clock())


def test_memory_for_clips_is_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "zsaudio")
    rate, clock = 4_000, Clock()
    clock.note(0.0, 1_000_000.0)
    keeper = ClipKeeper(tmp_path, rate, clock, before_s=1.0, after_s=1.0)
    ramp = (np.arange(400 * rate) % 30_011).astype(np.int16)
    for start_ in range(0, len(ramp), 1_013):
        keeper.push(ramp[start_ : start_ + 1_013] / np.float32(32_768))
    long = keeper.keep(Event(10.0, 400.0, "rain, a/b & more", 0.9))
    again = keeper.keep(Event(10.0, 400.0, "rain, a/b & more", 0.9))
    keeper.finish()
    kept, _ = soundfile.read(long, dtype="int16")
    np.testing.assert_array_equal(kept, ramp[-302 * rate :])
    assert long.name.endswith("_rain-a-b-more.flac")
    assert again.name.endswith("_rain-a-b-more_2.flac")
    assert again.exists()
    assert caplog.messages == [
        f"{path}: the event is long; its last 302 s are kept" for path in (long, again)
    ]


def test_a_clip_that_cannot_be_written_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = ClipKeeper(tmp_path / "gone", 16_000, Clock())
    (tmp_path / "gone").rmdir()
    keeper.push(np.zeros(16_000, np.float32))
    keeper.keep(Event(0.0, 0.5, "dog", 0.9))
    keeper.finish()
    (line,) = caplog.messages
    assert line.startswith(str(tmp_path / "gone")) and ".flac: cannot be written (" in line
