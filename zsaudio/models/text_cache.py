"""Text embeddings on disk: each prompt is encoded once, and a large text tower need not be loaded again.

One file per prompt, named by a hash of the checkpoint's fingerprint and the full prompt. A file holds a
digest of its payload and the payload, float32 little-endian; a damaged file is ignored. A folder that cannot
be read or written is no error: then nothing is cached.
"""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from zsaudio.files import cache_folder, write_atomically

_DIGEST_SIZE = 16


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
