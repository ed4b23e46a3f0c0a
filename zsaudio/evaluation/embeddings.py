"""Clips -> audio embeddings, each computed once and kept on disk.

Evaluation with other labels or prompts, training and adapting need the embeddings only, so a second run takes
seconds. A file of the cache is named by the model's embedding of a test sound and by the recording's path,
size and modification time: with another checkpoint, or after a change, embeddings are computed again.

Conventions: the ``windows`` of a ``ClipOutputs`` are the embeddings of frames, ``(n_frames, dim)`` float32;
with a cache, rounded to the float16 that it keeps.
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np

from zsaudio.detection.clips import embed_sources
from zsaudio.errors import OptionError
from zsaudio.files import cache_folder, write_atomically
from zsaudio.models.base import Encoder, Model
from zsaudio.models.identity import encoder_id
from zsaudio.results import ClipOutputs

_AT_A_TIME = 64  # recordings that are looked up in the cache together


def as_encoder(model: Model, what: str) -> Encoder:
    """Return the model if it gives audio embeddings; raise ``OptionError`` naming ``what`` needs them."""
    if not hasattr(model, "encode_audio"):
        raise OptionError(f"{what} needs a model with audio embeddings, which '{model.name}' has not")
    return model  # type: ignore[return-value]  # checked above


def embed_clips(
    model: Encoder, paths: Iterable[str | os.PathLike[str]], batch_size: int = 16, cache: bool = True
) -> Iterator[ClipOutputs]:
    """Yield the embeddings of recordings, in order, while the next ones are being decoded.

    A recording that cannot be used costs only itself: its ``error`` says why.

    Parameters
    ----------
    model
        Any encoder.
    paths
        Recordings.
    batch_size
        Windows that go through the model together, across recordings.
    cache
        Read and write the cache on disk, ``audio-embeddings`` in ``$ZSAUDIO_CACHE`` or the user's cache.
    """
    if not cache:
        yield from embed_sources(model, paths, batch_size)
        return
    folder = cache_folder() / "audio-embeddings" / encoder_id(model)[:16]
    remaining = map(Path, paths)
    while several := list(islice(remaining, _AT_A_TIME)):
        known = {path: clip for path in several if (clip := _load(folder, path)) is not None}
        new = embed_sources(model, [path for path in several if path not in known], batch_size)
        for path in several:
            if path in known:
                yield known[path]
                continue
            clip = next(new)
            if clip.error is None:
                clip.windows = [frames.astype(np.float16) for frames in clip.windows]
                _save(folder, path, clip)
                clip.windows = [frames.astype(np.float32) for frames in clip.windows]
            yield clip


def _file(folder: Path, path: Path) -> Path:
    status = path.stat()
    key = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"


def _load(folder: Path, path: Path) -> ClipOutputs | None:
    try:
        with np.load(_file(folder, path)) as arrays:
            ends, frames = arrays["ends"], arrays["frames"].astype(np.float32)
            return ClipOutputs(str(path), np.split(frames, ends[:-1]), arrays["durations_s"].tolist())
    # None, or damaged, which the checksums of the zip format tell: as good as none.
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
        return None


def _save(folder: Path, path: Path, clip: ClipOutputs) -> None:
    content = BytesIO()
    np.savez(
        content,
        frames=np.concatenate(clip.windows),
        ends=np.cumsum([len(window) for window in clip.windows]),
        durations_s=np.array(clip.durations_s),
    )
    with contextlib.suppress(OSError):  # the cache only ever saves time
        write_atomically(_file(folder, path), content.getvalue())
