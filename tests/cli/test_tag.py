"""The command line as a user meets it: what it prints where, and how it exits."""

import csv
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Ran, Run, tone

import zsaudio.cli
from zsaudio.cli import common, progress
from zsaudio.labels import LabelSet

LABELS = ("--labels", "440, 1000")
COMMANDS = (
    "tag detect listen index search count evaluate train adapt calibrate keywords benchmark labels models"
).split()


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of recordings: two good ones on top, one deeper, and things that are none."""
    folder = tmp_path / "clips"
    (folder / "deep").mkdir(parents=True)
    soundfile.write(folder / "a.wav", tone(440, 1.0), 16_000)
    soundfile.write(folder / "b.FLAC", tone(1000, 1.0, 44_100), 44_100)
    soundfile.write(folder / "deep" / "c.ogg", tone(440, 1.0), 16_000)
    (folder / "notes.txt").write_text("notes")
    (folder / "._a.wav").write_bytes(b"what some systems leave behind")
    return folder


def best(ran: Ran) -> dict[str, str]:
    """The best label of each file, from csv output."""
    found: dict[str, str] = {}
    for row in csv.DictReader(io.StringIO(ran.out)):
        found.setdefault(Path(row["file"]).as_posix(), row["label"])
    return found


def test_a_folder(zs: Run, clips: Path) -> None:
    ran = zs("tag", "clips", *LABELS, "-f", "csv")
    assert (ran.code, len(ran.err)) == (0, 1)
    assert re.fullmatch(r"zsaudio: 6 tags in 3 recordings, \d+\.\d s", ran.err[0])
    assert zs("tag", "clips", *LABELS, "-f", "csv", "--quiet").err == []
    assert best(ran) == {"clips/a.wav": "440", "clips/b.FLAC": "1000", "clips/deep/c.ogg": "440"}


def test_a_folder_without_its_folders(zs: Run, clips: Path) -> None:
    assert list(best(zs("tag", "clips", *LABELS, "-f", "csv", "--no-recursive"))) == [
        "clips/a.wav",
        "clips/b.FLAC",
    ]


def test_a_glob_and_the_same_file_twice(zs: Run, clips: Path) -> None:
    ran = zs("tag", "clips/**/*.ogg", "clips/deep/c.ogg", "clips/a.wav", *LABELS, "-f", "csv", "-k", "1")
    assert [line.split(",")[0] for line in ran.out.splitlines()] == [
        "file",
        "clips/deep/c.ogg",
        "clips/a.wav",
    ]


def test_a_name_with_brackets_is_a_name(zs: Run, clips: Path) -> None:
    (clips / "a.wav").rename(clips / "a [1].wav")
    assert best(zs("tag", "clips/a [1].wav", *LABELS, "-f", "csv")) == {"clips/a [1].wav": "440"}


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_standard_input(zs: Run, kind: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, tone(1000, 1.0), 16_000, format=kind)
    ran = zs("tag", "-", *LABELS, "-f", "jsonl", stdin=file.getvalue())
    assert json.loads(ran.out)["tags"][0] == {"label": "1000", "score": 1.0}


def test_table_and_options(zs: Run, clips: Path) -> None:
    ran = zs("tag", "clips/a.wav", *LABELS, "--top-k", "1")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["clip", "length", "score", "label"],
        ["clips/a.wav", "1.0", "s", "1.00", "█" * 12, "440"],
    ]
    ran = zs("tag", "clips/a.wav", *LABELS, "--min-score", "0.5", "-f", "json", "--top-k", "0")
    assert [tag["label"] for tag in json.loads(ran.out)[0]["tags"]] == ["440"]
    ran = zs("tag", "clips/a.wav", *LABELS, "--exclusive", "--pool", "mean", "-f", "json")
    assert sum(tag["score"] for tag in json.loads(ran.out)[0]["tags"]) == pytest.approx(1)


def test_output_file(zs: Run, clips: Path, tmp_path: Path) -> None:
    ran = zs("tag", "clips", *LABELS, "-f", "json", "-o", "tags.json")
    assert (ran.code, ran.out) == (0, "")
    assert "6 tags in 3 recordings, written to tags.json, " in ran.err[0]
    assert len(json.loads((tmp_path / "tags.json").read_text())) == 3


def test_tag_resumes(zs: Run, clips: Path) -> None:
    for form in ("csv", "json", "jsonl", "table"):
        output = f"tags.{form}"
        assert zs("tag", "clips/a.wav", *LABELS, "-f", form, "-o", output).code == 0
        ran = zs("tag", "clips", *LABELS, "-f", form, "-o", output)
        assert (ran.code, len(ran.err)) == (2, 1)
        assert "--resume goes on with it, --overwrite starts again" in ran.err[0]
        ran = zs("tag", "clips", *LABELS, "-f", form, "-o", output, "--resume")
        assert (ran.code, ran.err[0]) == (0, "zsaudio: 1 of 3 recordings were done before")
        resumed = Path(output).read_bytes()
        assert zs("tag", "clips", *LABELS, "-f", form, "-o", output, "--overwrite").code == 0
        assert Path(output).read_bytes() == resumed


def test_bad_files_among_good_ones(zs: Run, clips: Path) -> None:
    (clips / "bad.wav").write_text("this is text")
    (clips / "empty.wav").touch()
    soundfile.write(clips / "nan.wav", np.full(2, np.nan), 16_000, subtype="FLOAT")
    ran = zs("tag", "clips", "none.wav", *LABELS, "-f", "csv")
    assert ran.code == 1
    assert len(best(ran)) == 3
    assert [line.replace("\\", "/") for line in ran.err[:-1]] == [
        "zsaudio: clips/bad.wav: not a recording that can be decoded: it holds text",
        "zsaudio: clips/empty.wav: the file is empty (0 bytes)",
        "zsaudio: clips/nan.wav: 2 of 2 samples are NaN, infinite or too large, the first at 0.000 s: taken "
        "as silence",
        "zsaudio: none.wav: no such file",
    ]
    assert ran.err[-1].startswith("zsaudio: 6 tags in 3 recordings, 4 of 7 inputs failed, ")


def test_inputs_without_audio(zs: Run, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    for given, message in [("nothing", "a folder with no audio in it"), ("*.mp3", "no file matches")]:
        ran = zs("tag", given, *LABELS)
        assert (ran.code, ran.out, ran.err) == (1, "", [f"zsaudio: {given}: {message}"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels", ""), "no labels: name some, for example"),
        (("--labels", "440,,1000"), "label 2 is blank"),
        (("--labels", "440", "--labels", "440"), "label '440' is given twice (labels 1 and 2)"),
        (("--labels", "@nowhere"), "no built-in label set @nowhere; there are @animals"),
        (("--labels-file", "none.txt"), "none.txt: cannot be read (No such file"),
        ((*LABELS, "--template", "a sound"), "template 'a sound' has no {}"),
        (
            (*LABELS, "--model", "nope"),
            "unknown model 'nope'; known are nano, nano-keyword, clap, clap-small",
        ),
        ((*LABELS, "--model", "clap"), "--model nano"),
        ((*LABELS, "-o", "clips/a.wav"), "clips/a.wav: is one of the inputs"),
        ((*LABELS, "-o", "clips/a.wav/x.csv"), "x.csv: cannot be written (File exists"),
    ],
)
def test_wrong_usage(zs: Run, clips: Path, arguments: tuple[str, ...], message: str) -> None:
    ran = zs("tag", "clips/a.wav", *arguments)
    assert (ran.code, ran.out, len(ran.err)) == (2, "", 1)
    assert ran.err[0].startswith("zsaudio: ")
    assert message in ran.err[0]


@pytest.mark.parametrize(
    "arguments",
    [("--format", "xml"), ("--min-score", "2"), ("--nope",), ("--batch-size", "0"), ("--pool", "x")],
)
def test_wrong_options(zs: Run, clips: Path, arguments: tuple[str, ...]) -> None:
    ran = zs("tag", "clips/a.wav", *LABELS, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err) == 1 and arguments[0] in ran.err[0]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("tag", "--nope"), "no such option: --nope"),
        (("tag", "-l", "rain"), "missing argument 'INPUT...'; see zsaudio tag --help"),
        (("nope",), "no such command 'nope'; see zsaudio --help"),
    ],
)
def test_a_wrong_command_line_is_one_line(zs: Run, arguments: tuple[str, ...], line: str) -> None:
    ran = zs(*arguments)
    assert (ran.code, ran.out, len(ran.err)) == (2, "", 1)
    assert ran.err[0].startswith(f"zsaudio: {line}")


def test_without_arguments_the_help_is_printed(zs: Run) -> None:
    ran = zs("tag")
    assert (ran.code, ran.err) == (2, [])
    assert "Usage: zsaudio tag" in ran.out


def test_debug_shows_the_traceback(zs: Run, clips: Path) -> None:
    ran = zs("tag", "none.wav", "clips/a.wav", *LABELS, "--debug", "-f", "csv")
    assert ran.code == 1
    assert any("Traceback" in line for line in ran.err)
    assert best(ran) == {"clips/a.wav": "440"}
    with pytest.raises(zsaudio.LabelError):
        zs("tag", "clips/a.wav", "--labels", "", "--debug")


def test_labels_file_and_labels_together(zs: Run, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("labels: [{name: '440', threshold: 0.5}]\n")
    ran = zs("tag", "clips/b.FLAC", "--labels-file", "mine.yaml", "--labels", "1000,2000", "-f", "json")
    assert [tag["label"] for tag in json.loads(ran.out)[0]["tags"]] == ["1000", "2000"]


def test_progress_only_on_a_terminal_and_when_not_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    assert list(progress.show_progress(range(3), 3, "x", quiet=False)) == [0, 1, 2]
    assert screen.getvalue() == ""
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "_MOMENT_S", 0.01)
    assert list(progress.show_progress(range(3), 3, "tagging", quiet=True)) == [0, 1, 2]
    assert screen.getvalue() == ""
    assert list(progress.show_progress(range(3), 3, "too quick", quiet=False)) == [0, 1, 2]
    assert "too quick" not in screen.getvalue()
    monkeypatch.setenv("COLUMNS", "100")
    position = progress.Position()
    position.begin("night/long\x1b.flac", 7200.0)
    position.seconds = 3600.0
    for _ in progress.show_progress(range(3), 3, "tagging", quiet=False, position=position):
        time.sleep(0.15)
    shown = screen.getvalue()
    assert "tagging" in shown
    assert "1:00:00 of 2:00:00  long\\x1b.flac" in shown
    assert "0:00:00 left" in shown  # a half of three is done in next to no time


def test_labels_command(zs: Run) -> None:
    ran = zs("labels")
    assert ran.out.splitlines()[0].split()[:3] == ["@animals", "29", "labels"]
    ran = zs("labels", "@home")
    assert ran.out.splitlines()[:2] == ["people:", "  speech"]
    assert zs("labels", "urbansound8k").out.splitlines()[0] == "air conditioner"
    ran = zs("labels", "@nope")
    assert (ran.code, len(ran.err)) == (2, 1)


def test_models_command(zs: Run) -> None:
    rows = [line.split() for line in zs("models").out.splitlines()]
    assert [row[0] for row in rows[:5]] == ["model", "nano", "nano-keyword", "clap", "clap-small"]
    assert "bundled" in rows[1]


def test_version_and_help(zs: Run) -> None:
    assert zs("--version").out == f"zsaudio {zsaudio.__version__}\n"
    assert zs("--help").code == 0
    assert "--labels" in zs("tag", "--help").out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(zs: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = zs(command, "--help").out
    assert "…" not in text
    assert not re.search(r"<\w+\|[\w|]* ", text)  # choices that break in the middle of a word
    assert max(map(len, text.splitlines())) <= 80
    panels = re.findall(r"╭─ ([\w ]+) ─", text)
    assert panels[-1] == "Messages" and "Options" not in panels
    assert not re.search(r"<(path|int|float|choice)", text)  # types in the place of what is to be given
    if command in ("tag", "detect"):
        assert panels[:3] == ["Arguments", "What to recognise", "Model"]
        assert panels[-2:] == ["Results", "Messages"]


def test_a_reader_that_leaves_early_is_no_error(clips: Path) -> None:
    shell = f"{sys.executable} -m zsaudio labels | head -1"
    ran = subprocess.run(shell, shell=True, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("@animals")
    assert ran.stderr == ""


def test_without_labels_everyday_sounds_are_taken() -> None:
    everyday = common.read_labels(None, None, None, common.EVERYDAY)
    assert everyday.names == LabelSet.builtin("everyday").names and len(everyday) > 150
    assert common.read_labels(["rain"], None, None, common.EVERYDAY).names == ("rain",)
