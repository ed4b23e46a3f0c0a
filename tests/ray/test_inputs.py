"""Inputs of runs: lists, folders under URLs, and units of work from them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zsaudio.errors import OptionError
from zsaudio.ray.inputs import read_inputs, read_paths
from zsaudio.ray.planning import plan_units
from zsaudio.ray.shards import MTIME, SIZE

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def rows(*inputs: object) -> list[dict[str, Any]]:
    _, tables = read_inputs(map(str, inputs))
    return [row for table in tables for row in table.to_pylist()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "deep/b c.flac", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_lists_have_paths_and_what_else_they_have(folder: Path) -> None:
    Path("list.csv").write_text("site,path,start,end\n4,a.wav,1,2.5\n5,s3://bucket/x.wav,,\n")
    pq.write_table(pa.table({"path": ["deep/b c.flac"], "start": [3]}), "list.parquet")
    Path("list.txt").write_text("a.wav\n\nno.wav\n")
    mtime = os.stat("a.wav").st_mtime_ns
    local = {"path": str(folder / "a.wav"), SIZE: 5, MTIME: mtime}
    assert rows("list.csv") == [
        {"site": 4, "start": 1.0, "end": 2.5, **local},
        {"site": 5, "path": "s3://bucket/x.wav", "start": None, "end": None, SIZE: None, MTIME: None},
    ]
    (row,) = rows("list.parquet")
    assert (row["path"], row["start"], row[SIZE]) == (str(folder / "deep/b c.flac"), 3.0, 13)
    assert rows("list.txt") == [local, {"path": str(folder / "no.wav"), SIZE: 0, MTIME: 0}]


def test_urls_of_folders_and_files(folder: Path) -> None:
    found = rows(f"file://{folder}")
    assert [row["path"] for row in found] == [str(folder / "a.wav"), str(folder / "deep/b c.flac")]
    assert [row[SIZE] for row in found] == [5, 13]
    assert [row["path"] for row in rows("a.wav", f"file://{folder}/deep/b c.flac")] == [
        str(folder / "a.wav"),
        str(folder / "deep/b c.flac"),
    ]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (["no.csv"], r"no\.csv: cannot be read \(no such file or folder\)"),
        (["file.csv"], r"file\.csv: needs a column 'path'; it has: file"),
        (
            ["a.wav", "site.csv"],
            r"site\.csv: has the columns path string, site int64, and a\.wav has path st",
        ),
        (["not.parquet"], r"not\.parquet: cannot be read \("),
        (["a.wav", "none.csv"], r"none\.csv: lists no recordings"),
        (["none.txt"], r"none\.txt: lists no recordings"),
        (["file://{}/empty"], "empty: a folder with no audio in it"),
        (["nofs://x/y"], "nofs://x/y: cannot be opened"),
    ],
)
def test_inputs_that_cannot_be_read(folder: Path, inputs: list[str], said: str) -> None:
    Path("file.csv").write_text("file\na.wav\n")
    Path("site.csv").write_text("path,site\na.wav,1\n")
    Path("not.parquet").write_text("no")
    Path("none.csv").write_text("path\n")
    Path("none.txt").write_text("\n")
    Path("empty").mkdir()
    with pytest.raises(OptionError, match=said):
        rows(*(text.format(folder) for text in inputs))


def table(paths: list[str], size: int = 10, time: int = 1) -> Any:
    return pa.table({"path": paths, SIZE: [size] * len(paths), MTIME: [time] * len(paths)})


def planned(*tables: Any, **options: Any) -> list[list[str]]:
    return [unit.table.column("path").to_pylist() for unit in plan_units(tables, {}, **options)]


def test_units_grow_and_go_across_tables() -> None:
    names = [f"{number:02}" for number in range(30)]
    units = planned(table(names[:13]), table(names[13:]), rows=12)
    assert [len(unit) for unit in units] == [4, 8, 12, 6]
    assert [name for unit in units for name in unit] == names
    assert [len(unit) for unit in planned(table(names, size=100 * 2**20))] == [2] * 15


def test_what_was_done_or_planned_is_left_out_and_changes_are_named() -> None:
    done: dict[int, int] = {}
    (unit,) = plan_units([table(["a", "b", "a"])], done)
    assert unit.table.column("path").to_pylist() == ["a", "b"]
    done = {key: hash((10, 1)) for key in done}
    changed: list[str] = []
    tables = [table(["a"]), table(["b"], time=2), table(["c"])]
    (unit,) = plan_units(tables, done, on_changed=changed.append)
    assert (unit.table.column("path").to_pylist(), changed) == (["c"], ["b"])


def test_a_list_is_read_as_it_is_needed() -> None:
    n_read = 0

    def tables() -> Iterator[Any]:
        nonlocal n_read
        for number in range(1000):
            n_read += 1
            yield table([f"{number}/{each}" for each in range(100)])

    next(plan_units(tables(), {}))
    assert n_read == 1


def test_recordings_alone_keep_their_order_and_what_is_known_of_them(folder: Path) -> None:
    Path("list.csv").write_text("site,path\n4,a.wav\n5,s3://bucket/x.wav\n6,\n")
    paths, states = read_paths(["a.wav", "list.csv", f"file://{folder}/deep"])
    assert paths == [
        "a.wav",
        str(folder / "a.wav"),
        "s3://bucket/x.wav",
        "<no path in row 3 of list.csv>",
        str(folder / "deep/b c.flac"),
    ]
    assert {path: state[0] for path, state in states.items()} == {paths[1]: 5, paths[3]: 0, paths[4]: 13}
    Path("parts.csv").write_text("path,end\na.wav,2\n")
    with pytest.raises(OptionError, match=r"parts\.csv: has a column 'end', and an archive stores whole"):
        read_paths(["parts.csv"])
