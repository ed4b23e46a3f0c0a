"""Interrupted runs go on: no event is lost, none is repeated."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import tone

from zsaudio.errors import OptionError
from zsaudio.output.event_writers import EVENT_FORMATS
from zsaudio.output.journal import Journal
from zsaudio.output.outputs import CombinedOutput, FolderOutput
from zsaudio.results import ClipEvents, Event

CSV = EVENT_FORMATS["csv"]
SETTINGS = {"labels": ("a", "b"), "threshold": 0.5}


def touch(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).write_bytes(name.encode())
    return [str(folder / name) for name in names]


def clip(path: str, n_events: int = 2) -> ClipEvents:
    return ClipEvents(path, 9.0, 8000, tuple(Event(t, t + 0.5, "dog", 0.9) for t in range(n_events)))


def test_a_journal_remembers(tmp_path: Path) -> None:
    a, b = touch(tmp_path, "a", "b")
    journal = Journal(tmp_path / "j", SETTINGS, resume=False)
    journal.start()
    journal.add(a, 10, 1, 2.0)
    journal.close()
    again = Journal(tmp_path / "j", SETTINGS, resume=True)
    assert again.is_done(a)
    assert not again.is_done(b)
    assert again.last is not None
    assert again.last.n_bytes == 10
    assert not Journal(tmp_path / "j", SETTINGS, resume=False).is_done(a)


def test_a_cut_off_line_does_not_count(tmp_path: Path) -> None:
    a, b = touch(tmp_path, "a", "b")
    journal = Journal(tmp_path / "j", SETTINGS, resume=False)
    journal.start()
    journal.add(a)
    journal.add(b)
    journal.close()
    whole = (tmp_path / "j").read_bytes()
    for length in range(len(whole) - 1, whole.index(b"\n") + 1, -7):
        (tmp_path / "j").write_bytes(whole[:length])
        again = Journal(tmp_path / "j", SETTINGS, resume=True)
        assert not again.is_done(b)
        again.start()
        again.add(b)
        again.close()
        assert Journal(tmp_path / "j", SETTINGS, resume=True).is_done(b)


def test_a_recording_that_changed_is_not_done(tmp_path: Path) -> None:
    (a,) = touch(tmp_path, "a")
    journal = Journal(tmp_path / "j", SETTINGS, resume=False)
    journal.start()
    journal.add(a)
    Path(a).write_bytes(b"longer than before")
    assert not journal.is_done(a)
    assert journal.is_changed(a)


def test_other_settings_are_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "j", SETTINGS, resume=False).start()
    with pytest.raises(OptionError, match="other settings \\(threshold\\)"):
        Journal(tmp_path / "j", {**SETTINGS, "threshold": 0.6}, resume=True)


def test_a_combined_output_goes_on_after_any_cut(tmp_path: Path) -> None:
    paths = touch(tmp_path, *"abcd")
    out = tmp_path / "out.csv"

    def run(todo: list[str], resume: bool) -> CombinedOutput:
        output = CombinedOutput(out, CSV, False, SETTINGS, resume)
        for path in todo:
            if not output.is_done(path):
                output.write(path, clip(path))
        output.close()
        return output

    run(paths, resume=False)
    expected = out.read_bytes()
    assert expected.count(b"\n") == 9
    for n_done in range(5):
        run(paths[:n_done], resume=False)
        with out.open("ab") as file:  # killed while the next text was being written
            file.write(b"half a li")
        run(paths, resume=True)
        assert out.read_bytes() == expected
        run(paths, resume=True)
        assert out.read_bytes() == expected


def test_a_combined_output_refuses_what_it_cannot_put_right(tmp_path: Path) -> None:
    (a,) = touch(tmp_path, "a")
    out = tmp_path / "out.csv"
    output = CombinedOutput(out, CSV, False, SETTINGS, resume=False)
    output.write(a, clip(a))
    output.close()
    Path(a).write_bytes(b"longer than before")
    with pytest.raises(OptionError, match="has changed"):
        CombinedOutput(out, CSV, False, SETTINGS, resume=True).is_done(a)
    out.write_bytes(b"short")
    with pytest.raises(OptionError, match="shorter than its journal"):
        CombinedOutput(out, CSV, False, SETTINGS, resume=True)


def test_raven_numbers_run_on_after_an_interruption(tmp_path: Path) -> None:
    paths, out = touch(tmp_path, *"ab"), tmp_path / "out.txt"
    for path, resume in zip(paths, (False, True), strict=True):
        output = CombinedOutput(out, EVENT_FORMATS["raven"], False, SETTINGS, resume)
        output.write(path, clip(path))
        output.close()
    rows = list(csv.DictReader(out.open(), delimiter="\t"))
    assert [row["Selection"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["Begin Time (s)"] for row in rows] == ["0.000", "1.000", "9.000", "10.000"]


def test_a_folder_redoes_what_changed_or_is_gone(tmp_path: Path) -> None:
    paths = touch(tmp_path, *"abc")
    targets = {path: Path(path).with_suffix(".csv").relative_to(tmp_path) for path in paths}
    folder = tmp_path / "out"
    output = FolderOutput(folder, CSV, False, targets, SETTINGS, resume=False)
    for path in paths:
        output.write(path, clip(path))
    output.close()
    Path(paths[0]).write_bytes(b"longer than before")
    (folder / "b.csv").unlink()
    again = FolderOutput(folder, CSV, False, targets, SETTINGS, resume=True)
    assert [again.is_done(path) for path in paths] == [False, False, True]


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from conftest import ToneModel
import zsaudio.recognizer
class Slow(ToneModel):
    def logits(self, windows, bank):
        time.sleep(0.01)
        return super().logits(windows, bank)
zsaudio.recognizer.load_model = lambda *arguments: Slow()
import zsaudio.cli
zsaudio.cli.main()
"""


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    code = KILLED.format(tests=str(Path(__file__).parents[1]))
    command = [sys.executable, "-c", code, "detect", "in", "--labels", "440,1000", "-q", *arguments]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for number in range(40):
        samples = np.concatenate([np.zeros(4000), tone(440, 0.5), np.zeros(8000), tone(1000, 0.25)])
        path = tmp_path / "in" / f"{number % 4}" / f"{number:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, 16_000)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
