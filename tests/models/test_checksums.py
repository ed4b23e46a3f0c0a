import shutil
from pathlib import Path

import pytest

from zsaudio.errors import ModelError
from zsaudio.labels import LabelSet
from zsaudio.models import registry
from zsaudio.models.checksums import check_files

BUNDLED = Path(registry.__file__).parent / "weights"


@pytest.mark.parametrize("folder", sorted(BUNDLED.iterdir()), ids=lambda folder: folder.name)
def test_bundled_weights_are_what_they_should_be(folder: Path) -> None:
    check_files(folder)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(b"weights")
    digest = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  a\n")
    return tmp_path


def test_a_changed_byte_is_found(weights: Path) -> None:
    check_files(weights)
    (weights / "a").write_bytes(b"weightt")
    check_files.cache_clear()
    with pytest.raises(ModelError, match=r"a: damaged \(its checksum.*make it again"):
        check_files(weights)


def test_a_missing_file_is_named(weights: Path) -> None:
    (weights / "a").unlink()
    with pytest.raises(ModelError, match=r"a: cannot be read \(No such file"):
        check_files(weights)


def test_without_sums_nothing_is_checked(tmp_path: Path) -> None:
    check_files(tmp_path)


def test_loading_checks(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (weights / "weights" / "nano-keyword").mkdir(parents=True)
    (weights / "SHA256SUMS").rename(weights / "weights" / "nano-keyword" / "SHA256SUMS")
    monkeypatch.setattr(registry, "__file__", str(weights / "registry.py"))
    with pytest.raises(ModelError, match="nano-keyword/a: cannot be read"):
        registry.load_keyword_model("nano-keyword")


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors", "names.csv", "config.json"])
def test_a_damaged_copy_of_nano_is_found_by_its_checksums(name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(BUNDLED / "nano", tmp_path / "nano"))
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"nano.{name}: damaged \(its checksum is not that of SHA256SUMS\)"):
        registry.load_model(str(copy))


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_damaged_copy_of_nano_without_checksums_is_one_line(name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(BUNDLED / "nano", tmp_path / "nano", ignore=lambda *_: {"SHA256SUMS"}))
    (copy / name).write_bytes((copy / name).read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"nano: damaged, or of another version of zsaudio \(") as caught:
        registry.load_model(str(copy))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "cohort.npz", "dictionary.gz"])
def test_a_damaged_copy_of_nano_keyword_is_one_line(name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(BUNDLED / "nano-keyword", tmp_path / "nano-keyword"))
    (copy / name).write_bytes((copy / name).read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"nano-keyword.*: damaged") as caught:
        registry.load_keyword_model(str(copy)).embed_labels(LabelSet(["keyword: hello"]))
    assert "\n" not in str(caught.value)
