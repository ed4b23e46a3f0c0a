import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zsaudio.errors import LabelError
from zsaudio.labels import Label, LabelSet, builtin_label_sets


def test_parse_and_tidy() -> None:
    assert LabelSet.parse(" dog  barking,rain ", "siren").names == ("dog barking", "rain", "siren")


def test_prompts_come_from_the_label_then_the_set_then_the_model() -> None:
    labels = LabelSet([Label("dog", prompts=("a dog barks", "woof")), "rain"])
    assert labels.prompts(["the sound of {}"]) == [["a dog barks", "woof"], ["the sound of rain"]]
    labels = LabelSet(["rain"], templates=["{}", "I hear {}, {}"])
    assert labels.prompts(["unused {}"]) == [["rain", "I hear rain, rain"]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "no labels"),
        ([Label("hum", background=True)], "no labels"),
        (["dog", " "], "label 2 is blank"),
        (["dog", "cat", "Dog "], r"label 'Dog' is given twice \(labels 1 and 3\)"),
        ([Label("dog", threshold=1.5)], "threshold 1.5 of 'dog' is outside 0 to 1"),
        ([Label("dog", prompts=("",))], "a prompt of 'dog' is blank"),
        (["dog", "keyword: "], "label 2 is an empty keyword"),
        (["keyword: Hello", "KEYWORD:hello"], "label 'keyword: hello' is given twice"),
        (["dog", Label("keyword: hey", background=True)], "'keyword: hey' cannot be background"),
        ([3], "a label must be text, not 3"),
        ("dog", "labels must be a list"),
    ],
)
def test_wrong_labels(labels: list[str], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        LabelSet(labels)


def test_a_label_with_a_comma_stands_in_quotes() -> None:
    assert LabelSet.parse('"rain, heavy", siren', ' "a ""b""" ,5" gun').names == (
        "rain, heavy",
        "siren",
        'a "b"',
        '5" gun',
    )
    with pytest.raises(LabelError, match="a double quote in"):
        LabelSet.parse('"rain, heavy')


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20), min_size=1))
@example(["@home"])
@example(['"', ","])
def test_every_name_can_be_typed(names: list[str]) -> None:
    try:
        expected = LabelSet(names).names
    except LabelError:
        return
    typed = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    if not any(name.strip().startswith("@") for name in names):
        assert LabelSet.parse(typed).names == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no labels"), (" , ", "no labels"), ("a,,b", "label 2 is blank"), ("@nope", "there are @animals")],
)
def test_wrong_texts(text: str, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        LabelSet.parse(text)


def test_template_without_braces() -> None:
    with pytest.raises(LabelError, match=r"template 'a sound' has no \{\}"):
        LabelSet(["dog"], templates=["a sound"])


def test_text_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("\ufeff# mine\ndog, barking\n\n  rain  \n", encoding="utf-8")
    assert LabelSet.from_file(path).names == ("dog, barking", "rain")


def test_yaml_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text(
        """
description: mine
templates: ["the sound of {}"]
labels:
  - rain
  - name: siren
    prompts: [an ambulance siren, a police siren]
    threshold: 0.6
groups:
  animals: [dog, {name: cat, prompts: a cat meows}]
background: [wind]
"""
    )
    labels = LabelSet.from_file(path)
    assert list(labels) == [
        Label("rain"),
        Label("siren", ("an ambulance siren", "a police siren"), threshold=0.6),
        Label("dog", group="animals"),
        Label("cat", ("a cat meows",), group="animals"),
        Label("wind", background=True),
    ]
    assert labels.description == "mine"
    assert labels.prompts()[0] == ["the sound of rain"]


def test_a_yaml_file_takes_built_in_sets(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text(
        'labels: [doorbell]\nkeywords: ["@speech-commands"]\nbackground: ["@music-instruments", hum]'
    )
    labels = LabelSet.from_file(path)
    instruments = LabelSet.builtin("music-instruments").names
    assert labels.names == ("doorbell", *LabelSet.builtin("speech-commands").names, *instruments, "hum")
    assert tuple(label.name for label in labels if label.background) == (*instruments, "hum")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels: [dog", "is not valid YAML in line"),
        ("labels: [@home]", "is not valid YAML in line 1; put quotes around what begins with @"),
        ('labels: ["@house"]', "no built-in label set @house; there are @animals"),
        ("just text", "must hold a list of labels"),
        ("lables: [dog]", "unknown key 'lables' in the file; known are description, labels"),
        ("labels: [{name: dog, prompt: x}]", "unknown key 'prompt' in label 'dog'"),
        ("labels: [{prompts: [x]}]", "a label without 'name'"),
        ("labels: dog", "'labels' must be a list"),
        ("labels: [yes]", "a label must be text, not yes; put quotes around it"),
        ("labels: [{name: dog, threshold: high}]", "threshold of 'dog' must be a number"),
        ("labels: [dog]\ntemplates: [plain]", "template 'plain' has no"),
        ("labels: []", "no labels"),
        ("groups: [dog]", "'groups' must map"),
    ],
)
def test_wrong_yaml_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(LabelError, match=rf"wrong\.yaml: .*{message}"):
        LabelSet.from_file(path)


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "\ufeffLabel,threshold,Prompts,group,background\r\n"
        '"rain, heavy",0.6,it rains | a downpour,weather,\r\n'
        "siren,,,,no\r\n# mine\r\n\r\nwind,,,,yes\r\n",
        encoding="utf-8",
    )
    assert list(LabelSet.from_file(path)) == [
        Label("rain, heavy", ("it rains", "a downpour"), 0.6, "weather"),
        Label("siren"),
        Label("wind", background=True),
    ]
    path.write_text("name;threshold\nsiren;0.5\n")
    assert list(LabelSet.from_file(path)) == [Label("siren", threshold=0.5)]
    path.write_text('siren\n"rain, heavy"\n')
    assert LabelSet.from_file(path).names == ("siren", "rain, heavy")
    path.with_suffix(".tsv").write_text("label\tthreshold\nrain, heavy\t0.5\n@speech-commands\n")
    labels = LabelSet.from_file(path.with_suffix(".tsv"))
    assert (labels[0], len(labels)) == (Label("rain, heavy", threshold=0.5), 36)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no labels"),
        ("label,thresh\ndog,1", "unknown column 'thresh'; known are label, name, prompts"),
        ("label,label\ndog,1", "the column 'label' is given twice"),
        ("dog,0.5\ncat,0.6", "the first line must name the columns: label"),
        ("siren\nrain, heavy", "'rain' has 2 cells, the first line one; put quotes"),
        ("label\nrain, heavy", "'rain' has 2 cells under 1 column names"),
        ("label,threshold\ndog,loud", "threshold of 'dog' must be a number, not 'loud'"),
        ("label,threshold\ndog,nan", "threshold nan of 'dog' is outside 0 to 1"),
        ("label,background\ndog,maybe", "background of 'dog' must be yes or no, not 'maybe'"),
    ],
)
def test_wrong_tables(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(LabelError, match=rf"wrong\.csv: .*{message}"):
        LabelSet.from_file(path)


def test_a_tab_does_not_become_part_of_a_label(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("\tdog\t\nsiren\t0.5\n")
    with pytest.raises(LabelError, match="line 2 holds a tab"):
        LabelSet.from_file(path)
    path.write_text("\tdog\t\n")
    assert LabelSet.from_file(path).names == ("dog",)


HOSTILE = {
    "aliases.yaml": "a: &a [x, x]\n"
    + "".join(f"{c}: &{c} [*{b}, *{b}]\n" for b, c in zip("abcdefgh", "bcdefghi", strict=True)),
    "alias.yaml": "labels: [&a dog, *a]",
    "deep.yaml": "[" * 100_000,
    "deep_block.yaml": "".join(" " * n + "a:\n" for n in range(2000)),
    "deep_dicts.yaml": "labels: " + "{name: " * 500 + "}" * 500,
    "tags.yaml": "labels: [!!python/object/apply:os.system ['touch owned']]",
    "set.yaml": "labels: !!set {a, b}",
    "date.yaml": "labels: [2026-13-45]",
    "time.yaml": "labels: [2026-01-01 99:99:99]",
    "number.yaml": f"labels: [{'9' * 100_000}]",
    "sexagesimal.yaml": f"labels: [{'1:' * 10_000}1]",
    "threshold.yaml": f"labels: [{{name: dog, threshold: {'9' * 10_000}}}]",
    "nan.yaml": "labels: [{name: dog, threshold: .nan}]",
    "surrogate.yaml": '["\\ud800"]',
    "control.yaml": '["\\x1b[31mdog"]',
    "zero.yaml": '["\\0"]',
    "long.yaml": f"[{'a' * 1_000_000}]",
    "prompts.yaml": "labels: [{name: dog, prompts: 3}]",
    "prompts_in_prompts.yaml": "labels: [{name: dog, prompts: [[a]]}]",
    "group.yaml": "labels: [{name: dog, group: [a]}]",
    "name.yaml": "labels: [{name: {a: b}}]",
    "null.yaml": "labels: [~]",
    "keys.yaml": "{[a]: b}",
    "null_key.yaml": "{~: [dog]}",
    "twice.yaml": "labels: [dog]\nlabels: [cat]",
    "two.yaml": "[dog]\n---\n[cat]",
    "empty.yaml": "",
    "description.yaml": "labels: [dog]\ndescription: {a: b}",
    "templates.yaml": "labels: [dog]\ntemplates: [" + "'{}'," * 1000 + "]",
    "built_in.yaml": "labels: [" + "'@home'," * 100_000 + "]",
    "built_in_groups.yaml": "groups:\n" + "".join(f"  g{n}: ['@animals']\n" for n in range(50_000)),
    "merge.yaml": "labels: [{<<: {name: dog}}]",
    "values.yaml": "[" + "a," * 2_000_000 + "]",
    "lines.txt": "a\n" * 4_000_000,
    "large.txt": "a" * 17_000_000,
    "cells.csv": "label" + "," * 600_000 + "x",
    "field.csv": "label\n" + "a" * 200_000,
    "control.txt": "dog\x1b[2J",
    "zero.csv": "label\nd\0og",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_line_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(HOSTILE[name])
    started = time.process_time()
    with pytest.raises(LabelError) as caught:
        LabelSet.from_file(tmp_path / name)
    assert time.process_time() - started < 2.0  # a second, twice over for a busy machine
    message = str(caught.value).removeprefix(str(tmp_path))
    assert message.startswith(f"/{name}: ")
    assert len(message) < 300
    assert message.isprintable()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak memory")
def test_no_hostile_file_takes_much_memory(tmp_path: Path) -> None:
    for name, text in HOSTILE.items():
        (tmp_path / name).write_text(text)
    code = """
import re, sys
from pathlib import Path
from zsaudio.labels import LabelError, LabelSet
for path in Path(sys.argv[1]).iterdir():
    try:
        LabelSet.from_file(path)
    except LabelError:
        pass
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) < 200


@given(st.binary(max_size=200), st.sampled_from([".yaml", ".csv", ".tsv", ".txt"]))
def test_any_bytes_are_labels_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    try:
        labels = LabelSet.from_file(path)
    except LabelError as error:
        assert str(error).isprintable()
    else:
        assert len(set(labels.names)) == len(labels) > 0
        assert all(name.encode() and name == " ".join(name.split()) for name in labels.names)


_YAML = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.dates() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["labels", "groups", "name", "prompts", "threshold", "background", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(_YAML)
def test_any_yaml_is_labels_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: object) -> None:
    import yaml

    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    try:
        assert len(LabelSet.from_file(path))
    except LabelError as error:
        assert str(error).isprintable()


def test_a_hundred_thousand_labels_load_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    names = [f"sound number {number}" for number in range(100_000)]
    path.write_text("templates: ['the sound of {}']\nlabels:\n" + "".join(f"- {name}\n" for name in names))
    path.with_suffix(".txt").write_text("\n".join(names))
    started = time.process_time()
    for each in (path, path.with_suffix(".txt")):
        assert LabelSet.from_file(each).names == tuple(names)
    joined = LabelSet.join([LabelSet.from_file(path), LabelSet(["rain"])])
    assert joined.names[-1] == "rain"
    assert time.process_time() - started < 10


@pytest.mark.parametrize("name", ["a\ud800", "a\x1b[2J", "a\0", "a" * 1001])
def test_names_that_cannot_be_stored_or_shown(name: str) -> None:
    for label in (name, Label("dog", (name,)), Label("dog", group=name)):
        with pytest.raises(LabelError) as caught:
            LabelSet([label])
        assert str(caught.value).isprintable()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"none.txt: cannot be read \(No such file"):
        LabelSet.from_file(tmp_path / "none.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00dog")
    with pytest.raises(LabelError, match=r"binary.txt: is not a text file in UTF-8"):
        LabelSet.from_file(tmp_path / "binary.txt")


def test_builtin_sets() -> None:
    sizes = {name: len(LabelSet.builtin(name)) for name in builtin_label_sets()}
    assert {"esc50": 50, "urbansound8k": 10, "speech-commands": 35}.items() <= sizes.items()
    assert {"home", "city", "nature", "animals", "music-instruments"} <= sizes.keys()
    assert all(LabelSet.builtin(name).description for name in sizes)


def test_joined_sets_keep_their_templates() -> None:
    labels = LabelSet.parse("@music-instruments, rain")
    assert labels.prompts(["{}!"])[0] == ["the sound of a acoustic guitar"]
    assert labels.prompts(["{}!"])[-1] == ["rain!"]


def test_keywords() -> None:
    labels = LabelSet(
        ["dog", "Keyword:  hey   computer", "keyword: zsaudio /z iː ɛ/ /z aʊ/", "keyword: /h aɪ/"]
    )
    assert labels.names == ("dog", "keyword: hey computer", "keyword: zsaudio", "keyword: /h aɪ/")
    assert [label.is_keyword for label in labels] == [False, True, True, True]
    assert [label.spoken for label in labels] == [
        ("dog",),
        ("hey computer",),
        ("zsaudio /z iː ɛ/ /z aʊ/",),
        ("/h aɪ/",),
    ]
    assert LabelSet([Label("keyword: a", prompts=("b", "c"))])[0].spoken == ("b", "c")


def test_keywords_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text(
        "templates: ['the sound of {}']\nlabels: [dog]\n"
        "keywords: [hey computer, {name: stop it, threshold: 0.7}]\n"
    )
    labels = LabelSet.from_file(path)
    assert labels.names == ("dog", "keyword: hey computer", "keyword: stop it")
    assert labels[2].threshold == 0.7
    joined = LabelSet.join([labels, LabelSet(["cat"])])
    assert joined[1].spoken == ("hey computer",)  # templates are for sounds
    text = tmp_path / "labels.txt"
    text.write_text("dog\nkeyword: hey computer\n")
    assert LabelSet.from_file(text).names == ("dog", "keyword: hey computer")
