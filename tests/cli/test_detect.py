"""``zsaudio detect`` as a user meets it."""

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import Run, tone

from zsaudio import ClipEvents, Recognizer
from zsaudio.audio.start_time import time_in_name
from zsaudio.cli.detect import DetectFormat, detect
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import DamagedAudioError
from zsaudio.output.event_writers import EVENT_FORMATS
from zsaudio.output.outputs import mirrored

LABELS = ("--labels", "440, 1000")


@pytest.fixture
def find(zs: Run) -> Run:
    """Run ``zsaudio detect``."""
    return partial(zs, "detect")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """a/x.wav: silence, 440, silence; b/x.wav: 1000; b/broken.wav; b/notes.txt."""
    for name, samples in {
        "a/x.wav": np.concatenate([np.zeros(16_000), tone(440, 1.5), np.zeros(16_000)]),
        "b/x.wav": tone(1000, 2.0),
    }.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        soundfile.write(path, samples, 16_000)
    (tmp_path / "in/b/broken.wav").write_text("not audio at all")
    (tmp_path / "in/b/notes.txt").write_text("not even named audio")
    return tmp_path / "in"


def test_a_table_by_default(find: Run, clips: Path) -> None:
    ran = find("in/a/x.wav", *LABELS)
    assert (ran.code, len(ran.err)) == (0, 1)
    assert re.fullmatch(r"zsaudio: 1 event in 1 recording, \d+\.\d s", ran.err[0])
    assert ran.out.splitlines()[1].split() == ["in/a/x.wav", "00:00:01.0", "00:00:02.5", "1.00", "440"]


def test_csv_of_many_and_one_that_fails(find: Run, clips: Path) -> None:
    ran = find("in", *LABELS, "--format", "csv")
    assert ran.code == 1
    assert [(row["file"], row["onset"], row["offset"], row["label"]) for row in ran.rows()] == [
        ("in/a/x.wav", "1.000", "2.500", "440"),
        ("in/b/x.wav", "0.000", "2.000", "1000"),
    ]
    assert ran.err[0].startswith("zsaudio: in/b/broken.wav: not a recording")
    assert ran.err[1].startswith("zsaudio: 2 events in 2 recordings, 1 of 3 inputs failed, ")
    assert not Path("failures.csv").exists()


