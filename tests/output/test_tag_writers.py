import csv
import io
import json

import pytest

from zsaudio.errors import AudioError, DamagedAudioError
from zsaudio.output.formats import Place
from zsaudio.output.outputs import StreamOutput
from zsaudio.output.tag_writers import TAG_FORMATS
from zsaudio.results import ClipTags, Tag

CLIPS = [
    ClipTags("a.wav", 2.5, (Tag('dog, "big"', 0.87654), Tag("rain", 0.1))),
    ClipTags("b.wav", 0.0, error=AudioError("b.wav: no such file")),
    ClipTags("höhle/c.wav", 1.0),
]


def written(form: str, clips: list[ClipTags] = CLIPS) -> str:
    file = io.StringIO()
    output = StreamOutput(file, TAG_FORMATS[form], Place())
    output.start()
    for clip in clips:
        if clip.error is None or clip.tags:
            output.write(clip.clip, clip)
        else:
            output.fail(clip)
    output.close()
    return file.getvalue()


def test_csv() -> None:
    assert list(csv.reader(io.StringIO(written("csv")))) == [
        ["file", "label", "score"],
        ["a.wav", 'dog, "big"', "0.8765"],
        ["a.wav", "rain", "0.1000"],
    ]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json(form: str) -> None:
    text = written(form)
    records = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
    assert records == [
        {
            "file": "a.wav",
            "duration_s": 2.5,
            "tags": [{"label": 'dog, "big"', "score": 0.8765}, {"label": "rain", "score": 0.1}],
        },
        {"file": "b.wav", "error": "b.wav: no such file"},
        {"file": "höhle/c.wav", "duration_s": 1.0, "tags": []},
    ]


def test_json_of_nothing() -> None:
    assert json.loads(written("json", [])) == []
    assert written("jsonl", []) == ""


def test_a_clip_that_breaks_off_has_tags_and_an_error() -> None:
    clip = ClipTags("a.wav", 2.5, (Tag("dog", 0.5),), DamagedAudioError("a.wav: breaks off"))
    record = {"file": "a.wav", "duration_s": 2.5, "tags": [{"label": "dog", "score": 0.5}]}
    assert json.loads(written("json", [clip])) == [record | {"error": "a.wav: breaks off"}]
    assert written("csv", [clip]).splitlines()[1] == "a.wav,dog,0.5000"


@pytest.mark.parametrize("name", ["=1+1.wav", "+a.wav", "-a.wav", "@SUM(A1).wav", " =a.wav", "\t-a.wav"])
def test_cells_are_no_formulas(name: str) -> None:
    clip = ClipTags(name, 1.0, (Tag("dog", 0.5),))
    form = TAG_FORMATS["csv"]
    (row,) = csv.reader(io.StringIO(form.write(clip, Place())))
    assert row == ["'" + name, "dog", "0.5000"]
    (row,) = csv.reader(io.StringIO(form.write(clip, Place(escape=False))))
    assert row[0] == name


def test_line_breaks_in_names_are_quoted() -> None:
    text = TAG_FORMATS["csv"].write(ClipTags("a\rb\nc", 1.0, (Tag("dog", 0.5),)), Place())
    assert text == '"a\rb\nc",dog,0.5000\n'
    assert next(csv.reader(io.StringIO(text, newline="")))[0] == "a\rb\nc"


def test_table() -> None:
    long = ClipTags("x" * 50 + ".wav", 3661.0, (Tag("rain", 0.5),))
    lines = written("table", [*CLIPS, long]).splitlines()
    column = lines[0].index("score")
    assert lines[0].split() == ["clip", "length", "score", "label"]
    assert lines[1].split() == ["a.wav", "2.5", "s", "0.88", "█" * 11, "dog,", '"big"']
    assert lines[2].split() == ["0.10", "█" * 1, "rain"]
    assert lines[3].split() == ["höhle/c.wav", "1.0", "s", "-"]
    assert lines[4] == "x" * 50 + ".wav"
    assert lines[5].split() == ["3661.0", "s", "0.50", "█" * 6, "rain"]
    assert [line[column : column + 4] for line in (lines[1], lines[2], lines[5])] == ["0.88", "0.10", "0.50"]
    assert {
        line.index(word) for line, word in ((lines[0], "label"), (lines[1], "dog"), (lines[2], "rain"))
    } == {lines[0].index("label")}
