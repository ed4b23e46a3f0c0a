"""How a run ends: signals, full disks, closed streams, a second run on the same output."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import tone

import zsaudio.cli

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix signals and devices")

FULL = "cannot be written (No space left on device)"
SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
from conftest import ToneModel
import zsaudio.recognizer
class Slow(ToneModel):
    def logits(self, windows, bank):
        time.sleep({seconds})
        return super().logits(windows, bank)
zsaudio.recognizer.load_model = lambda *_, **__: Slow()
import zsaudio.cli
zsaudio.cli.main()
"""


def start(folder: Path, *arguments: str, seconds: float = 0.02, shell: str = "") -> "subprocess.Popen[str]":
    code = SLOW.format(tests=str(Path(__file__).parents[1]), seconds=seconds)
    command = [sys.executable, "-c", code, *arguments, "--labels", "440,1000", "--batch-size", "1"]
    if shell:
        command = ["sh", "-c", f'"$@" {shell}', "sh", *command]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(30):
        samples = np.concatenate([np.zeros(4000), tone(440, 0.5)])
        soundfile.write(tmp_path / f"in/{number:02}.wav", samples, 16_000)
    return tmp_path


def wait_for_lines(path: Path, number: int) -> None:
    until = time.monotonic() + 120
    while not path.exists() or len(path.read_text().splitlines()) < number:
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.usefixtures("heeding_hangups")
@pytest.mark.parametrize(("command", "name"), [("tag", "SIGTERM"), ("detect", "SIGHUP")])
def test_signals_end_as_ctrl_c_does(recordings: Path, command: str, name: str) -> None:
    process = start(recordings, command, "in", "-f", "csv", "-o", "out.csv", "--quiet")
    wait_for_lines(recordings / "out.csv.journal", 3)
    os.kill(process.pid, getattr(signal, name))
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (130, "", "zsaudio: interrupted; --resume goes on\n")
    process = start(recordings, command, "in", "-f", "csv", "-o", "out.csv", "--quiet", "--resume")
    assert process.communicate(timeout=120) == ("", "")
    rows = (recordings / "out.csv").read_text().splitlines()[1:]
    assert len({row.split(",")[0] for row in rows}) == 30
    assert len(rows) == (30 if command == "detect" else 60)


def test_a_signal_without_an_output(recordings: Path) -> None:
    process = start(recordings, "detect", "in", "--quiet")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "zsaudio: interrupted\n")


def test_an_interruption_before_a_command_has_begun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(**options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(zsaudio.cli, "app", interrupted)
    with pytest.raises(SystemExit) as ended:
        zsaudio.cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "zsaudio: interrupted\n")


def test_an_interruption_while_the_arguments_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(zsaudio.cli._Command, "parse_args", interrupted)
    monkeypatch.setattr(sys, "argv", ["zsaudio", "labels"])
    with pytest.raises(SystemExit) as ended:
        zsaudio.cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "zsaudio: interrupted\n")


def test_a_signal_after_the_last_line_ends_the_process_without_a_word() -> None:
    code = """
import os, signal, sys, zsaudio.cli
sys.argv = ["zsaudio", "--version"]
try:
    zsaudio.cli.run()
finally:
    os.kill(os.getpid(), signal.SIGTERM)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (-signal.SIGTERM, "") and ran.stdout.startswith("zsaudio ")


def test_a_second_run_on_one_output_is_refused(recordings: Path) -> None:
    for target in (("-o", "out.csv"), ("--output-dir", "out")):
        first = start(recordings, "detect", "in", "-f", "csv", *target, seconds=2.0)
        wait_for_lines(recordings / ("out.csv.journal" if "-o" in target else "out/journal.jsonl"), 1)
        second = start(recordings, "detect", "in", "-f", "csv", *target, "--resume")
        _, err = second.communicate(timeout=120)
        assert second.returncode == 2
        assert err == (
            f"zsaudio: {target[1]}: another run is writing it; wait for it, or write somewhere else\n"
        )
        first.kill()
        first.communicate()
        # a kill ends the lock
        again = start(recordings, "detect", "in", "-f", "csv", *target, "--resume", seconds=0)
        again.communicate(timeout=120)
        assert again.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("command", "arguments", "shell", "message"),
    [
        ("tag", (), ">/dev/full", "standard output: cannot be written (No space left on device)"),
        ("detect", (), ">&-", "standard output: cannot be written (Bad file descriptor)"),
        (
            "tag",
            ("-o", "/dev/full", "-f", "json"),
            "",
            "/dev/full: cannot be written (No space left on device)",
        ),
        (
            "detect",
            ("-o", "/dev/full", "-f", "csv"),
            "",
            "/dev/full: cannot be written (No space left on device)",
        ),
    ],
)
def test_results_that_cannot_be_written(
    recordings: Path, command: str, arguments: tuple[str, ...], shell: str, message: str
) -> None:
    process = start(recordings, command, "in/00.wav", *arguments, shell=shell)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (1, "", f"zsaudio: {message}\n")


def test_other_commands_on_a_full_or_closed_stdout(tmp_path: Path) -> None:
    for shell in (">/dev/full", ">&-"):
        for arguments in ("labels", "--version"):
            command = f'"{sys.executable}" -m zsaudio {arguments} {shell}'
            ran = subprocess.run(
                command, shell=True, capture_output=True, text=True, cwd=tmp_path, check=False
            )
            assert ran.returncode == 1
            assert ran.stderr.startswith("zsaudio: standard output: ")
            assert ran.stderr.count("\n") == 1


def test_a_closed_stderr_does_not_mix_with_results(recordings: Path) -> None:
    process = start(recordings, "detect", "in/00.wav", "none.wav", "-f", "csv", shell="2>&-")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out.splitlines() == ["file,onset,offset,label,score", "in/00.wav,0.250,0.750,440,0.9999"]


def test_a_full_disk_keeps_whole_rows(recordings: Path) -> None:
    limited = 'ulimit -f 1; trap "" XFSZ; exec "$@"'  # files of at most one block, 512 or 1024 bytes
    code = SLOW.format(tests=str(Path(__file__).parents[1]), seconds=0.0)
    command = [sys.executable, "-c", code, "tag", "in", "--labels", "440,1000", "-f", "csv", "-o", "out.csv"]
    ran = subprocess.run(
        ["sh", "-c", limited, "sh", *command], cwd=recordings, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("zsaudio: out.csv")
    assert ran.stderr.endswith("cannot be written (File too large); --resume goes on\n")
    assert ran.stderr.count("\n") == 1
    text = (recordings / "out.csv").read_text()
    assert text.endswith("\n")
    assert {line.count(",") for line in text.splitlines()} == {2}
    process = start(recordings, "tag", "in", "-f", "csv", "-o", "out.csv", "-q", "--resume")
    assert process.communicate(timeout=120) == ("", "")
    assert len((recordings / "out.csv").read_text().splitlines()) == 61


def test_names_that_are_not_unicode(recordings: Path) -> None:
    name = os.fsencode(recordings / "in") + b"/\xff\x1b[2J.wav"
    os.rename(os.fsencode(recordings / "in/00.wav"), name)
    for command in ("tag", "detect"):
        for target in ((), ("-o", f"{command}.csv")):
            process = start(recordings, command, "in", "-f", "csv", *target)
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            text = Path(recordings / target[1]).read_text() if target else out
            assert "in/\\udcff\x1b[2J.wav," in text or (not target and "in/\ufffd\x1b[2J.wav," in text)
