"""``zsaudio detect`` as a user meets it."""

import csv
import io
import json
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Run, tone

from zsaudio.audio.start_time import time_in_name
from zsaudio.cli.detect import DetectFormat, detect
from zsaudio.detection.hysteresis import DetectionOptions
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
    assert (ran.code, ran.err) == (0, [])
    assert ran.out.splitlines()[1].split() == ["in/a/x.wav", "00:00:01.0", "00:00:02.5", "1.00", "440"]


def test_csv_of_many_and_one_that_fails(find: Run, clips: Path) -> None:
    ran = find("in", *LABELS, "--format", "csv")
    assert ran.code == 1
    assert [(row["file"], row["onset"], row["offset"], row["label"]) for row in ran.rows()] == [
        ("in/a/x.wav", "1.000", "2.500", "440"),
        ("in/b/x.wav", "0.000", "2.000", "1000"),
    ]
    assert ran.err[0].startswith("zsaudio: in/b/broken.wav: not a recording")
    assert ran.err[1] == "zsaudio: 1 of 3 inputs failed"
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
    failures = list(csv.DictReader((tmp_path / "out/failures.csv").open()))
    assert [row["file"] for row in failures] == bad
    assert failures[0]["error"] == "the file is empty (0 bytes)"
    for name in bad:
        soundfile.write(tmp_path / name, tone(440, 0.5), 16_000)
    assert find("in", *LABELS, "-f", "csv", "-o", "out/events.csv", "--resume", "-q").code == 0
    assert len(list(csv.DictReader((tmp_path / "out/events.csv").open()))) == 100
    assert not (tmp_path / "out/failures.csv").exists()


def test_an_output_folder_mirrors_the_inputs(find: Run, clips: Path, tmp_path: Path) -> None:
    ran = find("in", *LABELS, "-f", "textgrid", "--output-dir", "out")
    assert ran.code == 1
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert written == {"a/x.TextGrid", "b/x.TextGrid", "failures.csv", "journal.jsonl"}


def test_mirrored_names_never_collide() -> None:
    paths = ["r/a/x.wav", "r/a/x.flac", "r/b/x.wav", "q/x.wav"]
    targets = mirrored(paths, ["r"], ".csv")
    assert [path.as_posix() for path in targets.values()] == [
        "r/a/x.wav.csv",
        "r/a/x.flac.csv",
        "r/b/x.csv",
        "q/x.csv",
    ]
    assert mirrored(["r/x.wav"], [], ".csv") == {"r/x.wav": Path("x.csv")}


def test_resume_says_what_was_done(find: Run, clips: Path) -> None:
    (clips / "b/broken.wav").unlink()
    assert find("in/a", *LABELS, "-f", "csv", "-o", "out.csv").code == 0
    ran = find("in", *LABELS, "-f", "csv", "-o", "out.csv", "--resume")
    assert (ran.code, ran.err) == (0, ["zsaudio: 1 of 2 recordings were done before"])
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


def test_help_tells_the_defaults(find: Run) -> None:
    text = " ".join(find("--help").out.replace("│", " ").split())
    options = DetectionOptions()
    assert f"unless the label has its own. [default: ({options.threshold:g})]" in text
    assert f"no further apart. [default: ({options.merge_gap_s:g})]" in text
    assert f"Drop events that are shorter. [default: ({options.min_duration_s:g})]" in text
    assert f"of this length about it. [default: ({options.smooth_s:g})]" in text
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


def test_plots_without_matplotlib(find: Run, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = find("in/a", *LABELS, "--plot", "plots")
    assert (ran.code, ran.err) == (2, ["zsaudio: plots need matplotlib: pip install 'zsaudio[plot]'"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("in/a", "--resume"), "needs --output"),
        (("-", "--resume", "-o", "x"), "standard input"),
        (("in/a", "-o", "x", "--output-dir", "y"), "not both"),
        (("in", "-f", "audacity"), "audacity holds one recording"),
        (("in/a/x.wav", "-o", "in/a/x.wav"), "is one of the inputs"),
        (("in", "--start-time", "2026-01-31"), "one recording only"),
        (("in/a", "--start-time", "yesterday"), "give a time such as"),
        (("in/a", "--hop", "1", "--overlap", "1"), "give one of them"),
        (("in/a", "--threshold", "1.5"), "threshold must be"),
        (("in/a", "--window", "99"), "too long"),
        (("-", "--plot", "p"), "read only once"),
        (("in/a", "-o", "in"), "cannot be written"),
    ],
)
def test_wrong_usage_is_one_line(find: Run, clips: Path, arguments: tuple[str, ...], message: str) -> None:
    ran = find(*arguments, *LABELS)
    assert ran.code == 2
    assert len(ran.err) == 1
    assert message in ran.err[0]


def test_nothing_to_listen_to(find: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = find("empty", *LABELS, "--output-dir", "out")
    assert (ran.code, ran.err) == (1, ["zsaudio: empty: a folder with no audio in it"])
    assert Path("out/failures.csv").read_text() == "file,error\nempty,a folder with no audio in it\n"
