"""Recordings that are damaged, and files that are none, through the command line."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tone_cli
from conftest import Run, tone

LABELS = ("--labels", "440, 1000")
ODD_NAME = os.fsdecode(b"caf\xe9.wav")


@pytest.fixture
def cut_off(tmp_path: Path) -> Path:
    """Four seconds of 440 Hz and four of 1000 Hz, of which the last three are missing."""
    path = tmp_path / "night" / "cut.wav"
    path.parent.mkdir()
    soundfile.write(path, np.concatenate([tone(440, 4.0), tone(1000, 4.0)]), 16_000)
    path.write_bytes(path.read_bytes()[: 44 + 5 * 32_000])
    soundfile.write(path.with_name("whole.wav"), tone(440, 4.0), 16_000)
    return path


def test_detect_writes_the_events_of_the_part_that_decodes(zs: Run, cut_off: Path) -> None:
    ran = zs("detect", "night", *LABELS, "-f", "csv", "-o", "events.csv")
    assert ran.code == 1
    message = "damaged or cut off: 3.00 s of 8.00 s cannot be decoded"
    assert f"zsaudio: {Path('night/cut.wav')}: {message}" in ran.err
    rows = list(csv.DictReader(Path("events.csv").read_text().splitlines()))
    found = [(Path(row["file"]).name, row["label"], float(row["offset"])) for row in rows]
    assert found == [("cut.wav", "440", 4.0), ("cut.wav", "1000", 5.0), ("whole.wav", "440", 4.0)]
    (failures,) = Path().glob("*failures.csv")
    assert message in failures.read_text()
    ran = zs("detect", "night", *LABELS, "-f", "csv", "-O", "out")
    assert ran.code == 1 and Path("out/cut.csv").read_text().count("\n") == 3


def test_a_resumed_run_names_what_was_damaged_and_does_not_repeat_it(zs: Run, cut_off: Path) -> None:
    first = zs("detect", "night", *LABELS, "-f", "csv", "-o", "events.csv")
    text = Path("events.csv").read_text()
    again = zs("detect", "night", *LABELS, "-f", "csv", "-o", "events.csv", "--resume")
    assert (first.code, again.code) == (1, 1) and Path("events.csv").read_text() == text
    assert any("3.00 s of 8.00 s cannot be decoded" in line for line in again.err)


def test_a_damaged_recording_is_drawn(zs: Run, cut_off: Path) -> None:
    pytest.importorskip("matplotlib")
    assert zs("detect", "night/cut.wav", *LABELS, "--plot", "plots").code == 1
    assert Path("plots/cut.png").stat().st_size > 10_000


def test_tag_writes_the_tags_of_the_part_that_decodes(zs: Run, cut_off: Path) -> None:
    ran = zs("tag", "night", *LABELS, "-f", "jsonl")
    assert ran.code == 1
    cut, whole = map(json.loads, ran.out.splitlines())
    assert cut["duration_s"] == 5.0 and {tag["score"] for tag in cut["tags"]} == {1.0}
    assert cut["error"].endswith("3.00 s of 8.00 s cannot be decoded") and "error" not in whole
    ran = zs("tag", "night", *LABELS, "-f", "csv")
    assert ran.code == 1 and len(ran.rows()) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="others do not allow such names")
@pytest.mark.parametrize("content", ["good", "bad"])
def test_names_that_are_not_utf_8(tmp_path: Path, content: str) -> None:
    """As a process of its own, since real streams treat such names differently from a test's."""
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "a.wav", tone(440, 2.0), 16_000)
    soundfile.write(folder / "x.wav", tone(440, 2.0), 16_000)
    (folder / "x.wav").rename(folder / ODD_NAME)
    if content == "bad":
        (folder / ODD_NAME).write_text("no audio")
    code = int(content == "bad")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, tone_cli.__file__, *arguments, *LABELS, "-f", "csv"]
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
        ran = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == code and "Traceback" not in ran.stderr, ran.stderr
        assert ("in/caf\\udce9.wav: not a recording that can be decoded" in ran.stderr) == bool(code)
        return ran

    expected = {"in/a.wav"} if code else {"in/a.wav", "in/caf\\udce9.wav"}
    for command in ("tag", "detect"):
        run(command, "in", "-o", f"{command}.csv")
        text = (tmp_path / f"{command}.csv").read_text(encoding="utf-8")
        assert {row["file"] for row in csv.DictReader(text.splitlines())} == expected
        run(command, f"in/{ODD_NAME}")
        shown = run(command, "in").stdout
        assert {row["file"] for row in csv.DictReader(shown.splitlines())} == expected
    run("detect", "in", "-O", "out")
    names = {"a.csv", "journal.jsonl"} | ({"failures.csv"} if code else {ODD_NAME[:-3] + "csv"})
    assert {name for name in os.listdir(tmp_path / "out") if not name.startswith(".")} == names
    if code:
        assert "caf\\udce9.wav,not a recording" in (tmp_path / "out" / "failures.csv").read_text("utf-8")


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
def test_what_is_no_file_in_a_folder_is_skipped_and_named(zs: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", tone(440, 2.0), 16_000)
    os.mkfifo(tmp_path / "in" / "pipe.wav")
    (tmp_path / "in" / "device.wav").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("in/socket.wav")
        for command in ("tag", "detect"):
            ran = zs(command, "in", *LABELS, "-f", "csv")
            assert ran.code == 1 and {row["file"] for row in ran.rows()} == {"in/a.wav"}
            for name, kind in (("pipe", "named pipe"), ("device", "device"), ("socket", "socket")):
                assert f"zsaudio: in/{name}.wav: is a {kind}, skipped" in ran.err


@pytest.mark.parametrize("n_samples", [1, 2])
def test_a_recording_of_a_sample_costs_only_itself(zs: Run, tmp_path: Path, n_samples: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(n_samples), 384_000)
    soundfile.write(tmp_path / "b.wav", tone(440, 2.0), 16_000)
    for command in ("tag", "detect"):
        ran = zs(command, "a.wav", "b.wav", *LABELS, "-f", "csv")
        assert ran.code == 1 and {row["file"] for row in ran.rows()} == {"b.wav"}
        assert f"zsaudio: a.wav: too short ({n_samples} samples at 384000 Hz)" in ran.err


def test_a_url_is_named_as_one(zs: Run) -> None:
    ran = zs("tag", "https://example.org/a.wav?x=1", *LABELS)
    url = "https://example.org/a.wav?x=1"
    assert ran.err == [f"zsaudio: {url}: is a URL; download it first, only local files are read"]
    assert ran.code == 1
