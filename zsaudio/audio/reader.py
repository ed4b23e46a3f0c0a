"""Any recording -> mono float32 samples.

libsndfile decodes what it can (wav, flac, ogg, opus, mp3, aiff, ...); PyAV, which carries FFmpeg, decodes the
rest (m4a, webm, video files with sound) and streams that cannot be searched, such as standard input.

Conventions: arrays are float32 ``(n_samples,)`` with full scale 1.0; channels are mixed by their mean, unless
one is chosen; rates are in Hz. Every error is an ``AudioError`` that names its input.
"""

import io
import os
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from zsaudio.audio.resample import StreamResampler
from zsaudio.errors import AudioError

AUDIO_SUFFIXES = frozenset(
    ".wav .wave .rf64 .w64 .flac .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .au .snd .caf .m4a .m4b .aac "
    ".wma .ac3 .amr .ape .wv .mka .webm .mp4 .m4v .mkv .mov .avi .3gp".split()
)
"""Suffixes by which recordings are found in a folder. A file named outright may have any suffix."""

MIN_RATE, MAX_RATE = 4_000, 384_000  # Hz

Source = str | os.PathLike[str] | IO[bytes] | np.ndarray

_BLOCK_S = 1.0


class AudioReader:
    """An open recording, read block by block, so that its length does not matter.

    Parameters
    ----------
    source
        A path, a binary file object, or an array ``(n_samples,)`` or ``(n_samples, n_channels)``. Integer
        arrays are scaled by their type's full scale.
    sample_rate
        Rate of an array, in Hz. Files know their own.
    channel
        Take this channel (0 is the first) instead of the mean of all.

    Raises
    ------
    AudioError
        If the source is missing, empty or not audio; while reading, if it has no such channel, no samples,
        or samples that are NaN or infinite.
    """

    sample_rate: int
    seconds_read: float  # how much of the recording has been decoded

    def __init__(self, source: Source, sample_rate: int | None = None, channel: int | None = None) -> None:
        self.name = source_name(source)
        self.seconds_read = 0.0
        self._channel = channel
        if isinstance(source, (str, os.PathLike, io.IOBase)) or hasattr(source, "read"):
            if sample_rate is not None:
                raise AudioError(f"{self.name}: a file knows its own sample rate; leave sample_rate out")
            self.sample_rate, self._raw = self._open(source)
        else:
            if sample_rate is None:
                raise AudioError(f"{self.name}: an array needs its sample_rate")
            self.sample_rate, self._raw = sample_rate, iter([self._checked_array(source)])
        if not MIN_RATE <= self.sample_rate <= MAX_RATE:
            raise AudioError(
                f"{self.name}: sample rate {self.sample_rate} Hz is outside {MIN_RATE} to {MAX_RATE} Hz"
            )

    def blocks(self, sample_rate: int | None = None) -> Generator[np.ndarray, None, None]:
        """Yield the recording once, from its start, as mono blocks of about a second.

        Parameters
        ----------
        sample_rate
            Rate to deliver, in Hz; by default the recording's own.
        """
        resampler = StreamResampler(self.sample_rate, sample_rate or self.sample_rate)
        for raw in self._raw:
            mono = self._mono(raw)
            if not np.isfinite(mono).all():
                at = self.seconds_read + int(np.argmin(np.isfinite(mono))) / self.sample_rate
                raise AudioError(f"{self.name}: NaN or infinite samples, the first at {at:.3f} s")
            self.seconds_read += len(mono) / self.sample_rate
            yield resampler.push(mono)
        if self.seconds_read == 0.0:
            raise AudioError(f"{self.name}: holds no samples")
        tail = resampler.push(np.zeros(0, np.float32), last=True)
        if len(tail):
            yield tail

    def _mono(self, raw: np.ndarray) -> np.ndarray:
        """``(n_samples, n_channels)`` -> ``(n_samples,)``."""
        n_channels = raw.shape[1]
        if self._channel is not None:
            if not 0 <= self._channel < n_channels:
                raise AudioError(
                    f"{self.name}: has no channel {self._channel}; it has {n_channels}, counted from 0"
                )
            return np.ascontiguousarray(raw[:, self._channel])
        return raw[:, 0] if n_channels == 1 else raw.mean(axis=1, dtype=np.float32)

    def _checked_array(self, source: Any) -> np.ndarray:
        array = np.asarray(source)
        if array.ndim not in (1, 2):
            raise AudioError(f"{self.name}: an array must be (n_samples,) or (n_samples, n_channels)")
        if array.ndim == 1:
            array = array[:, None]
        elif 0 < array.shape[0] < array.shape[1]:
            raise AudioError(
                f"{self.name}: {array.shape} has more channels than samples; did you mean its transpose?"
            )
        if np.issubdtype(array.dtype, np.unsignedinteger):
            half = float(np.iinfo(array.dtype).max // 2 + 1)
            return ((array.astype(np.float64) - half) / half).astype(np.float32)
        if np.issubdtype(array.dtype, np.signedinteger):
            return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
        if not np.issubdtype(array.dtype, np.floating):
            raise AudioError(f"{self.name}: an array of {array.dtype} is not audio; give floats or integers")
        return array.astype(np.float32, copy=False)

    def _open(self, source: Any) -> tuple[int, Iterator[np.ndarray]]:
        if isinstance(source, (str, os.PathLike)):
            path = Path(source)
            if not path.exists():
                raise AudioError(f"{self.name}: no such file")
            if path.is_dir():
                raise AudioError(f"{self.name}: is a folder, not a recording")
            if path.is_file() and path.stat().st_size == 0:
                raise AudioError(f"{self.name}: the file is empty (0 bytes)")
            file: str | IO[bytes] = str(path)
        else:
            file = source
            if not _seekable(file):
                return _open_av(file, self.name)
        try:
            opened = soundfile.SoundFile(file)
        except OSError as error:  # a file that may not be read, not one that cannot be decoded
            raise AudioError(f"{self.name}: cannot be read ({error.strerror or error})") from error
        except soundfile.LibsndfileError as error:
            if isinstance(file, str) and not os.access(file, os.R_OK):
                raise AudioError(f"{self.name}: cannot be read (permission denied)") from error
            if not isinstance(file, str):
                file.seek(0)
            return _open_av(file, self.name)
        return opened.samplerate, _read_soundfile(opened, self.name)


def load_audio(
    source: Source,
    sample_rate: int | None = None,
    *,
    source_rate: int | None = None,
    channel: int | None = None,
) -> tuple[np.ndarray, int]:
    """Load a whole recording as mono float32.

    Parameters
    ----------
    source
        A path, a binary file object, or an array ``(n_samples,)`` or ``(n_samples, n_channels)``.
    sample_rate
        Rate to deliver, in Hz; by default the recording's own.
    source_rate
        Rate of ``source`` where it is an array, in Hz.
    channel
        Take this channel (0 is the first) instead of the mean of all.

    Returns
    -------
    samples, sample_rate
        float32 ``(n_samples,)``, and its rate in Hz.

    Raises
    ------
    AudioError
        If the source cannot be used; the message says why.

    Examples
    --------
    >>> import numpy as np
    >>> samples, rate = load_audio(np.zeros((48_000, 2)), 16_000, source_rate=48_000)
    >>> samples.shape, samples.dtype, rate
    ((16000,), dtype('float32'), 16000)
    """
    reader = AudioReader(source, source_rate, channel)
    return np.concatenate(list(reader.blocks(sample_rate))), sample_rate or reader.sample_rate


def source_name(source: Any) -> str:
    """Return what to call a source in messages and results: its path, its name, or what it is."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    name = getattr(source, "name", None)
    if isinstance(name, str):
        return name
    return "<file object>" if hasattr(source, "read") else "<array>"


def _seekable(file: Any) -> bool:
    return bool(getattr(file, "seekable", lambda: False)())


def _read_soundfile(file: soundfile.SoundFile, name: str) -> Iterator[np.ndarray]:
    with file:
        try:
            while len(block := file.read(int(_BLOCK_S * file.samplerate), dtype="float32", always_2d=True)):
                yield block
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{name}: damaged, decoding stopped ({_reason(error)})") from error


def _open_av(file: Any, name: str) -> tuple[int, Iterator[np.ndarray]]:
    import av  # 0.1 s, and most recordings do not need it

    try:
        container = av.open(file, metadata_errors="ignore")
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(f"{name}: not a recording that can be decoded{_guess(file)}") from error
    if not container.streams.audio:
        container.close()
        raise AudioError(f"{name}: has no sound in it")
    rate = int(container.streams.audio[0].rate or 0)
    if not rate:  # FFmpeg takes random bytes for one format or another
        container.close()
        raise AudioError(f"{name}: not a recording that can be decoded{_guess(file)}")
    return rate, _read_av(container, name)


def _read_av(container: Any, name: str) -> Iterator[np.ndarray]:
    import av

    with container:
        stream = container.streams.audio[0]
        to_float = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        pending: list[np.ndarray] = []
        n_pending = 0
        try:
            for frame in container.decode(stream):
                for converted in to_float.resample(frame):
                    pending.append(converted.to_ndarray().T)
                    n_pending += len(pending[-1])
                if n_pending >= _BLOCK_S * stream.rate:
                    yield np.concatenate(pending)
                    pending, n_pending = [], 0
        except (av.FFmpegError, ValueError) as error:
            raise AudioError(f"{name}: damaged, decoding stopped ({_reason(error)})") from error
        if pending:
            yield np.concatenate(pending)


def _guess(file: Any) -> str:
    """Say what an undecodable file looks like, where its first bytes tell."""
    try:
        with closing(open(file, "rb")) if isinstance(file, str) else _rewound(file) as opened:
            head = opened.read(512)
    except (OSError, ValueError):
        return ""
    if not head:
        return ": it is empty"
    if b"\0" not in head:
        try:
            head[:500].decode("utf-8", errors="strict")
        except UnicodeDecodeError as error:
            if error.start < len(head[:500]) - 4:  # a character cut at the end is still text
                return ": unknown format, or damaged"
        return ": it holds text"
    return ": unknown format, or damaged"


def _rewound(file: Any) -> Any:
    if not _seekable(file):
        raise OSError("cannot be rewound")
    file.seek(0)
    return io.BytesIO(file.read(512))


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error).rstrip(".")
