"""Interrupted runs go on: no event is lost, none is repeated."""

import csv
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import soundfile
from conftest import tone
from hypothesis import example, given
from hypothesis import strategies as st

from zsaudio.errors import OptionError, OutputError
from zsaudio.output.event_writers import EVENT_FORMATS
from zsaudio.output.formats import Format, Place
from zsaudio.output.journal import Journal
from zsaudio.output.outputs import FAILURES, JOURNAL, CombinedOutput, Failures, FolderOutput, mirrored
from zsaudio.output.tag_writers import TAG_FORMATS
from zsaudio.results import ClipEvents, ClipTags, Event, Tag

CSV = EVENT_FORMATS["csv"]
SETTINGS = {"labels": ("a", "b"), "threshold": 0.5}


def journal_of(folder: Path, *, resume: bool = False, overwrite: bool = False, **changes: float) -> Journal:
    return Journal(folder / "j", folder / "out", {**SETTINGS, **changes}, resume=resume, overwrite=overwrite)


def combined(
    path: Path, form: Format[ClipEvents] = CSV, *, resume: bool = False, overwrite: bool = False
) -> CombinedOutput[ClipEvents]:
    return CombinedOutput(path, form, Place(), SETTINGS, resume=resume, overwrite=overwrite)


def touch(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).write_bytes(name.encode())
    return [str(folder / name) for name in names]


def clip(path: str, n_events: int = 2) -> ClipEvents:
    return ClipEvents(path, 9.0, 8000, tuple(Event(t, t + 0.5, "dog", 0.9) for t in range(n_events)))


def test_a_journal_remembers(tmp_path: Path) -> None:
    a, b = touch(tmp_path, "a", "b")
    journal = journal_of(tmp_path)
    journal.start()
    journal.add(a, 10, 1, 2.0)
    journal.close()
    again = journal_of(tmp_path, resume=True)
    assert again.entry(a)
    assert not again.entry(b)
    assert again.last is not None
    assert again.last.n_bytes == 10
    again.close()
    anew = journal_of(tmp_path, overwrite=True)
    assert not anew.entry(a)
    anew.close()
    with pytest.raises(OptionError, match="an earlier run wrote it; --resume goes on with it, --overwrite"):
        journal_of(tmp_path)


def test_a_cut_off_line_does_not_count(tmp_path: Path) -> None:
    a, b = touch(tmp_path, "a", "b")
    journal = journal_of(tmp_path)
    journal.start()
    journal.add(a)
    journal.add(b)
    journal.close()
    whole = (tmp_path / "j").read_bytes()
    for length in range(len(whole) - 1, whole.index(b"\n") + 1, -7):
        for torn in (b"", b"\0" * 20):
            (tmp_path / "j").write_bytes(whole[:length] + torn)
            again = journal_of(tmp_path, resume=True)
            assert not again.entry(b)
            again.start()
            again.add(b)
            again.close()
            anew = journal_of(tmp_path, resume=True)
            assert anew.entry(b)
            anew.close()


def test_a_recording_that_changed_is_not_done(tmp_path: Path) -> None:
    (a,) = touch(tmp_path, "a")
    journal = journal_of(tmp_path)
    journal.start()
    journal.add(a)
    Path(a).write_bytes(b"longer than before")
    assert not journal.entry(a)
    assert journal.is_changed(a)
    journal.close()


def test_other_settings_are_refused(tmp_path: Path) -> None:
    journal = journal_of(tmp_path)
    journal.start()
    journal.close()
    with pytest.raises(OptionError, match="other settings \\(threshold\\)"):
        journal_of(tmp_path, resume=True, threshold=0.6)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[]\n", 1),
        ("3\n", 1),
        ('SETTINGS\nnonsense\n{"path": "a", "size": 1, "mtime_ns": 1}\n', 2),
        ("SETTINGS\n[1]\n", 2),
        ("SETTINGS\n{}\n", 2),
        ('SETTINGS\n{"path": "a", "size": 1, "mtime_ns": 1, "more": 1}\n', 2),
        ('SETTINGS\n{"path": "a", "size": 1, "mtime_ns": "1"}\n', 2),
        ('SETTINGS\n{"path": "a", "size": 1, "mtime_ns": 1, "n_bytes": -5}\n', 2),
        ('SETTINGS\n{"path": "a", "size": 1, "mtime_ns": 1, "target": "../a"}\n', 2),
    ],
)
def test_a_damaged_journal_is_one_line(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "j").write_text(text.replace("SETTINGS", json.dumps(SETTINGS)))
    with pytest.raises(OptionError, match=f"j: line {line} is damaged; start again with --overwrite"):
        journal_of(tmp_path, resume=True)
    journal_of(tmp_path, overwrite=True).close()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    first = combined(tmp_path / "out.csv")
    for resume, overwrite in ((False, False), (True, False), (False, True)):
        with pytest.raises(OptionError, match=r"out\.csv: another run is writing it; wait for it"):
            combined(tmp_path / "out.csv", resume=resume, overwrite=overwrite)
    first.close()  # it never started
    assert list(tmp_path.iterdir()) == []
    combined(tmp_path / "out.csv").close()