def test_four_corrupt_files_among_many_cost_exactly_those_four(find: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(100):
        soundfile.write(tmp_path / f"in/{number:03}.wav", tone(440, 0.5), 16_000)
    bad = ["in/007.wav", "in/050.wav", "in/051.wav", "in/099.wav"]
    for name, content in zip(bad, (b"", b"RIFF", b"text", np.zeros(999).tobytes()), strict=True):
        (tmp_path / name).write_bytes(content)
    ran = find("in", *LABELS, "-f", "csv", "-o", "out/events.csv", "-q")
    assert ran.code == 1
    rows = list(csv.DictReader((tmp_path / "out/events.csv").open()))
    assert len(rows) == 96
    assert not {row["file"] for row in rows} & set(bad)
    failures = list(csv.DictReader((tmp_path / "out/events.csv.failures.csv").open()))
    assert [row["file"] for row in failures] == bad
    assert failures[0]["error"] == "the file is empty (0 bytes)"
    for name in bad:
        soundfile.write(tmp_path / name, tone(440, 0.5), 16_000)
    assert find("in", *LABELS, "-f", "csv", "-o", "out/events.csv", "--resume", "-q").code == 0
    assert len(list(csv.DictReader((tmp_path / "out/events.csv").open()))) == 100
    assert not (tmp_path / "out/events.csv.failures.csv").exists()


def test_an_output_folder_mirrors_the_inputs(find: Run, clips: Path, tmp_path: Path) -> None:
    ran = find("in", *LABELS, "-f", "textgrid", "--output-dir", "out")
    assert ran.code == 1
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert written == {"a/x.TextGrid", "b/x.TextGrid", "failures.csv", "journal.jsonl"}


def test_names_of_outputs() -> None:
    paths = ["r/a/x.wav", "r/a/x.flac", "r/b/x.wav", "q/x.wav"]
    targets = mirrored(paths, ["r"], ".csv")
    assert [path.as_posix() for path in targets.values()] == [
        "r/a/x.wav.csv",
        "r/a/x.flac.csv",
        "r/b/x.csv",
        "q/x.csv",
    ]
    assert mirrored(["r/x.wav"], [], ".csv") == {"r/x.wav": Path("x.csv")}


def test_no_names_collide_in_an_output_folder(find: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    names = ["x.wav", "x.ogg", "x.wav.flac", "failures.wav", "journal.wav"]
    for name in names:
        soundfile.write(tmp_path / "in" / name, tone(440, 1.0), 16_000)
    for form in ("csv", "jsonl"):
        ran = find("in", *LABELS, "-f", form, "--output-dir", form)
        assert (ran.code, len(ran.err)) == (0, 1)
        text = "".join(path.read_text() for path in Path(form).iterdir() if path.name != "journal.jsonl")
        assert all(f"in/{name}" in text for name in names)
        assert len(list(Path(form).iterdir())) == len(names) + 1


def test_resume_says_what_was_done(find: Run, clips: Path) -> None:
    (clips / "b/broken.wav").unlink()
    assert find("in/a", *LABELS, "-f", "csv", "-o", "out.csv").code == 0
    ran = find("in", *LABELS, "-f", "csv", "-o", "out.csv", "--resume")
    assert (ran.code, ran.err[0]) == (0, "zsaudio: 1 of 2 recordings were done before")
    assert ran.err[1].startswith("zsaudio: 1 event in 1 recording, written to out.csv, ")
    assert len(Path("out.csv").read_text().splitlines()) == 3
    ran = find("in", *LABELS, "-f", "csv", "-o", "out.csv", "--resume", "--threshold", "0.9")
    assert ran.code == 2
    assert "other settings (options)" in ran.err[0]


def test_options_reach_the_detector(find: Run, clips: Path) -> None:
    def labels(*options: str) -> list[str]:
        return [row["label"] for row in find("in/a/x.wav", *LABELS, "-f", "csv", *options).rows()]

    assert labels() == ["440"]
    assert labels("--min-duration", "2") == []
    assert labels("--threshold", "0.99999") == []
    assert labels("--threshold", "0.99999", "--sensitivity", "5") == ["440"]
    assert labels("--smooth", "0") == ["440"]
    assert labels("--hop", "0.5", "--window", "1", "--merge-gap", "0", "--median", "0.7") == ["440"]


def test_every_option_of_detection_is_offered() -> None:
    offered = {name.replace("_", "") for name in detect.__annotations__}
    missing = {
        field.name
        for field in fields(DetectionOptions)
        if field.name.removesuffix("_s").replace("_", "") not in offered
    }
    assert missing == {"lookahead_s", "off_ratio"}


def test_help_tells_the_defaults(find: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = " ".join(find("--help").out.replace("│", " ").split())
    options = DetectionOptions()
    assert f"without a threshold of its own. [default: ({options.threshold:g})]" in text
    assert f"with a shorter gap. [default: ({options.merge_gap_s:g})]" in text
    assert f"Drop events that are shorter. [default: ({options.min_duration_s:g})]" in text
    assert f"Average scores over this length. [default: ({options.smooth_s:g})]" in text
    assert f"median filter over the scores. [default: ({options.median_s:g})]" in text


def test_the_choices_are_the_formats() -> None:
    assert [choice.value for choice in DetectFormat] == list(EVENT_FORMATS)


def test_a_channel(find: Run, tmp_path: Path) -> None:
    stereo = np.stack([tone(440, 1.0), tone(1000, 1.0)], axis=1)
    soundfile.write(tmp_path / "s.wav", stereo, 16_000)
    for channel, label in (("0", "440"), ("1", "1000")):
        ran = find("s.wav", *LABELS, "-f", "csv", "--channel", channel)
        assert [row["label"] for row in ran.rows()] == [label]
    assert "has no channel 2" in find("s.wav", *LABELS, "--channel", "2").err[0]


def test_standard_input(find: Run) -> None:
    wav = io.BytesIO()
    soundfile.write(wav, tone(440, 1.0), 16_000, format="WAV")
    ran = find("-", *LABELS, "-f", "jsonl", stdin=wav.getvalue())
    assert ran.code == 0
    assert json.loads(ran.out)["label"] == "440"


def test_times_of_day(find: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "AM_20260131_235959.WAV", tone(440, 2.0), 16_000)
    (row,) = find(tmp_path / "AM_20260131_235959.WAV", *LABELS, "-f", "csv", "--start-time", "auto").rows()
    assert row["onset_time"] == "2026-01-31T23:59:59.000"
    assert row["offset_time"] == "2026-02-01T00:00:01.000"
    ran = find(tmp_path / "AM_20260131_235959.WAV", *LABELS, "--start-time", "2026-05-01 12:00")
    assert "12:00:00   12:00:02" in ran.out


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("20260131_053000.WAV", "2026-01-31T05:30:00"),
        ("rec-2026-01-31T05-30-00-mic1.flac", "2026-01-31T05:30:00"),
        ("20260131053000.wav", "2026-01-31T05:30:00"),
        ("99999999_999999_20260131_053000.wav", "2026-01-31T05:30:00"),
        ("20261331_053000.wav", None),
        ("120260131_053000.wav", None),
        ("night.wav", None),
    ],
)
def test_times_in_names(name: str, time: str | None) -> None:
    moment = time_in_name(name)
    assert (moment and moment.isoformat()) == time


def test_a_name_without_a_time(find: Run, clips: Path) -> None:
    ran = find("in/a/x.wav", *LABELS, "-f", "csv", "--start-time", "auto")
    assert ran.code == 0
    assert "no time in its name" in ran.err[0]
    assert ran.rows()[0]["onset_time"] == ""


def test_plots(find: Run, clips: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ran = find("in", *LABELS, "--plot", "plots")
    assert ran.code == 1
    assert sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "plots").rglob("*.*")) == [
        "plots/a/x.png",
        "plots/b/x.png",
    ]