@pytest.mark.parametrize("target", [("-f", "csv", "-o", "out.csv"), ("-f", "csv", "--output-dir", "out")])
def test_a_killed_run_goes_on(recordings: Path, target: tuple[str, ...]) -> None:
    journal = recordings / ("out.csv.journal" if "-o" in target else "out/journal.jsonl")
    random.seed(0)
    done = 0
    for resume in ([], ["--resume"], ["--resume"]):
        process = start(recordings, *target, *resume)
        while process.poll() is None and (
            not journal.exists() or len(journal.read_text().splitlines()) <= done + 2
        ):
            time.sleep(0.005)
        time.sleep(random.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        before, done = done, len(journal.read_text().splitlines()) - 1
        assert before < done < 40
    for _ in range(2):  # to the end, and once more, which changes nothing
        process = start(recordings, *target, "--resume")
        _, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        files = [recordings / "out.csv"] if "-o" in target else sorted((recordings / "out").rglob("*.csv"))
        rows = [row for path in files for row in csv.DictReader(path.open())]
        assert sorted((row["file"], row["label"]) for row in rows) == sorted(
            (str(path.relative_to(recordings)), label)
            for path in (recordings / "in").rglob("*.wav")
            for label in ("440", "1000")
        )
        assert len(files) == (1 if "-o" in target else 40)
    assert all(json.loads(line) for line in journal.read_text().splitlines())


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts with a signal")
def test_an_interrupted_run_says_how_to_go_on(recordings: Path) -> None:
    process = start(recordings, "-f", "csv", "-o", "out.csv")
    journal = recordings / "out.csv.journal"
    while not journal.exists() or len(journal.read_text().splitlines()) < 3:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err == "zsaudio: interrupted; --resume goes on\n"
