"""Text embeddings on disk, so that a label is encoded once and a big text tower need not be loaded again.

One file a prompt, named by a hash of the checkpoint's identity and the full prompt. A file holds a
digest of its payload and the payload, float32 little-endian: a damaged file is as good as none. The cache
only ever saves time: a folder that cannot be read or written is no error.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import platformdirs

_DIGEST_SIZE = 16


def cache_folder() -> Path:
    """Return the folder of everything zsaudio caches: ``$ZSAUDIO_CACHE``, else the user's cache folder."""
    return Path(os.environ.get("ZSAUDIO_CACHE") or platformdirs.user_cache_dir("zsaudio"))


class TextCache:
    """Embeddings of prompts under one checkpoint, in memory and on disk.

    Parameters
    ----------
    checkpoint
        What identifies the weights and the tokenizer: a commit hash, or a fingerprint of files.
    folder
        Where the files go; a subfolder of ``cache_folder()`` by default.
    """

    def __init__(self, checkpoint: str, folder: Path | None = None) -> None:
        self._checkpoint = checkpoint
        self._folder = cache_folder() / "text-embeddings" if folder is None else folder
        self._memory: dict[str, np.ndarray] = {}

    def look_up(self, prompts: Sequence[str], embed: Callable[[list[str]], np.ndarray]) -> np.ndarray:
        """Return the embeddings ``(n_prompts, dim)``; ``embed`` is called for those that are not known."""
        new = [prompt for prompt in dict.fromkeys(prompts) if self.get(prompt) is None]
        if new:
            for prompt, embedding in zip(new, embed(new), strict=True):
                self.put(prompt, embedding)
        return np.stack([embedding for prompt in prompts if (embedding := self.get(prompt)) is not None])

    def get(self, prompt: str) -> np.ndarray | None:
        """Return the embedding ``(dim,)`` of a prompt, or None if it is not known."""
        if prompt not in self._memory:
            try:
                content = self._path(prompt).read_bytes()
            except OSError:
                return None
            digest, payload = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
            if digest != _hash(payload).digest():
                return None
            self._memory[prompt] = np.frombuffer(payload, "<f4").astype(np.float32)
        return self._memory[prompt]

    def put(self, prompt: str, embedding: np.ndarray) -> None:
        """Remember the embedding ``(dim,)`` of a prompt."""
        self._memory[prompt] = embedding
        payload = embedding.astype("<f4").tobytes()
        with contextlib.suppress(OSError):
            write_atomically(self._path(prompt), _hash(payload).digest() + payload)

    def _path(self, prompt: str) -> Path:
        return self._folder / _hash(f"{self._checkpoint}\0{prompt}".encode()).hexdigest()


def _hash(data: bytes) -> "hashlib.blake2b":
    return hashlib.blake2b(data, digest_size=_DIGEST_SIZE)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that other processes see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
