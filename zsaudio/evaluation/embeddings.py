"""Clips -> audio embeddings, each computed once and kept on disk.

Whatever is asked of a set of recordings next (other labels, other prompts, a classifier on top) needs their
embeddings only, so a second look takes seconds. A file of the cache is named by what the model makes of a
probe sound, and by the recording's path, size and time of change: another checkpoint, or a file that was
replaced, is computed anew.

Conventions: a ``ClipEmbedding`` holds per window the embeddings of its frames, ``(n_frames, dim)`` float32
(with a cache, rounded to the float16 that it keeps), and how much of the clip each window speaks for.
"""

import contextlib
import hashlib
import os
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np

from zsaudio.audio.read_ahead import read_ahead
from zsaudio.audio.reader import AudioReader
from zsaudio.audio.windows import Window, clip_windower, cut_recording
from zsaudio.errors import ModelError, OptionError, ZsaudioError
from zsaudio.models.base import Encoder, LabelBank, Model
from zsaudio.models.clap.text_cache import cache_folder, write_atomically
from zsaudio.models.probe import probe
from zsaudio.models.replay import logits_from


@dataclass
class ClipEmbedding:
    """The embeddings of one clip, or why there are none."""

    path: Path
    windows: list[np.ndarray] = field(default_factory=list)  # each (n_frames, dim)
    durations_s: list[float] = field(default_factory=list)
    error: Exception | None = None

    def mean(self) -> np.ndarray:
        """Return the mean over the clip's frames, ``(dim,)``; windows count by what they speak for."""
        means = np.stack([window.mean(axis=0) for window in self.windows])
        return np.average(means, axis=0, weights=self.durations_s).astype(np.float32)


def as_encoder(model: Model, what: str) -> Encoder:
    """Return the model if it gives audio embeddings; raise ``OptionError`` naming ``what`` needs them."""
    if not hasattr(model, "encode_audio"):
        raise OptionError(f"{what} needs a model with audio embeddings, which '{model.name}' has not")
    return model  # type: ignore[return-value]  # checked above


def identity(model: Encoder) -> str:
    """Return a name for the model's audio embeddings: a digest of what it makes of a second of noise."""
    # Rounded, so that another processor's last bits make no other model.
    rounded = np.round(probe(model), 2) + 0.0
    what = f"{model.sample_rate} {model.window_s}".encode() + rounded.astype("<f4").tobytes()
    return hashlib.sha256(what).hexdigest()


def embed_clips(
    model: Encoder, paths: Iterable[str | os.PathLike[str]], batch_size: int = 16, cache: bool = True
) -> Iterator[ClipEmbedding]:
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
    folder = cache_folder() / "audio-embeddings" / identity(model)[:16] if cache else None

    def read(path: Path) -> Iterator[Window | ClipEmbedding]:
        """Yield the clip's embeddings from the cache, or its windows; runs in a thread."""
        if (known := _load(folder, path)) is not None:
            yield known
            return
        reader = AudioReader(path)
        for parts in cut_recording(reader, [clip_windower(model, reader.sample_rate)]):
            yield from (window for _, window in parts)

    unfinished: deque[tuple[ClipEmbedding, int]] = deque()  # and how many windows it has
    batch: list[tuple[ClipEmbedding, Window]] = []

    def finished(everything: bool) -> Iterator[ClipEmbedding]:
        while unfinished and (everything or len(unfinished[0][0].windows) >= unfinished[0][1]):
            clip, n_windows = unfinished.popleft()
            if n_windows and clip.error is None:
                _save(folder, clip)
            yield clip

    for path, items in read_ahead(read, map(Path, paths)):
        clip, n_windows = ClipEmbedding(path), 0
        try:
            for item in items:
                if isinstance(item, ClipEmbedding):
                    clip = item
                    continue
                n_windows += 1
                batch.append((clip, item))
                if len(batch) == batch_size:
                    _encode(model, batch, rounded=cache)
                    batch = []
        except ModelError:  # the encoder's, not this recording's
            raise
        except (ZsaudioError, OSError) as error:
            clip.error = error
        unfinished.append((clip, n_windows))
        yield from finished(everything=False)
    _encode(model, batch, rounded=cache)
    yield from finished(everything=True)


def logits_of(model: Encoder, clip: ClipEmbedding, bank: LabelBank) -> list[np.ndarray]:
    """Return what ``model.logits`` returns for the clip's windows, without its audio."""
    return logits_from(model, clip.windows, bank)


def _encode(model: Encoder, batch: list[tuple[ClipEmbedding, Window]], rounded: bool) -> None:
    """Put windows through the model; hand the embeddings to their clips."""
    if not batch:
        return
    encoded = model.encode_audio([window.samples for _, window in batch])
    for (clip, window), frames in zip(batch, encoded, strict=True):
        clip.windows.append(frames.astype(np.float16).astype(np.float32) if rounded else frames)
        clip.durations_s.append((window.keep_to - window.keep_from) / model.sample_rate)


def _file(folder: Path, path: Path) -> Path:
    status = path.stat()
    key = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"


def _load(folder: Path | None, path: Path) -> ClipEmbedding | None:
    if folder is None:
        return None
    try:
        with np.load(_file(folder, path)) as arrays:
            ends, frames = arrays["ends"], arrays["frames"].astype(np.float32)
            return ClipEmbedding(path, np.split(frames, ends[:-1]), arrays["durations_s"].tolist())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or damaged: as good as none
        return None


def _save(folder: Path | None, clip: ClipEmbedding) -> None:
    if folder is None:
        return
    content = BytesIO()
    np.savez(
        content,
        frames=np.concatenate(clip.windows).astype(np.float16),
        ends=np.cumsum([len(window) for window in clip.windows]),
        durations_s=np.array(clip.durations_s),
    )
    with contextlib.suppress(OSError):  # the cache only ever saves time
        write_atomically(_file(folder, clip.path), content.getvalue())