def test_an_existing_file_is_not_replaced_without_a_word(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    for resume in (False, True):
        with pytest.raises(OptionError, match=r"out\.csv: exists; --overwrite replaces it"):
            combined(out, resume=resume)
    assert out.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]
    output = combined(out, overwrite=True)
    output.start()
    output.close()
    assert out.read_text().startswith("file,onset")
    out.with_name("empty.csv").touch()
    combined(out.with_name("empty.csv")).close()


def test_a_combined_output_goes_on_after_any_cut(tmp_path: Path) -> None:
    paths = touch(tmp_path, *"abcd")
    out = tmp_path / "out.csv"

    def run(todo: list[str], resume: bool) -> None:
        output = combined(out, resume=resume, overwrite=not resume)
        output.start()
        for path in todo:
            if not output.earlier(path):
                output.write(path, clip(path))
        output.close()

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
    output = combined(out)
    output.start()
    output.write(a, clip(a))
    output.close()
    Path(a).write_bytes(b"longer than before")
    output = combined(out, resume=True)
    with pytest.raises(OptionError, match="has changed"):
        output.earlier(a)
    output.close()
    out.write_bytes(b"short")
    with pytest.raises(OptionError, match="shorter than its journal"):
        combined(out, resume=True)


def test_json_goes_on_and_names_what_failed_once(tmp_path: Path) -> None:
    paths, out = touch(tmp_path, *"abc"), tmp_path / "tags.json"
    tags = [ClipTags(path, 1.0, (Tag("dog", 0.5),)) for path in paths]
    failed = ClipTags(paths[1], 0.0, error=ValueError("broken"))
    for resume in (False, True):
        output = CombinedOutput(out, TAG_FORMATS["json"], Place(), SETTINGS, resume=resume)
        output.start()
        if not resume:
            output.write(paths[0], tags[0])
        output.fail(failed)
        if resume:
            output.write(paths[2], tags[2])
        output.close()
        records = json.loads(out.read_text())
        assert [record["file"] for record in records] == (
            [paths[0], paths[2], paths[1]] if resume else [paths[0], paths[1]]
        )
        assert records[-1]["error"] == "broken"


