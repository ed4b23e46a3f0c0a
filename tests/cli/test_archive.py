"""``zsaudio index``, ``search`` and ``count`` through the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Run, tone
from tone_encoder import ToneEncoder

from zsaudio.archive import archive
from zsaudio.models import registry

pytest.importorskip("pyarrow")


@pytest.fixture(autouse=True)
def tones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write_wav: Callable[..., Path]) -> None:
    """Three recordings, and ``ToneEncoder`` in the place of nano."""

    def load(model: str, **options: str) -> object:
        return ToneEncoder() if model == "nano" else registry.load_model(model, **options)

    monkeypatch.setattr(archive, "load_model", load)
    for number, (name, frequency) in enumerate(
        [("a/x_20260131_220000", 400), ("b/x_20260201_033000", 400), ("c", 1600)]
    ):
        noise = 0.003 * np.random.default_rng(number).normal(size=8 * 16_000).astype(np.float32)
        noise[32_000:56_000] += tone(frequency, 1.5)
        write_wav(f"in/{name}.wav", np.stack([noise, 0.5 * noise], axis=1))


def test_index_search_and_count(zs: Run) -> None:
    ran = zs("index", "in", "--archive", "A")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err[0].startswith("zsaudio: 3 added (0:00:24 of sound); 3 recordings")
    assert zs("index", "in", "-a", "A").err[0].startswith("zsaudio: 3 unchanged; 3 recordings")
    rows = zs("search", "A", "400 Hz", "1600 Hz", "--min-score", 0.5, "--smooth", 0, "-f", "csv").rows()
    assert sorted((row["label"], row["file"], row["onset"], row["offset"]) for row in rows) == [
        ("1600 Hz", "in/c.wav", "2.000", "3.500"),
        ("400 Hz", "in/a/x_20260131_220000.wav", "2.000", "3.500"),
        ("400 Hz", "in/b/x_20260201_033000.wav", "2.000", "3.500"),
    ]
    night = zs(
        "search", "A", "400 Hz", "--hours", "22-23", "--min-score", 0.5, "--smooth", 0, "-f", "csv"
    ).rows()
    assert [row["onset_time"] for row in night] == ["2026-01-31T22:00:02.000"]
    assert (
        zs("search", "A", "400 Hz", "--from", "2026-02-01", "-k", 5, "-f", "csv")
        .rows()[0]["file"]
        .startswith("in/b")
    )
    assert (
        zs("search", "A", "400 Hz", "--to", "2026-01-31", "-k", 1, "-f", "csv")
        .rows()[0]["file"]
        .startswith("in/a")
    )
    assert len(zs("search", "A", "400 Hz", "--path", "a/*", "--min-score", 0.5, "-f", "csv").rows()) == 1
    table = zs("count", "A", "-l", "400 Hz, 1600 Hz")
    assert [line.split() for line in table.out.splitlines()] == [
        ["label", "03", "22", "unknown", "total"],
        ["400", "Hz", "1", "1", "-", "2"],
        ["1600", "Hz", "-", "-", "1", "1"],
    ]
    assert zs("count", "A", "-l", "400 Hz", "--by", "day", "-f", "csv").rows()[0]["group"] == "2026-01-31"
    record = json.loads(zs("count", "A", "-l", "1600 Hz", "--by", "recording", "-f", "jsonl").out)
    assert record["events"] == 1 and record["seconds"] > 1


@pytest.mark.parametrize("form", ["table", "csv", "tsv", "jsonl", "raven", "rttm"])
def test_formats_that_hold_several_recordings(zs: Run, form: str) -> None:
    zs("index", "in", "-a", "A")
    ran = zs("search", "A", "400 Hz", "--min-score", 0.5, "-f", form)
    assert ran.code == 0 and ran.out.count("400") == 2
    assert zs("search", "A", "400 Hz", "--min-score", 0.5, "-f", form, "-o", "out").out == ""
    assert Path("out").read_text() == ran.out


@pytest.mark.parametrize("form", ["audacity", "vtt", "srt", "textgrid"])
def test_formats_that_hold_one_recording(zs: Run, form: str) -> None:
    zs("index", "in", "-a", "A")
    ran = zs("search", "A", "400 Hz", "--min-score", 0.5, "-f", form)
    assert ran.code == 2 and "use --output-dir" in ran.err[-1]
    assert zs("search", "A", "400 Hz", "--min-score", 0.5, "-f", form, "-O", "out").code == 0
    assert len([path for path in Path("out").rglob("*") if path.is_file()]) == 2


def test_files_are_not_replaced_unless_asked(zs: Run) -> None:
    zs("index", "in", "-a", "A")
    Path("O").mkdir()
    for how in (("-o", "out"), ("--review", "out.csv"), ("-O", "O", "-f", "srt")):
        command = "search", "A", "400 Hz", "--min-score", 0.5, *how
        if how[0] == "--review":
            command = "search", "A", "400 Hz", *how
        assert zs(*command).code == 0
        kept = {path: path.read_bytes() for path in [*Path().glob("out*"), *Path("O").rglob("*.srt")]}
        again = zs(*command)
        assert again.code == 2 and again.err[-1].endswith("exists; --overwrite replaces it"), again.err
        assert all(path.read_bytes() == content for path, content in kept.items())
        assert zs(*command, "--overwrite").code == 0
    Path("notes").write_text("mine")
    for command in (
        ("count", "A", "-l", "400 Hz"),
        ("describe", "in"),
        ("calibrate", "nano", "in", "-l", "rain"),
    ):
        assert zs(*command, "-o", "notes").err == ["zsaudio: notes: exists; --overwrite replaces it"]
    assert Path("notes").read_text() == "mine"


def test_by_sound(zs: Run) -> None:
    zs("index", "in", "-a", "A")
    ran = zs("search", "A", "--like", "in/c.wav@2.1-3.4", "-k", 1, "-f", "csv")
    assert ran.rows()[0]["file"] == "in/c.wav" and float(ran.rows()[0]["score"]) > 0.9
    both = zs(
        "search", "A", "400 Hz", "1600 Hz", "--unlike", "in/c.wav@2.1-3.4", "--min-score", 0.5, "-f", "csv"
    )
    assert {row["label"] for row in both.rows()} == {"400 Hz"}
    assert zs("search", "A", "--like", "in/c.wav@3-2").err == [
        "zsaudio: in/c.wav@3-2: must end after it begins"
    ]
    assert "nothing at 99" in zs("search", "A", "--like", "in/c.wav@99-100").err[0]


def test_cuts(zs: Run) -> None:
    zs("index", "in", "-a", "A")
    ran = zs("search", "A", "400 Hz", "--min-score", 0.5, "--clips", "cuts", "--margin", 0.25)
    assert ran.code == 0
    cuts = sorted(Path("cuts").rglob("*.flac"))
    assert [path.parent.name for path in cuts] == ["a", "b"]
    samples, rate = soundfile.read(cuts[0])
    assert rate == 16_000 and samples.shape[1] == 2
    begin, end = map(float, cuts[0].stem.split("_")[-2].split("-"))
    assert len(samples) == round((end - begin + 0.5) * rate)
    Path("in/a").rename("moved")
    gone = zs("search", "A", "400 Hz", "--min-score", 0.5, "--clips", "cuts")
    assert gone.code == 1 and "no such file" in gone.err[0] and "--root" in gone.err[0]


def test_a_picture(zs: Run) -> None:
    pytest.importorskip("matplotlib")
    zs("index", "in", "-a", "A")
    assert zs("search", "A", "400 Hz", "--min-score", 0.5, "--plot", "when.png").code == 0
    assert Path("when.png").stat().st_size > 5000
    assert "has a time of day" in zs("search", "A", "1600 Hz", "--min-score", 0.5, "--plot", "x.png").err[-1]


def test_wrong_use_is_one_line(zs: Run) -> None:
    assert "no archive; make one" in zs("search", "A", "400 Hz").err[0]
    assert "no archive; name the recordings" in zs("index", "-a", "A", "--prune").err[0]
    assert "nothing to do" in zs("index", "-a", "A").err[0]
    zs("index", "in", "-a", "A")
    for arguments, text in (
        (("search", "A"), "nothing is asked"),
        (("search", "A", "x", "--hours", "22"), "--hours 22: give two hours"),
        (("search", "A", "x", "--from", "May"), "--from May: give a day or a time"),
        (("search", "A", "x", "-o", "y", "-O", "z"), "not both"),
        (("index", "in", "-a", "A", "--hop", 9), "has a vector every 0.25 s"),
        (("index", "-", "-a", "A"), "standard input cannot be indexed"),
        (("index", "in", "-a", "in"), "is not empty and no archive"),
        (("count", "A", "--by", "hour"), "no labels"),
    ):
        ran = zs(*arguments)
        assert ran.code == 2 and len(ran.err) == 1 and text in ran.err[0], ran.err
    none = zs("search", "A", "3200 Hz", "--min-score", 0.9)
    assert (none.code, none.err) == (0, ["zsaudio: A: no match of 0.9 or more"])
    shard = Path("A/shards/00000001.arrow")
    shard.write_bytes(shard.read_bytes()[:1000])
    damaged = zs("search", "A", "400 Hz")
    assert damaged.code == 1 and "damaged" in damaged.err[-1] and "repairs" in damaged.err[-1]
    again = zs("index", "in", "-a", "A")
    assert again.code == 0 and "set aside" in again.err[0] and "3 added" in again.err[1]


def test_bad_recordings_and_moved_ones(zs: Run) -> None:
    Path("in/bad.wav").write_bytes(b"nothing")
    ran = zs("index", "in", "-a", "A")
    assert ran.code == 1 and "bad.wav" in ran.err[0] and "3 added, 1 failed" in ran.err[1]
    Path("in/bad.wav").unlink()
    Path("in").rename("there")
    found = zs("search", "A", "400 Hz", "--root", "there", "--min-score", 0.5, "-f", "csv").rows()
    assert all(Path(row["file"]).exists() for row in found)
    assert "3 unchanged" in zs("index", "there", "-a", "A", "--root", "there").err[0]
    Path("there/c.wav").unlink()
    assert "1 removed" in zs("index", "-a", "A", "--prune").err[0]


@pytest.mark.parametrize("name", ["review.csv", "review.txt", "review.json", "review"])
def test_review_and_adapt(zs: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    load = registry.load_model
    monkeypatch.setattr(
        registry, "load_model", lambda m, **how: ToneEncoder() if m == "nano" else load(m, **how)
    )
    monkeypatch.setattr(archive, "load_model", registry.load_model)
    zs("index", "in", "-a", "A")
    before = zs("search", "A", "450 Hz", "-k", 1, "-f", "csv").rows()[0]
    ran = zs("search", "A", "450 Hz", "--review", name, "--review-size", 4, "--clips", "cuts")
    assert ran.code == 0 and "4 candidates; answer yes or no" in ran.err[0]
    assert len(list(Path("cuts").rglob("*.flac"))) == 4
    assert "nothing is answered" in zs("adapt", "A", name, "-o", "M").err[0]
    files = [Path(name)] if Path(name).is_file() else list(Path(name).rglob("*.txt"))
    for path in files:
        text = path.read_text()
        if name.endswith(".json"):
            choice = [{"result": [{"type": "choices", "value": {"choices": ["no"]}}]}]
            text = json.dumps([{**task, "annotations": choice} for task in json.loads(text)])
        elif "?" in text:
            text = text.replace("?", "No")
        else:
            first, *lines = text.splitlines()
            text = "\n".join([first, *(f"{line}no" for line in lines)])
        path.write_text(text)
    ran = zs("adapt", "A", name, "-o", "M")
    assert ran.code == 0 and "M: nano with 450 Hz (0 yes, 4 no)" in ran.out
    after = zs("search", "A", "450 Hz", "-k", 1, "-f", "csv", "--model", "M").rows()
    assert not after or float(after[0]["score"]) < float(before["score"])
    assert "asks about words" in zs("search", "A", "--like", "in/c.wav", "--review", "x.csv").err[0]
