"""``zsaudio listen`` as a user meets it: on files in real time, and on a real audio path."""

import io
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import null_sink
import numpy as np
import pytest
import soundfile
import tone_cli
from conftest import ToneModel, tone
from rich.console import Console
from rich.text import Text

import zsaudio.cli
from zsaudio.audio.live import LiveBlocks
from zsaudio.cli.listening.screen import Screen
from zsaudio.cli.listening.views import JsonLines
from zsaudio.listening.session import Ongoing
from zsaudio.results import FrameScores

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX")
LABELS = ("--labels", "440, 1000")
SAMPLES = np.concatenate([tone(100, 0.5), tone(440, 0.5), tone(100, 0.75), tone(1000, 0.25)])
PYTHON = f'"{sys.executable}" -c'

Listen = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Listen:
    """Run ``zsaudio listen`` in ``tmp_path``; return its exit code and the lines of stdout and stderr."""
    monkeypatch.setattr("zsaudio.recognizer.load_model", tone_cli.load)
    monkeypatch.chdir(tmp_path)
    soundfile.write("tones.wav", SAMPLES, 16_000)
    soundfile.write("beep.wav", tone(440, 0.5), 16_000)

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        monkeypatch.setattr(sys, "argv", ["zsaudio", "listen", *map(str, arguments)])
        code = 0
        try:
            zsaudio.cli.main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out.splitlines(), err.splitlines()

    return run


