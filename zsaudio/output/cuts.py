"""Events cut out of their recordings, as FLAC files to listen to.

A cut has the recording's own rate, and its channels where libsndfile can search in the recording; of others,
such as video files, it is the mean of the channels.
"""

import re
from pathlib import Path

import numpy as np
import soundfile

from zsaudio.audio.reader import AudioReader
from zsaudio.errors import AudioError, OptionError
from zsaudio.results import ClipEvents

MARGIN_S = 0.5  # on either side of an event
_FINE = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")


def cut_events(clip: ClipEvents, source: str | Path, target: Path, margin_s: float = MARGIN_S) -> list[Path]:
    """Write each event of a recording into a file of its own.

    Parameters
    ----------
    clip
        The recording's events.
    source
        The recording.
    target
        What the files' names begin with; onset, offset and label follow.
    margin_s
        How much is cut out on either side of an event, in seconds.

    Returns
    -------
    paths
        The files, in the order of the events.

    Raises
    ------
    AudioError
        If the recording cannot be read.
    OptionError
        If a file cannot be written.
    """
    paths = []
    for event in clip.events:
        label = re.sub(r"[^\w-]+", "-", event.label).strip("-")[:60]
        path = target.with_name(f"{target.name}_{event.onset:.2f}-{event.offset:.2f}_{label}.flac")
        samples, rate, fine = read_span(source, event.onset - margin_s, event.offset + margin_s)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, rate, format="FLAC", subtype="PCM_24" if fine else "PCM_16")
        except (OSError, soundfile.LibsndfileError) as error:
            raise OptionError(f"{path}: cannot be written ({error})") from error
        paths.append(path)
    return paths


def read_span(source: str | Path, start_s: float, end_s: float) -> tuple[np.ndarray, int, bool]:
    """Return a part of a recording: samples ``(n_samples, n_channels)``, rate, and whether above 16 bits.

    The part is cut to the recording's length.

    Raises
    ------
    AudioError
        If the recording cannot be read, or has nothing there.
    """
    start_s = max(0.0, start_s)
    try:
        with soundfile.SoundFile(str(source)) as file:
            if file.channels <= 8 and file.seekable():  # as many as FLAC holds
                file.seek(min(round(start_s * file.samplerate), file.frames))
                n_samples = max(0, round((end_s - start_s) * file.samplerate))
                samples = file.read(n_samples, dtype="float32", always_2d=True)
                return _checked(samples, source, start_s), file.samplerate, file.subtype in _FINE
    except (OSError, soundfile.LibsndfileError):
        pass  # the reader opens it, or says best why not
    reader = AudioReader(source)
    rate = reader.sample_rate
    first, last, position = round(start_s * rate), round(end_s * rate), 0
    parts: list[np.ndarray] = []
    for block in reader.blocks():
        parts.append(block[max(0, first - position) : max(0, last - position)])
        position += len(block)
        if position >= last:
            break
    return (
        _checked(np.concatenate(parts)[:, None] if parts else np.zeros((0, 1)), source, start_s),
        rate,
        False,
    )


def _checked(samples: np.ndarray, source: str | Path, start_s: float) -> np.ndarray:
    if not len(samples):
        raise AudioError(f"{source}: has nothing at {start_s:g} s")
    return samples
