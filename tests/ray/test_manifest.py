"""The manifest: what another run finds, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zsaudio.errors import ModelError, OptionError, OutputError
from zsaudio.ray.manifest import Manifest, key_of
from zsaudio.ray.shards import Loaded, Staged
from zsaudio.storage.folder import Folder

pytest.importorskip("pyarrow")
LOADED = Loaded({"model": "tones", "probe": [0.6, 0.8]}, [["label", "string"]], [])
KEPT = [["path", "string"]]


def opened(out: Path, settings: dict[str, Any] | None = None, **how: bool) -> Manifest:
    return Manifest(Folder(str(out)), settings or {"labels": ["rain"], "model": "tones"}, **how)


def committed(out: Path) -> Manifest:
    manifest = opened(out)
    manifest.start(LOADED, KEPT)
    manifest.folder.write(f"_staging/{manifest.run}/000001.parquet", b"rows")
    manifest.commit(Staged("000001", 2, 1, 3.0, [["a.wav", 7, 8, None, None]], {"a.wav": "damaged"}))
    manifest.close()
    return manifest


def test_what_was_committed_is_known(tmp_path: Path) -> None:
    run = committed(tmp_path).run
    again = opened(tmp_path)
    assert again.done == {key_of("a.wav"): hash((7, 8))}
    assert again.n_failed == 1
    again.start(replace(LOADED, identity={"model": "tones", "probe": [0.61, 0.8]}), KEPT)  # another device
    assert sorted(p.name for p in tmp_path.iterdir()) == ["_manifest", f"part-{run}-000001.parquet"]


def test_shards_without_an_entry_are_removed_and_nothing_else(tmp_path: Path) -> None:
    run = committed(tmp_path).run
    (tmp_path / f"part-{run}-000002.parquet").write_bytes(b"moved, not noted")
    (tmp_path / "own.parquet").write_bytes(b"somebody's")
    (tmp_path / "_staging/old").mkdir(parents=True)
    opened(tmp_path).start(LOADED, KEPT)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["_manifest", "own.parquet", f"part-{run}-000001.parquet"]


def test_an_entry_that_was_half_written_is_none(tmp_path: Path) -> None:
    committed(tmp_path)
    (tmp_path / "_manifest/part-2.json.0123abcd.partial").write_text('{"shard')
    manifest = opened(tmp_path)
    assert len(manifest.done) == 1
    manifest.start(LOADED, KEPT)
    assert not list(tmp_path.rglob("*.partial"))


def test_overwriting(tmp_path: Path) -> None:
    committed(tmp_path)
    manifest = opened(tmp_path, {"labels": ["snow"]}, overwrite=True)
    assert manifest.done == {}
    manifest.start(LOADED, KEPT)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["head.json"]


def test_overwriting_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(tmp_path)
    monkeypatch.setattr(Folder, "remove", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        opened(tmp_path, overwrite=True).start(LOADED, KEPT)
    monkeypatch.undo()
    manifest = opened(tmp_path)
    assert manifest.done == {}
    manifest.start(LOADED, KEPT)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["head.json"]


def test_other_settings_files_and_damage(tmp_path: Path) -> None:
    out = tmp_path / "out"
    committed(out)
    with pytest.raises(OptionError, match=r"out: its results were made with other settings \(labels\): rep"):
        opened(out, {"labels": ["snow"], "model": "tones"})
    with pytest.raises(OptionError, match=r"holds other files \(a\.txt\); name an empty folder"):
        (tmp_path / "a.txt").touch()
        opened(tmp_path)
    (entry,) = (out / "_manifest").glob("part-*.json")
    entry.write_text("{")
    with pytest.raises(
        OptionError, match=rf"out/_manifest/{entry.name}: is damaged; start again with --over"
    ):
        opened(out)


@pytest.mark.parametrize(
    ("loaded", "kept", "error", "said"),
    [
        (
            replace(LOADED, identity={"model": "tones", "probe": [0.8, -0.6]}),
            KEPT,
            ModelError,
            "another version of 'tones'; use that",
        ),
        (
            replace(LOADED, identity={"speech": {"model": "spoken", "probe": [1.0]}}),
            KEPT,
            ModelError,
            "another version of 'spoken'",
        ),
        (LOADED, [*KEPT, ["site", "int64"]], OptionError, r"other columns \(site int64\): name another"),
        (LOADED, [["path", "large_string"]], OptionError, r"other columns \(path large_string\)"),
    ],
)
def test_other_models_and_columns(
    tmp_path: Path, loaded: Loaded, kept: list[list[str]], error: type[Exception], said: str
) -> None:
    committed(tmp_path)
    with pytest.raises(error, match=said):
        opened(tmp_path).start(loaded, kept)


def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    with Folder(str(tmp_path)).locked(), pytest.raises(OptionError, match="another run is writing it"):
        with Folder(str(tmp_path)).locked():
            pass


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file: cannot be used \("):
        Folder(str(tmp_path / "file")).write("a", b"")
