"""The cache of text embeddings saves time and never costs correctness."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from zsaudio.models.text_cache import TextCache

EMBEDDING = np.array([0.6, -0.8, 0.0], dtype=np.float32)


def test_what_was_put_is_found_by_another_process(tmp_path: Path) -> None:
    TextCache("a", tmp_path / "new" / "folder").put("a dog", EMBEDDING)
    found = TextCache("a", tmp_path / "new" / "folder").get("a dog")
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, EMBEDDING)
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 1  # no temporary file is left


@pytest.mark.parametrize("checkpoint, prompt", [("b", "a dog"), ("a", "a Dog"), ("a", "a dog ")])
def test_another_checkpoint_or_prompt_is_another_entry(tmp_path: Path, checkpoint: str, prompt: str) -> None:
    TextCache("a", tmp_path).put("a dog", EMBEDDING)
    assert TextCache(checkpoint, tmp_path).get(prompt) is None


@pytest.mark.parametrize(
    "damage", [lambda c: b"", lambda c: c[:20], lambda c: c[:-1], lambda c: c[:-1] + b"\xff"]
)
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    TextCache("a", tmp_path).put("a dog", EMBEDDING)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    cache = TextCache("a", tmp_path)
    assert cache.get("a dog") is None
    cache.put("a dog", EMBEDDING)
    np.testing.assert_array_equal(TextCache("a", tmp_path).get("a dog"), EMBEDDING)


def test_an_unusable_folder_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = TextCache("a", tmp_path / "file" / "cache")
    assert cache.get("a dog") is None
    cache.put("a dog", EMBEDDING)
    np.testing.assert_array_equal(cache.get("a dog"), EMBEDDING)  # from memory


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", full)
    TextCache("a", tmp_path).put("a dog", EMBEDDING)
    assert not list(tmp_path.iterdir())


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSAUDIO_CACHE", str(tmp_path))
    TextCache("a").put("a dog", EMBEDDING)
    assert TextCache("a").get("a dog") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["text-embeddings"]


def test_only_what_is_not_known_is_embedded(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def embed(prompts: list[str]) -> np.ndarray:
        asked.append(prompts)
        return np.array([[len(prompt), 0.0] for prompt in prompts], np.float32)

    cache = TextCache("a", tmp_path)
    assert cache.look_up(["a", "bcd", "a"], embed).tolist() == [[1, 0], [3, 0], [1, 0]]
    assert cache.look_up(["ef", "a"], embed).tolist() == [[2, 0], [1, 0]]
    assert asked == [["a", "bcd"], ["ef"]]
