import os
import stat
import sys
from pathlib import Path

import pytest

from zsaudio.errors import DataError
from zsaudio.files import cache_folder, read_table, write_atomically


@pytest.mark.parametrize("durable", [False, True])
def test_bytes_and_text_replace_what_was_there(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_atomically(path, b"\x00one", durable=durable)
    assert path.read_bytes() == b"\x00one"
    write_atomically(path, "zwei ü\n", durable=durable)
    assert path.read_bytes() == "zwei ü\n".encode()
    assert os.listdir(path.parent) == ["file"]  # no temporary file is left


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such permissions")
def test_others_may_read_it_as_any_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    write_atomically(tmp_path / "file", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "file")]
    assert modes[0] == modes[1]


def test_the_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSAUDIO_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ZSAUDIO_CACHE")
    assert "zsaudio" in str(cache_folder())


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text('\ufefffile,label\n"a, b.wav",dog\n\n , \nc.wav\n', encoding="utf-8")
    assert read_table(path) == [["file", "label"], ["a, b.wav", "dog"], ["c.wav"]]
    path.write_text("file\tlabel\na, b.wav\tdog\n")
    assert read_table(path) == [["file", "label"], ["a, b.wav", "dog"]]
    path.write_text("")
    assert read_table(path) == []


def test_what_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "table"
    with pytest.raises(DataError, match="table: cannot be read"):
        read_table(path)
    path.write_bytes(b"file,label\n\xff\xfe,\n")
    with pytest.raises(DataError, match="table: is not a table of text, or not in UTF-8"):
        read_table(path)