def test_plots_that_cannot_be_written_cost_only_themselves(find: Run, clips: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "plots/a/x.png").mkdir(parents=True)
    ran = find("in/a", "in/b/x.wav", *LABELS, "-f", "csv", "-o", "out.csv", "--plot", "plots")
    assert ran.code == 1
    assert ran.err[0].startswith("zsaudio: plots/a/x.png: cannot be written (")
    assert len(Path("out.csv").read_text().splitlines()) == 3
    assert [path.name for path in (tmp_path / "plots").rglob("*.p*")] == ["x.png", "x.png"]


def test_plots_without_matplotlib(find: Run, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = find("in/a", *LABELS, "--plot", "plots")
    assert (ran.code, ran.err) == (2, ['zsaudio: plots need matplotlib: pip install "matplotlib>=3.8"'])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("in/a", "--resume"), "needs an output file or folder"),
        (("-", "--resume", "-o", "x"), "standard input"),
        (("in/a", "--resume", "--overwrite", "-o", "x"), "give one of them"),
        (("in/a", "--overwrite"), "needs an output file or folder"),
        (("in/a", "--plot", "in/a/x.wav/p"), "cannot be written"),
        (("in/a", "-o", "x", "--output-dir", "y"), "not both"),
        (("in", "-f", "audacity"), "audacity holds one recording"),
        (("in/a/x.wav", "-o", "in/a/x.wav"), "is one of the inputs"),
        (("in", "--start-time", "2026-01-31"), "one recording only"),
        (("in/a", "--start-time", "yesterday"), "give a time such as"),
        (("in/a", "--hop", "1", "--overlap", "1"), "give one of them"),
        (("in/a", "--threshold", "1.5"), "threshold must be"),
        (("in/a", "--window", "99"), "too long"),
        (("-", "--plot", "p"), "read only once"),
        (("in/a", "-o", "in"), "is a folder"),
    ],
)
def test_wrong_usage_is_one_line(find: Run, clips: Path, arguments: tuple[str, ...], message: str) -> None:
    ran = find(*arguments, *LABELS)
    assert ran.code == 2
    assert len(ran.err) == 1
    assert message in ran.err[0]