def start(*arguments: object, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    """Start ``zsaudio listen`` as a process of its own."""
    command = [sys.executable, tone_cli.__file__, "listen", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | (env or {})
    )


def read_line(stream: IO[str], wait_s: float = 30.0) -> str:
    assert select.select([stream], [], [], wait_s)[0], "nothing was printed in time"
    return str(stream.readline())


def test_events_as_json_lines(listen: Listen) -> None:
    before = time.time()
    code, out, err = listen("--simulate", "tones.wav", *LABELS, "--jsonl")
    assert code == 0
    assert err == ["zsaudio: listening to tones.wav at 16000 Hz; Ctrl-C ends"]
    events = [json.loads(line) for line in out]
    assert [(e["label"], e["onset"], e["offset"], e["score"]) for e in events] == [
        ("440", 0.5, 1.0, 1.0),
        ("1000", 1.75, 2.0, 1.0),
    ]
    for event in events:
        onset, offset = (datetime.fromisoformat(event[f"{end}_time"]) for end in ("onset", "offset"))
        assert (offset - onset).total_seconds() == pytest.approx(event["offset"] - event["onset"], abs=0.12)
        assert before < onset.timestamp() < offset.timestamp() < time.time() + 0.05


def test_events_as_lines_of_text(listen: Listen) -> None:
    code, out, err = listen("--simulate", "tones.wav", *LABELS, "--quiet", "--min-duration", 0.3)
    assert (code, err) == (0, [])
    assert [line.split()[1:] for line in out] == [["0.5", "s", "1.00", "440"]]
    datetime.strptime(out[0].split()[0], "%H:%M:%S")


def test_record_keeps_the_sound_around_each_event(listen: Listen, tmp_path: Path) -> None:
    arguments = ("--record", "deep/er", "--pre-roll", 0.25, "--post-roll", 0.5)
    code, out, _ = listen("--simulate", "tones.wav", *LABELS, "--jsonl", *arguments)
    assert code == 0
    written, _ = soundfile.read(tmp_path / "tones.wav", dtype="int16")
    for line, (start_s, end_s) in zip(out, [(0.25, 1.5), (1.5, 2.0)], strict=True):
        event = json.loads(line)
        path = Path(event["recording"])
        kept, rate = soundfile.read(path, dtype="int16")
        np.testing.assert_array_equal(kept, written[round(start_s * rate) : round(end_s * rate)])
        assert soundfile.info(path).format == "FLAC"
        began, label = path.stem.split("_")
        assert label == event["label"]
        seconds = datetime.fromisoformat(event["onset_time"]).replace(tzinfo=None) - datetime.strptime(
            began, "%Y%m%dT%H%M%S.%f"
        )
        assert seconds.total_seconds() == pytest.approx(0.25, abs=0.12)


def test_exec_runs_a_command_per_event(listen: Listen, tmp_path: Path) -> None:
    code = "import sys; open(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + chr(10))"
    command = f"{PYTHON} {shlex.quote(code)} ran.txt {{label}} '{{score}} at {{onset}}' $HOME *"
    assert listen("--simulate", "tones.wav", *LABELS, "--exec", command)[0] == 0
    assert sorted((tmp_path / "ran.txt").read_text().splitlines()) == [
        "1000 1.0000 at 1.750 $HOME *",
        "440 1.0000 at 0.500 $HOME *",
    ]


def test_a_command_that_fails_is_one_line(listen: Listen) -> None:
    command = f"{PYTHON} 'raise SystemExit(3)'"
    code, out, err = listen("--simulate", "beep.wav", "--labels", "440", "--exec", command, "-q")
    assert (code, len(out)) == (0, 1)
    assert err == [f"zsaudio: command '{sys.executable}' failed with exit code 3"]


def test_early_runs_the_command_when_the_event_begins(listen: Listen, tmp_path: Path) -> None:
    soundfile.write("long.wav", tone(440, 2.5), 16_000)
    code = "import sys, time; open('ran.txt', 'w').write(str(time.time()))"
    command = f"{PYTHON} {shlex.quote(code)}"
    _, out, _ = listen("--simulate", "long.wav", "--labels", "440", "--exec", command, "--early", "--jsonl")
    (event,) = map(json.loads, out)
    over = datetime.fromisoformat(event["offset_time"]).timestamp()
    assert float((tmp_path / "ran.txt").read_text()) < over - 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--simulate", "tones.wav"), "no labels: name some with --labels"),
        ((*LABELS, "--simulate", "none.wav"), "none.wav: no such file"),
        ((*LABELS, "--simulate", "tones.wav", "--input", "2"), "leave out --input and --rate"),
        ((*LABELS, "--simulate", "tones.wav", "--exec", "'"), "command ': no closing quotation"),
        ((*LABELS, "--simulate", "tones.wav", "--exec", ""), "the command to run is empty"),
        ((*LABELS, "--simulate", "tones.wav", "--exec", "no-such {label}"), "there is no program 'no-such'"),
        ((*LABELS, "--simulate", "tones.wav", "--exec", "echo {lable}"), "unknown field {lable}; known are"),
        (("--labels", "-x", "--simulate", "tones.wav", "--exec", "echo {label}"), "write -- before {label}"),
        ((*LABELS, "--simulate", "tones.wav", "--early"), "give one with --exec"),
        ((*LABELS, "--simulate", "tones.wav", "--cooldown", "5"), "give one with --exec"),
        ((*LABELS, "--simulate", "tones.wav", "--record", "tones.wav"), "tones.wav: cannot be written to"),
        ((*LABELS, "--simulate", "tones.wav", "--threshold", "2"), "threshold must be above 0 and below 1"),
    ],
)
def test_wrong_usage(listen: Listen, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = listen(*arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert message in err[0]


@pytest.mark.parametrize("arguments", [LABELS, ("--list-inputs",)])
def test_without_the_extra(
    listen: Listen, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    message = 'zsaudio: listening to a microphone needs sounddevice: pip install "sounddevice>=0.4.6"'
    assert listen(*arguments) == (2, [], [message])


def test_a_file_that_breaks_off_ends_with_its_reason(listen: Listen) -> None:
    samples = SAMPLES.copy()
    samples[16_000 + 100] = np.nan  # in the second block that is decoded
    soundfile.write("broken.wav", samples, 16_000, subtype="FLOAT")
    code, out, err = listen("--simulate", "broken.wav", *LABELS, "--jsonl", "-q")
    assert (code, len(err)) == (1, 1)
    assert "broken.wav: 1 of 32000 samples are NaN, infinite or too large, the first at 1.006 s" in err[0]
    assert [json.loads(line)["label"] for line in out] == ["440", "1000"]


def test_a_model_that_sees_whole_windows_only(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zsaudio.recognizer.load_model", lambda *_, **__: ToneModel())
    code, out, _ = listen("--simulate", "tones.wav", *LABELS, "--jsonl", "-q")
    assert (code, [json.loads(line)["label"] for line in out]) == (0, ["440", "1000"])


def test_a_computer_that_is_too_slow_says_so(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(tone_cli.NearToneModel):
        def logits(self, *arguments: Any) -> list[np.ndarray]:
            time.sleep(0.4)
            return super().logits(*arguments)

    monkeypatch.setattr("zsaudio.recognizer.load_model", lambda *_, **__: Slow())
    monkeypatch.setattr("zsaudio.audio.live.BUFFER_S", 0.2)
    code, out, err = listen("--simulate", "tones.wav", *LABELS, "--jsonl", "--hop", 0.25)
    assert code == 0
    assert re.fullmatch(r"zsaudio: audio is lost, .* keep up: \d+ overruns \(0\.\d s lost\)", err[1])
    assert re.fullmatch(rf"zsaudio: {len(out)} events?, \d+ overruns \(\d\.\d s lost\)", err[-1])


@POSIX
@pytest.mark.usefixtures("heeding_hangups")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ctrl_c_ends_in_good_order(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / "long.wav", tone(440, 60.0), 16_000)
    process = start("--simulate", tmp_path / "long.wav", *LABELS, "--jsonl", "--record", tmp_path)
    assert process.stdout
    assert process.stderr
    assert "listening to" in read_line(process.stderr)
    time.sleep(1.0)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=30)
    event = json.loads(out)
    assert (process.returncode, err, event["label"], event["onset"]) == (0, "", "440", 0.0)
    assert 0.5 < event["offset"] < 10
    kept_s = soundfile.info(event["recording"]).duration
    assert -0.01 < kept_s - event["offset"] < 0.26  # what there is of the second after the event


@POSIX
def test_a_reader_that_leaves_ends_it(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "beeps.wav", np.tile(SAMPLES, 20), 16_000)
    process = start("--simulate", tmp_path / "beeps.wav", *LABELS, "--jsonl", "-q")
    assert process.stdout
    assert process.stderr
    read_line(process.stdout)
    process.stdout.close()
    assert process.wait(timeout=30) == 1
    assert process.stderr.read() == ""


class Still(LiveBlocks):
    """A source of which only the looks matter."""

    def __init__(self, overruns: int = 0) -> None:
        super().__init__("USB Mic", 48_000, 0.05)
        self.overruns, self.lost_s = overruns, overruns * 0.05
        self.clock.note(0.0, datetime(2026, 1, 31, 5, 30).timestamp())


def draw(names: list[str], width: int, height: int, overruns: int = 0, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a screen on which the last label is heard since 1.5 s."""
    console = Console(
        file=io.TextIOWrapper(io.BytesIO(), encoding=encoding),
        width=width,
        height=height,
        force_terminal=True,
    )
    ongoing = {names[-1]: Ongoing(1.5, 0.9)}
    screen = Screen(Still(overruns), names, np.full(len(names), 0.5), "nano", console)
    screen.block(np.full(4_800, 0.1, np.float32))
    scores = np.linspace(0, 1, len(names))
    screen.scores(FrameScores(3.0, 3.5, scores, scores > 0.5), ongoing)
    with console.capture() as capture:
        console.print(screen.render())
    return Text.from_ansi(capture.get()).plain.splitlines()


def test_the_screen() -> None:
    lines = draw(["rain", "dog barking"], 60, 24)
    assert lines[0] == "─" * 60
    assert lines[1].startswith("level        ██")
    assert lines[1].endswith(" -20 dB")
    assert lines[2] == "rain         " + "─" * 19 + "┃" + "─" * 18 + " 0.00"
    assert lines[3] == "dog barking  " + "█" * 19 + "┃" + "█" * 18 + " 1.00"
    assert lines[4:] == [
        "05:30:01    2.0 s ●  0.90  dog barking",
        "0:00:00 · 0 events · 0 overruns · Ctrl-C ends · nano · …",
    ]


def test_the_screen_shows_overruns_and_fits_the_terminal() -> None:
    names = [f"sound number {index}" for index in range(40)]
    lines = draw(names, 50, 12, overruns=3)
    assert len(lines) < 12
    assert all(len(line) <= 50 for line in lines)
    assert "0 events · 3 overruns (0.2 s lost)" in lines[-1]
    assert [line.split()[2] for line in lines[2:-3]] == ["35", "36", "37", "38", "39"]
    assert lines[-3] == "35 more labels, all lower"


def test_the_screen_in_ascii() -> None:
    text = "\n".join(draw(["rain", "dog"], 60, 24, encoding="ascii"))
    assert text.isascii()
    assert "##|##" in text


def test_overruns_are_told_where_there_is_no_screen(capsys: pytest.CaptureFixture[str]) -> None:
    source = Still()
    view = JsonLines(source)
    view.block(np.zeros(10))
    source.overruns, source.lost_s = 3, 0.15
    view.block(np.zeros(10))
    source.overruns = 4
    view.block(np.zeros(10))  # not again so soon
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "zsaudio: audio is lost, since this computer does not keep up: 3 overruns (0.1 s lost)"
    ]


@POSIX
def test_on_a_terminal(tmp_path: Path) -> None:
    import pty

    path = tmp_path / "tones.wav"
    soundfile.write(path, np.concatenate([SAMPLES, tone(440, 60.0)]), 16_000)
    ours, theirs = pty.openpty()
    command = [sys.executable, tone_cli.__file__, "listen", "--simulate", str(path), *LABELS]
    command += ["--merge-gap", "0.3"]
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    text = ""

    def read_until(pattern: str) -> None:
        nonlocal text
        until = time.monotonic() + 30
        while not re.search(pattern, text):
            assert time.monotonic() < until, text
            if select.select([ours], [], [], 0.1)[0]:
                text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(ours, 65_536).decode(errors="replace"))

    read_until(r"s ●  1.00  440")  # an event that goes on
    read_until(r"  0.5 s  1.00  440\r\n")  # it is over
    read_until(r"  0.2 s  1.00  1000\r\n")
    process.send_signal(signal.SIGINT)
    read_until(r"zsaudio: 3 events, 0 overruns")
    assert process.wait(timeout=30) == 0
    os.close(ours)


@pytest.fixture(scope="module")
def tones_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("played") / "tones.wav"
    soundfile.write(path, SAMPLES, 16_000)
    return path


@pytest.fixture
def sound_card() -> Iterator[null_sink.NullSink]:
    lacks = null_sink.missing() + ([] if find_spec("sounddevice") else ["sounddevice"])
    if lacks:
        pytest.skip(f"no null sink without {', '.join(lacks)}")
    with null_sink.null_sink() as sink:
        yield sink


def test_what_is_played_is_heard_until_the_device_is_unplugged(
    sound_card: null_sink.NullSink, tones_wav: Path
) -> None:
    process = start(*LABELS, "--jsonl", env=sound_card.env)
    assert process.stdout
    assert process.stderr
    assert read_line(process.stderr) == "zsaudio: listening to default at 44100 Hz; Ctrl-C ends\n"
    played = time.time()
    sound_card.play(tones_wav).wait(timeout=30)
    events = [json.loads(read_line(process.stdout)) for _ in range(2)]
    assert [event["label"] for event in events] == ["440", "1000"]
    assert events[1]["onset"] - events[0]["onset"] == pytest.approx(1.25, abs=0.3)
    assert events[0]["offset"] - events[0]["onset"] == pytest.approx(0.5, abs=0.3)
    assert played < datetime.fromisoformat(events[0]["onset_time"]).timestamp() < time.time()
    sound_card.unplug()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert err == "zsaudio: default: stopped delivering audio; was it unplugged?\n"


def test_ctrl_c_at_a_real_device(sound_card: null_sink.NullSink) -> None:
    process = start(*LABELS, "--jsonl", "-q", "--rate", 8_000, "--channel", 1, env=sound_card.env)
    time.sleep(10)  # PyTorch takes seconds to import, more on a busy computer
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


def test_the_list_of_inputs(sound_card: null_sink.NullSink) -> None:
    process = start("--list-inputs", env=sound_card.env)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines() if line.endswith(" default")] == ["*"]
    assert "44100 Hz  32 channels" in out


def test_no_input_device_is_one_line(tmp_path: Path) -> None:
    if null_sink.missing() or not find_spec("sounddevice") or Path("/dev/snd").exists():
        pytest.skip("needs PortAudio, and a machine without a sound card")
    process = start(*LABELS, env={"HOME": str(tmp_path)})
    message = "zsaudio: no input device: connect a microphone, or play a file in its place\n"
    assert process.communicate(timeout=30) == ("", message)
    assert process.returncode == 2
