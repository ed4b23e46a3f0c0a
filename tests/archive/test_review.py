"""Corrections: written, answered, read, and learned from."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import tone
from tone_encoder import ToneEncoder

from zsaudio.archive.archive import Archive
from zsaudio.archive.review import Candidate, read_candidates, write_candidates
from zsaudio.errors import DataError, OptionError
from zsaudio.models.learned.adapted import Adapted
from zsaudio.recognizer import Recognizer

pytest.importorskip("pyarrow")
CANDIDATES = [
    Candidate("in/a.wav", 1.25, 2.5, "a dog, far", 0.9, "best", True, 16_000),
    Candidate("in/b/x.wav", 0.0, 1.0, "a dog, far", 0.5, "unsure", False, 16_000),
    Candidate("in/a.wav", 3.0, 4.0, "rain", 0.4, "best", None, 16_000),
]
RECORDINGS = {"a.wav": "in/a.wav", "b/x.wav": "in/b/x.wav", "c/x.wav": "in/c/x.wav"}


def essence(candidates: list[Candidate]) -> list[tuple[object, ...]]:
    return sorted((c.clip, c.onset, c.offset, c.label, c.answer) for c in candidates)


@pytest.mark.parametrize("name", ["review.csv", "review.txt", "review.json", "review"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    write_candidates(CANDIDATES, tmp_path / name)
    assert essence(read_candidates(tmp_path / name, RECORDINGS)) == essence(CANDIDATES)
    open_ = [replace(each, answer=None) for each in CANDIDATES]
    write_candidates(open_, tmp_path / name)
    assert essence(read_candidates(tmp_path / name, RECORDINGS)) == essence(open_)


def test_each_program_finds_its_own_form(tmp_path: Path) -> None:
    write_candidates([replace(each, answer=None) for each in CANDIDATES], tmp_path / "r")
    track = (tmp_path / "r/a.txt").read_text()
    assert track == "1.250000\t2.500000\ta dog, far ?\n3.000000\t4.000000\train ?\n"
    write_candidates(CANDIDATES, tmp_path / "r.txt")
    header, first, *_ = (tmp_path / "r.txt").read_text().splitlines()
    assert header.startswith("Selection\tView\tChannel\tBegin Time (s)") and header.endswith("\tAnswer")
    assert first.split("\t")[-1] == "yes"
    write_candidates(CANDIDATES, tmp_path / "r.json")
    task = json.loads((tmp_path / "r.json").read_text())[0]
    assert task["predictions"][0]["result"][0]["value"]["start"] == 1.25
    assert "<Choice" in (tmp_path / "r.xml").read_text()


def test_regions_moved_in_label_studio_count(tmp_path: Path) -> None:
    write_candidates(CANDIDATES[:1], tmp_path / "r.json")
    tasks = json.loads((tmp_path / "r.json").read_text())
    region = {"type": "labels", "value": {"start": 1.5, "end": 2.0, "labels": ["candidate"]}}
    tasks[0]["annotations"][0]["result"].append(region)
    (tmp_path / "r.json").write_text(json.dumps(tasks))
    (found,) = read_candidates(tmp_path / "r.json", {})
    assert (found.onset, found.offset, found.answer) == (1.5, 2.0, True)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.csv", "file,onset,offset,label,answer\na,1,2,x,maybe\n", "row 2: an answer must be yes or no"),
        ("r.csv", "file,onset,offset,label,answer\na,one,2,x,yes\n", "row 2: 'one' is not a time"),
        ("r.csv", "file,onset\na,1\n", "has no column offset, label, answer"),
        ("r.json", "{", "is not a JSON file of Label Studio"),
        ("r.json", "{}", "must hold a list of tasks"),
        ("r.json", "[{}]", "task 1: is none of those"),
        ("r/x.txt", "0\t1\tdog yes\n", "2 recordings of the archive have its name"),
        ("r/z.txt", "0\t1\tdog yes\n", "no recordings of the archive have its name"),
        ("r/a.txt", "0\t1\tdog\n", "line 1: must be start, end"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_candidates(path.parent if path.suffix == ".txt" else path, RECORDINGS)
    with pytest.raises(OptionError, match=r"ends in \.csv"):
        write_candidates([], tmp_path / "x.doc")


@pytest.fixture
def archive(tmp_path: Path, write_wav: Callable[..., Path]) -> Archive:
    """Recordings of 400 and 700 Hz in noise."""
    files = []
    for number, frequency in enumerate([400, 400, 400, 700, 700, 700]):
        noise = 0.003 * np.random.default_rng(number).normal(size=6 * 16_000).astype(np.float32)
        noise[32_000:64_000] += tone(frequency, 2.0)
        files.append(write_wav(f"in/{number}_{frequency}.wav", noise))
    archive = Archive.create(tmp_path / "A", model=ToneEncoder(), root=tmp_path / "in")
    list(archive.add(files))
    return archive


def heard(archive: Archive, label: str) -> list[str]:
    found = archive.search([label], min_score=0.5)
    return sorted({Path(match.clip).stem[2:] for match in found})


def test_half_are_best_half_unsure(archive: Archive) -> None:
    found = archive.candidates(["400 Hz"], 4)
    assert [each.why for each in found] == ["best", "best", "unsure", "unsure"]
    assert min(each.score for each in found[:2]) >= max(each.score for each in found[2:])
    with pytest.raises(OptionError, match="at least 2"):
        archive.candidates(["400 Hz"], 1)


def test_corrections_are_learned_and_searched_with(archive: Archive, tmp_path: Path) -> None:
    assert heard(archive, "530 Hz") == ["400", "700"]
    candidates = archive.candidates(["530 Hz"], 4)
    answered = [replace(each, answer="_700" in each.clip) for each in candidates]
    assert {each.answer for each in answered} == {True, False}
    write_candidates(answered, tmp_path / "review.csv")
    model = archive.adapt(tmp_path / "review.csv")
    assert model.counter_keys is not None and len(model.keys) + len(model.counter_keys) == 4
    location = tmp_path / "A"
    after = Archive.open(location, model=model)
    assert heard(after, "530 Hz") == ["700"]
    # the same from a folder, and in detect
    model.source = "tones"
    model.save(tmp_path / "M")
    again = Adapted.load(tmp_path / "M", lambda _: ToneEncoder())
    assert after.search(["530 Hz"], k=6) == Archive.open(location, model=again).search(["530 Hz"], k=6)
    detected = Recognizer(["530 Hz"], again).detect(tone(400, 2.0), 16_000)
    assert not detected and Recognizer(["530 Hz"], again).detect(tone(700, 2.0), 16_000)
    # what was learned is kept when more is learned
    more = after.adapt([replace(answered[0], label="another")])
    assert set(more.labels) | set(more.counter_labels) == {"530 Hz", "another"}
    assert heard(Archive.open(location, model=more), "530 Hz") == ["700"]


def test_nothing_to_learn_from(archive: Archive) -> None:
    (first, *_) = archive.candidates(["400 Hz"], 2)
    for candidate, message in (
        (first, "nothing is answered"),
        (replace(first, answer=True, clip="gone.wav"), "gone.wav: is not in the archive"),
        (replace(first, answer=True, onset=90, offset=91), "has nothing from 90 to 91 s"),
    ):
        with pytest.raises(DataError, match=message):
            archive.adapt([candidate])
