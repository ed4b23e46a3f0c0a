import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from zsaudio.errors import DataError, OptionError
from zsaudio.labels import Label, LabelSet
from zsaudio.models.learned.class_tables import (
    AttributeTable,
    Taxonomy,
    builtin_descriptions,
    read_descriptions,
)
from zsaudio.models.learned.semantics import Semantics


def embed(texts: Sequence[str]) -> np.ndarray:
    """Letters as a vector: texts with the same letters are alike."""
    counts = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], float) + 0.01
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def labels(*names: str) -> list[Label]:
    return [Label(name) for name in names]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def table(tmp_path: Path) -> AttributeTable:
    return AttributeTable.read(
        write(tmp_path / "a.csv", "label,pitched,noisy", "aaa,1,0", "bbb,0,1", "ccc_ddd,0.5,")
    )


@pytest.fixture
def taxonomy(tmp_path: Path) -> Taxonomy:
    nodes = [
        {"id": "/1", "name": "Animal", "child_ids": ["/2", "/3", "/4"]},
        {"id": "/2", "name": "Dog", "child_ids": []},
        {"id": "/3", "name": "Cat, kitten", "child_ids": []},
        {"id": "/4", "name": "Zebra", "child_ids": []},
    ]
    return Taxonomy.read(write(tmp_path / "t.json", json.dumps(nodes)))


def test_the_builtin_table_knows_esc50_and_everyday_sounds() -> None:
    table = AttributeTable.builtin()
    assert len(table.names) >= 300 and not np.isnan(table.values).any()
    assert set(LabelSet.builtin("esc50").names) <= set(table.names)
    assert set(LabelSet.builtin("esc50").names) == set(builtin_descriptions())
    # no two classes of ESC-50 are the same
    rows = [tuple(table.values[table.names.index(name)]) for name in LabelSet.builtin("esc50").names]
    assert len(set(rows)) == 50
    value = dict(zip(table.attributes, table.values[table.names.index("siren")], strict=True))
    assert value["pitched"] == 1 and value["animal"] == 0


def test_rows_of_the_table_are_taken_as_they_are(table: AttributeTable) -> None:
    first, second = Semantics(embed, ["attributes"], attributes=table)(labels("AAA", "bbb"))
    mean = Semantics(embed, ["attributes"], attributes=table)._filled.mean(axis=0)
    for vector, row in ((first, [1, 0]), (second, [0, 1])):
        expected = np.array(row) - mean
        assert vector == pytest.approx(expected / np.linalg.norm(expected))


def test_other_labels_get_the_attributes_of_their_neighbours(table: AttributeTable) -> None:
    semantics = Semantics(embed, ["attributes"], attributes=table)
    known, near, far = semantics(labels("aaa", "aaaa a", "bbb"))
    assert known @ near > 0.8 > known @ far


def test_gaps_are_filled_and_said(table: AttributeTable) -> None:
    semantics = Semantics(embed, ["attributes", "descriptions"], attributes=table, descriptions={"aaa": "x"})
    assert np.isnan(table.values[2, 1]) and 0 <= semantics._filled[2, 1] <= 1
    assert semantics.gaps(labels("aaa", "ccc ddd", "eee")) == [
        "no description of ccc ddd, eee: the name stands in for it",
        "no attributes of eee: predicted from the text",
        "attributes with gaps: ccc ddd: filled from the text",
    ]
    assert semantics.gaps([Label("aaa", prompts=("own words",))]) == []


def test_descriptions_replace_names() -> None:
    plain = Semantics(embed, ["names"])
    described = Semantics(embed, ["descriptions"], descriptions={"Dog": "bbbb"})
    assert described(labels("dog")) == pytest.approx(plain(labels("bbbb")))
    assert described(labels("cat")) == pytest.approx(plain(labels("cat")))
    own = plain([Label("dog", prompts=("bbbb",))])
    assert own == pytest.approx(plain(labels("bbbb")))


def test_relations_pull_siblings_together(taxonomy: Taxonomy) -> None:
    def likeness(source: str) -> float:
        dog, cat = Semantics(embed, [source], taxonomy=taxonomy)(labels("dog", "kitten"))
        return float(dog @ cat)

    assert likeness("relations") > likeness("names") + 0.2


def test_taxonomy(taxonomy: Taxonomy, tmp_path: Path) -> None:
    assert taxonomy.by_name["kitten"] == taxonomy.by_name["cat, kitten"] == 2
    assert taxonomy.parents[2] == (0,) and taxonomy.siblings(2) == [1, 3] and taxonomy.siblings(0) == []
    taxonomy.write(tmp_path / "copy.json")
    assert Taxonomy.read(tmp_path / "copy.json") == taxonomy


def test_a_mix_has_unit_length_and_all_sources(table: AttributeTable) -> None:
    vectors = Semantics(embed, ["names", "attributes"], attributes=table)(labels("aaa", "xyz"))
    assert vectors.shape == (2, 26 + 2)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    assert np.linalg.norm(vectors[:, :26], axis=1) == pytest.approx(np.sqrt(0.5))


def test_tables_survive_writing(table: AttributeTable, tmp_path: Path) -> None:
    table.write(tmp_path / "copy.csv")
    copy = AttributeTable.read(tmp_path / "copy.csv")
    assert copy.names == table.names == ("aaa", "bbb", "ccc ddd")
    assert np.array_equal(copy.values, table.values, equal_nan=True)


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["label,pitched"], "must hold a header"),
        (["label,pitched", "dog,loud"], "'loud' of 'dog' is not a number"),
        (["label,pitched", "dog,2"], "outside 0 to 1"),
        (["label,pitched", "dog,1,1"], "row 2 has 3 cells, the header 2"),
        (["label,pitched", "dog,1", "dog,0"], "'dog' has two rows"),
    ],
)
def test_bad_attribute_tables(tmp_path: Path, lines: list[str], match: str) -> None:
    with pytest.raises(DataError, match=match):
        AttributeTable.read(write(tmp_path / "a.csv", *lines))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("x", "not a list of nodes in JSON"),
        ("[]", "holds no nodes"),
        ('[{"id": "a"}]', "'name' is missing"),
        ('[{"id": "a", "name": "A", "child_ids": ["b"]}]', "'b' is missing"),
        ("[3]", "not a list of nodes"),
    ],
)
def test_bad_taxonomies(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        Taxonomy.read(write(tmp_path / "t.json", text))


def test_bad_descriptions(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2 must hold"):
        read_descriptions(write(tmp_path / "d.csv", "label,description", "dog"))
    with pytest.raises(DataError, match="holds no descriptions"):
        read_descriptions(write(tmp_path / "d.csv", "label,description"))
    with pytest.raises(DataError, match="cannot be read"):
        read_descriptions(tmp_path / "none.csv")


def test_unknown_sources() -> None:
    with pytest.raises(OptionError, match="unknown semantics 'colour': choose some of names"):
        Semantics(embed, ["colour"])
    with pytest.raises(OptionError, match="relations need a taxonomy"):
        Semantics(embed, ["relations"])
    with pytest.raises(OptionError, match="no semantics"):
        Semantics(embed, [])