def test_an_output_is_not_replaced_without_a_word(find: Run, clips: Path) -> None:
    arguments = ("in/a", *LABELS, "-f", "csv")
    for target in (("-o", "out.csv"), ("--output-dir", "out")):
        assert find(*arguments, *target).code == 0
        ran = find(*arguments, *target)
        hint = "--resume goes on with it, --overwrite starts again"
        assert (ran.code, ran.err) == (2, [f"zsaudio: {target[1]}: an earlier run wrote it; {hint}"])
        assert find(*arguments, *target, "--overwrite").code == 0
        assert find(*arguments, *target, "--resume", "-q").err == []
    Path("mine.csv").write_text("mine")
    ran = find(*arguments, "-o", "mine.csv")
    assert (ran.code, ran.err) == (2, ["zsaudio: mine.csv: exists; --overwrite replaces it"])
    assert Path("mine.csv").read_text() == "mine"
    Path("labels.txt").write_text("440")
    for how in ((), ("--overwrite",)):
        ran = find("in/a", "--labels-file", "labels.txt", "-o", "labels.txt", *how)
        assert (ran.code, len(ran.err)) == (2, 1)
        assert "is one of the inputs" in ran.err[0]


def test_a_wrong_model_leaves_no_output(find: Run, clips: Path) -> None:
    for target in (("-o", "out.csv"), ("--output-dir", "out")):
        assert find("in/a", *LABELS, *target, "--model", "nope").code == 2
    assert not Path("out.csv").exists()
    assert not list(Path("out").iterdir())


def test_absolute_paths_and_cells(find: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "=x.wav", tone(440, 1.0), 16_000)
    assert find("=x.wav", *LABELS, "-f", "csv").rows()[0]["file"] == "'=x.wav"
    assert find("=x.wav", *LABELS, "-f", "csv", "--no-escape").rows()[0]["file"] == "=x.wav"
    ran = find("=x.wav", *LABELS, "-f", "raven", "--absolute-paths")
    (row,) = csv.DictReader(io.StringIO(ran.out), delimiter="\t")
    assert row["Begin Path"] == str(tmp_path / "=x.wav")


def test_what_breaks_off_is_written_in_part(find: Run, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Recognizer.detect_batch

    def broken(*arguments: Any, **options: Any) -> Iterator[ClipEvents]:
        for clip in usual(*arguments, **options):
            yield replace(clip, error=DamagedAudioError(f"{clip.clip}: breaks off at 3 s"))

    monkeypatch.setattr(Recognizer, "detect_batch", broken)
    for how in ((), ("--resume",)):
        ran = find("in/a", *LABELS, "-f", "csv", "-o", "out.csv", *how)
        assert ran.code == 1
        assert ran.err[0] == "zsaudio: in/a/x.wav: breaks off at 3 s"
        assert Path("out.csv").read_text().splitlines()[1:] == ["in/a/x.wav,1.000,2.500,440,0.9999"]
        assert Path("out.csv.failures.csv").read_text() == "file,error\nin/a/x.wav,breaks off at 3 s\n"


def test_nothing_to_listen_to(find: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = find("empty", *LABELS, "--output-dir", "out")
    assert (ran.code, ran.err) == (1, ["zsaudio: empty: a folder with no audio in it"])
    assert Path("out/failures.csv").read_text() == "file,error\nempty,a folder with no audio in it\n"