def test_raven_numbers_run_on_after_an_interruption(tmp_path: Path) -> None:
    paths, out = touch(tmp_path, *"ab"), tmp_path / "out.txt"
    for path, resume in zip(paths, (False, True), strict=True):
        output = combined(out, EVENT_FORMATS["raven"], resume=resume)
        output.start()
        output.write(path, clip(path))
        output.close()
    rows = list(csv.DictReader(out.open(), delimiter="\t"))
    assert [row["Selection"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["Begin Time (s)"] for row in rows] == ["0.000", "1.000", "9.000", "10.000"]


def test_a_recording_done_in_part_is_done_and_remembered(tmp_path: Path) -> None:
    (a,) = touch(tmp_path, "a")
    output = combined(tmp_path / "out.csv")
    output.start()
    output.write(a, replace(clip(a), error=ValueError("breaks off")))
    output.close()
    output = combined(tmp_path / "out.csv", resume=True)
    entry = output.earlier(a)
    output.close()
    assert entry is not None
    assert entry.error == "breaks off"


def folder_output(
    folder: Path, paths: list[str], *, resume: bool = False, overwrite: bool = False
) -> FolderOutput[ClipEvents]:
    return FolderOutput(folder, CSV, Place(), paths, [], SETTINGS, resume=resume, overwrite=overwrite)


def test_a_folder_redoes_what_changed_or_is_gone(tmp_path: Path) -> None:
    paths = touch(tmp_path, *"abc")
    folder = tmp_path / "out"
    output = folder_output(folder, paths)
    output.start()
    for path in paths:
        output.write(path, clip(path))
    output.close()
    Path(paths[0]).write_bytes(b"longer than before")
    (folder / "b.csv").unlink()
    again = folder_output(folder, paths, resume=True)
    assert [again.earlier(path) is not None for path in paths] == [False, False, True]
    again.close()


def test_a_folder_keeps_its_files_names_as_recordings_are_added(tmp_path: Path) -> None:
    wav, flac = touch(tmp_path, "x.wav", "x.flac")
    for paths, resume in ([wav], False), ([wav, flac], True), ([flac], True):
        output = folder_output(tmp_path / "out", paths, resume=resume)
        output.start()
        for path in paths:
            if not output.earlier(path):
                output.write(path, clip(path))
        output.close()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["journal.jsonl", "x.csv", "x.flac.csv"]


def test_a_folder_replaces_no_file_without_a_word(tmp_path: Path) -> None:
    paths = touch(tmp_path, "a.wav")
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(OptionError, match=r"a\.csv: exists; --overwrite replaces it"):
        folder_output(tmp_path, paths)
    folder_output(tmp_path, paths, overwrite=True).close()
    (table,) = touch(tmp_path, "b.csv")
    with pytest.raises(OptionError, match=r"b\.csv: is one of the inputs"):
        folder_output(tmp_path, [table], overwrite=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_no_half_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = touch(tmp_path, *"ab")
    out = tmp_path / "out.csv"
    output = combined(out)
    output.start()
    output.write(paths[0], clip(paths[0]))
    expected = out.read_bytes()

    class Full:
        """A file on a disk with room for 10 bytes more."""

        def __init__(self, file: IO[bytes]) -> None:
            self._file, self._room = file, 10

        def write(self, data: memoryview) -> int:
            if not self._room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = self._file.write(data[: self._room])
            self._room -= written
            return written

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    assert output._file is not None
    monkeypatch.setattr(output, "_file", Full(output._file))
    with pytest.raises(OutputError, match=r"out\.csv: cannot be written \(No space left on device\)"):
        output.write(paths[1], clip(paths[1]))
    assert out.read_bytes() == expected


def test_failures_are_a_table(tmp_path: Path) -> None:
    failures = Failures(tmp_path / "failures.csv")
    failures.add("=a\udcff.wav", "no\nsuch file")
    assert (tmp_path / "failures.csv").read_text() == "file,error\n'=a\\udcff.wav,no such file\n"
    Failures(tmp_path / "failures.csv")
    assert not (tmp_path / "failures.csv").exists()


@given(
    st.lists(
        st.lists(
            st.sampled_from(["a", "x", "failures", "journal", "X", "x.wav"]), min_size=1, max_size=2
        ).flatmap(
            lambda parts: st.sampled_from(["", ".wav", ".ogg", ".wav.flac", ".csv"]).map(
                lambda suffix: "/in/" + "/".join(parts) + suffix
            )
        ),
        min_size=1,
        max_size=12,
        unique=True,
    ),
    st.sampled_from([".csv", ".jsonl", ".txt"]),
)
@example(["/in/x.wav", "/in/x.ogg", "/in/x.wav.flac"], ".csv")
@example(["/in/failures.wav", "/in/journal.wav", "/in/failures"], ".csv")
@example(["/in/journal.wav", "/in/journal"], ".jsonl")
def test_mirrored_names_never_collide(paths: list[str], suffix: str) -> None:
    targets = mirrored(paths, ["/in"], suffix, {JOURNAL, FAILURES})
    names = [target.as_posix().casefold() for target in targets.values()]
    assert len({JOURNAL, FAILURES, *names}) == len(paths) + 2
    assert all(name.endswith(suffix) for name in names)


KILLED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
sys.path.insert(0, {tests!r})
from conftest import ToneModel
import zsaudio.recognizer
class Slow(ToneModel):
    def logits(self, windows, bank):
        time.sleep(0.1)
        return super().logits(windows, bank)
zsaudio.recognizer.load_model = lambda *_, **__: Slow()
import zsaudio.cli
zsaudio.cli.main()
"""


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    code = KILLED.format(tests=str(Path(__file__).parents[1]))
    command = [sys.executable, "-c", code, "detect", "in", "--labels", "440,1000", "-q", *arguments]
    command += ["--batch-size", "2"]
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


def test_a_resumed_folder_has_no_half_written_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv.0123abcd.partial").touch()
    (tmp_path / "mine.0123abcd.partial").touch()
    output = FolderOutput(tmp_path, CSV, Place(), [str(tmp_path / "a.wav")], [], SETTINGS)
    output.start()
    output.close()
    assert [path.name for path in tmp_path.glob("*.partial")] == ["mine.0123abcd.partial"]
