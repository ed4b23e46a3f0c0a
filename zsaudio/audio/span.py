"""A part of a recording, from one time to another."""

import os

import numpy as np
import soundfile

from zsaudio.audio.reader import AudioReader
from zsaudio.audio.sources import Source, source_name
from zsaudio.errors import AudioError

_FINE = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")


def read_span(
    source: Source, start_s: float, end_s: float, sample_rate: int | None = None
) -> tuple[np.ndarray, int, bool]:
    """Return a part of a recording: samples ``(n_samples, n_channels)``, rate, and whether above 16 bits.

    Channels are kept in files that libsndfile can search; of all other sources the mean is returned. The part
    ends where the recording ends.

    Parameters
    ----------
    source
        The recording.
    start_s, end_s
        The part, in seconds; what is before 0 is left out.
    sample_rate
        Rate of an array, in Hz.

    Raises
    ------
    AudioError
        If the recording cannot be read, or has nothing there.
    """
    start_s = max(0.0, start_s)
    if isinstance(source, (str, os.PathLike)) and sample_rate is None:
        found = _seek(os.fsdecode(source), start_s, end_s)
        if found is not None:
            return _checked(found[0], source, start_s), *found[1:]
    reader = AudioReader(source, sample_rate)
    rate = reader.sample_rate
    first, last, position = round(start_s * rate), round(end_s * rate), 0
    parts: list[np.ndarray] = [np.zeros(0, np.float32)]
    for block in reader.blocks():
        parts.append(block[max(0, first - position) : max(0, last - position)])
        position += len(block)
        if position >= last:
            break
    return _checked(np.concatenate(parts)[:, None], source, start_s), rate, False


def _seek(path: str, start_s: float, end_s: float) -> tuple[np.ndarray, int, bool] | None:
    """Return what ``read_span`` returns; None if libsndfile cannot search in the file."""
    try:
        with soundfile.SoundFile(path) as file:
            if file.channels > 8 or not file.seekable():  # FLAC holds no more channels
                return None
            file.seek(min(round(start_s * file.samplerate), file.frames))
            n_samples = max(0, round((end_s - start_s) * file.samplerate))
            samples = file.read(n_samples, dtype="float32", always_2d=True)
            return samples, file.samplerate, file.subtype in _FINE
    except (OSError, soundfile.LibsndfileError):
        return None  # the reader opens it, or says best why not


def _checked(samples: np.ndarray, source: Source, start_s: float) -> np.ndarray:
    if not len(samples):
        raise AudioError(f"{source_name(source)}: has nothing at {start_s:g} s")
    return samples
