import errno
import os
import shlex
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
    assert time.monotonic() - started < 20
    (line,) = caplog.messages
    assert line == f"command '{sys.executable}' is not run for 'dog': 16 of them are still running"
    caplog.clear()
    for process in runner._running[:2]:
        process.kill()
        process.wait()
    runner.reap()
    ended = f"command '{sys.executable}' was ended by signal 9"
    assert caplog.messages == ([ended] * 2 if os.name == "posix" else [])
    caplog.clear()
    left = list(runner._running)
    runner.finish(0.1)
    assert all(process.poll() is not None for process in left)
    assert caplog.messages == [
        f"command '{sys.executable}' was still running 14 times at the end, and was ended"
    ]


@pytest.mark.skipif(os.name != "posix", reason="Unix process groups")
def test_what_a_hung_command_has_started_ends_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"trap '' TERM; sleep 60 & echo $! > {pid}; wait"
    runner = CommandRunner(f"sh -c {shlex.quote(script)}", Clock())
    runner.run("dog", 0.5, 1.0)
    until = time.monotonic() + 30
    while not (pid.exists() and pid.read_text().endswith("\n")) and time.monotonic() < until:
        time.sleep(0.02)
    runner.finish(0.0)
    for _ in range(500):
        try:
            state = Path(f"/proc/{int(pid.read_text())}/stat").read_text().split()[2]
        except FileNotFoundError:
            return
        if state == "Z":  # ended, but nobody has asked how
            return
        time.sleep(0.02)
    raise AssertionError("the sleep goes on")


def test_a_cooldown_is_per_label(tmp_path: Path) -> None:
    code = f"import sys; open({str(tmp_path / 'ran.txt')!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))"
    runner = CommandRunner(f"{PYTHON} {shlex.quote(code)} {{label}} {{onset}}", Clock(), cooldown_s=10.0)
    for label, onset in (("dog", 1.0), ("cat", 5.0), ("dog", 10.9), ("dog", 11.0), ("dog", 20.0)):
        runner.run(label, 0.5, onset)
    runner.finish(60.0)
    assert sorted((tmp_path / "ran.txt").read_text().splitlines()) == [
        "cat 5.000",
        "dog 1.000",
        "dog 11.000",
    ]


def test_a_label_is_no_option(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    show = f"{PYTHON} 'import sys; print(sys.argv[1:])'"
    runner = CommandRunner(f"{show} {{label}}", Clock(), True)
    runner.check(["dog"])
    with pytest.raises(OptionError, match=r"label '-rf' would be an option of .* write -- before \{label\}"):
        runner.check(["dog", "-rf"])
    runner.run("-rf", 0.5, 1.0)
    assert "is not run for '-rf', which would be an option" in caplog.text
    capfd.readouterr()  # a test of the command line may have sent the log to stderr
    for words in ("-- {label}", "x={label}"):
        runner = CommandRunner(f"{show} {words}", Clock(), True)
        runner.check(["-rf"])
        runner.run("-rf", 0.5, 1.0)
        runner.finish(60.0)
    assert capfd.readouterr().err == "['--', '-rf']\n['x=-rf']\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("'", "command ': no closing quotation"),
        (" ", "the command to run is empty"),
        ("echo {lable}", r"unknown field {lable}; known are {label}, {score}, {onset}, {time}"),
        ("no-such-program {label}", "there is no program 'no-such-program'"),
        ("./no/such {label}", "there is no program './no/such'"),
    ],
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
    (tmp_path / "gone").touch()
    keeper.push(np.zeros(16_000, np.float32))
    keeper.keep(Event(0.0, 0.5, "dog", 0.9))
    keeper.finish()
    (line,) = caplog.messages
    assert line.startswith(str(tmp_path / "gone")) and ".flac: cannot be written (" in line


def test_clips_that_were_left_unfinished_are_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "zsaudio")
    for name, age_s in (("a.flac.0a1b2c3d.partial", 3600), ("b.flac.0a1b2c3d.partial", 0), ("c.flac", 3600)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    ClipKeeper(tmp_path, 16_000, Clock())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.flac.0a1b2c3d.partial", "c.flac"]
    assert caplog.messages == [f"{tmp_path}: removed 1 clip that an earlier session left unfinished"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a Unix")
def test_a_full_disk_leaves_no_torn_clip(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    keeper = ClipKeeper(tmp_path, 16_000, Clock())
    keeper.push(np.zeros(16_000, np.float32))
    path = keeper.keep(Event(0.0, 0.5, "dog", 0.9))
    monkeypatch.setattr("zsaudio.listening.actions.write_atomically", full)
    keeper.finish()
    assert caplog.messages == [f"{path}: cannot be written (No space left on device)"]
    assert not list(tmp_path.iterdir())
