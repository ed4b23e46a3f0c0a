from pathlib import Path

import pytest

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
        ("labels: [dog", "is not valid YAML in line 1$"),
        ("labels: [@home]", "is not valid YAML in line 1; put quotes around what begins with @"),
        ('labels: ["@house"]', "no built-in label set @house; there are @animals"),
        ("just text", "must hold a list of labels"),
        ("lables: [dog]", "unknown key 'lables' in the file; known are description, labels"),
        ("labels: [{name: dog, prompt: x}]", "unknown key 'prompt' in label 'dog'"),
        ("labels: [{prompts: [x]}]", "a label without 'name'"),
        ("labels: dog", "'labels' must be a list"),
        ("labels: [yes]", "a label must be text, not True; put quotes around it"),
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
