"""Files -> samples: libsndfile decodes most formats, PyAV (FFmpeg) the others.

- libsndfile: wav, flac, ogg, opus, aiff and more.
- FFmpeg: m4a, webm, video files with sound, and streams that cannot be rewound, such as standard input; mp3,
  since libsndfile's mp3 decoder prints on stderr and stops at the first damage; and the rest of any file from
  where libsndfile meets damage.

Only local files are opened: FFmpeg gets absolute paths, no protocol but ``file``, and no playlists, which
refer to other files.

Conventions: blocks are float32 ``(n_samples, n_channels)``; rates are in Hz.
"""

import io
import os
import re
import select
import stat
from collections.abc import Iterator
from functools import cache
from typing import IO, Any, Protocol

import numpy as np
import soundfile

from zsaudio.audio.sources import is_url
from zsaudio.errors import AudioError

_BLOCK_S = 1.0
_MOST_PLANES = (
    8  # of a frame that has a plane for each channel; PyAV reads others from memory that is not its own
)
_PIPE_WAIT_S = 10.0
_MP3 = re.compile(rb"ID3|\xff[\xe0-\xff]")
_MP3_LENGTH = re.compile(rb"\xff[\xe0-\xff].{6,40}((Xing|Info)\0\0\0[\1\3\5\7\x09\x0b\x0d\x0f]|VBRI)", re.S)
_PLAYLIST = re.compile(rb"\s*(#EXTM3U|ffconcat|<\?xml.*<MPD|v=0\r?\n|\[playlist\])", re.S)
_PLAYLIST_FORMATS = frozenset({"concat", "dash", "hls", "imf", "rtp", "rtsp", "sdp"})  # FFmpeg's names
# libsndfile's log, where a length in the header is not what the file holds
_DECLARED = re.compile(r"(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)")
# what recorders write as the length of a WAV while they do not know it yet
_UNKNOWN_LENGTHS = (range(0x7FFF0000, 0x80010000), range(0xFFFF0000, 1 << 32))


class Decoder(Protocol):
    """An open file.

    Attributes
    ----------
    sample_rate
        The file's rate, in Hz.
    expected_s
        Its length according to its header, in seconds; None where that cannot be trusted.
    lost_s
        How much silence ``blocks`` has yielded in the place of damage, in seconds.
    stopped
        Why decoding ended before the end; None: it did not, or there is no reason.
    """

    sample_rate: int
    expected_s: float | None
    lost_s: float
    stopped: str | None

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the file once, in blocks of about a second; end where nothing more can be decoded."""
        ...


def open_file(file: str | IO[bytes], name: str) -> Decoder:
    """Open a path, or a binary file object from its start.

    Raises
    ------
    AudioError
        If there is no such file, it cannot be read, or it is no recording that can be decoded.
    """
    if isinstance(file, str):
        file = _checked_path(file, name)
    if not isinstance(file, str) and not _seekable(file):
        return FFmpegDecoder(file, name)
    try:
        head = _read_at(file, 0, 16)
    except OSError as error:
        raise AudioError(f"{name}: cannot be read ({_reason(error)})") from error
    if not head:
        raise AudioError(f"{name}: the file is empty (0 bytes)")
    if not _MP3.match(head) and not (isinstance(file, str) and file.lower().endswith((".mp3", ".mp2"))):
        try:
            return SoundfileDecoder(file, name)
        except (soundfile.LibsndfileError, TypeError):  # TypeError: a name that ends in .raw
            pass
    return FFmpegDecoder(file, name)


class SoundfileDecoder:
    """A file that libsndfile decodes, as far as it goes; see ``Decoder``."""

    def __init__(self, file: str | IO[bytes], name: str) -> None:
        self._source, self._name = file, name
        self._file = soundfile.SoundFile(os.fsencode(file) if isinstance(file, str) else file)
        self.sample_rate: int = self._file.samplerate
        self.expected_s = _expected_s(self._file)
        self.lost_s = 0.0
        self.stopped: str | None = None

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the file once, in blocks of about a second; see ``Decoder``."""
        n_read = 0
        with self._file as file:
            try:
                size = int(_BLOCK_S * self.sample_rate)
                while len(block := file.read(size, dtype="float32", always_2d=True)):
                    n_read += len(block)
                    yield block
                return
            except soundfile.LibsndfileError as error:
                self.stopped = _reason(error)
                n_channels = file.channels
        try:
            rest = FFmpegDecoder(self._source, self._name)
        except AudioError:
            return
        for block in rest.blocks():
            new = block[max(0, n_read) :]
            n_read -= len(block)
            if len(new) and (rest.sample_rate, new.shape[1]) == (self.sample_rate, n_channels):
                yield new
        self.lost_s, self.stopped = rest.lost_s, rest.stopped


class FFmpegDecoder:
    """A file that FFmpeg decodes; see ``Decoder``.

    Stretches that do not decode are replaced by silence of their length, as far as that is known, so that
    what follows keeps its place in time.
    """

    def __init__(self, file: str | IO[bytes], name: str) -> None:
        import av  # 0.1 s, and most recordings do not need it

        if not isinstance(file, str) and _seekable(file):
            file.seek(0)
        opened = f"file:{os.path.abspath(file)}" if isinstance(file, str) else file
        options = {"protocol_whitelist": "file", "format_whitelist": _formats()}
        try:
            self._container: Any = av.open(opened, options=options, metadata_errors="ignore")
        except (av.FFmpegError, ValueError) as error:
            raise AudioError(f"{name}: {_what_it_is(file)}") from error
        except Exception as error:  # what a file object raised, for one
            raise AudioError(f"{name}: cannot be read ({_reason(error)})") from error
        if not self._container.streams.audio:
            self._container.close()
            raise AudioError(f"{name}: has no sound in it")
        self._stream = self._container.streams.audio[0]
        codec = self._stream.codec_context
        if codec is None:
            self._container.close()
            raise AudioError(f"{name}: its sound is in a format that cannot be decoded")
        self.sample_rate = int(codec.sample_rate or 0)
        if not self.sample_rate:  # FFmpeg takes random bytes for one format or another
            self._container.close()
            raise AudioError(f"{name}: {_what_it_is(file)}")
        self.lost_s = 0.0
        self.stopped: str | None = None
        self.expected_s = self._header_length(file)
        # FFmpeg may drop a damaged frame of a flac file in silence; the next one has its number
        self._numbered = self._container.format.name == "flac"
        if codec.name == "flac":  # or a damaged frame would decode, as noise
            codec.options = {"err_detect": "crccheck+explode"}

    def _header_length(self, file: str | IO[bytes]) -> float | None:
        """Return the length in the file's header; None where FFmpeg only estimates it."""
        form = self._container.format.name.split(",")[0]
        known = form in ("flac", "mov") or (form == "mp3" and _mp3_has_length(file))
        if not known or not self._stream.duration or self._stream.time_base is None:
            return None
        return float(self._stream.duration * self._stream.time_base)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the file once, in blocks of about a second; see ``Decoder``."""
        pending: list[np.ndarray] = []
        n_pending = 0
        for samples in self._samples():
            pending.append(samples)
            n_pending += len(samples)
            if n_pending >= _BLOCK_S * self.sample_rate:
                yield np.concatenate(pending)
                pending, n_pending = [], 0
        if n_pending:
            yield np.concatenate(pending)

    def _samples(self) -> Iterator[np.ndarray]:
        """Yield the samples of frame after frame, with silence for packets that do not decode."""
        rate, to_float = self.sample_rate, _ToFloat(self._stream)
        n_read = 0  # samples, with silence
        first_s: float | None = None  # time stamp of the first frame
        failed_s = 0.0  # length of the packets that failed since the last frame
        with self._container:
            for packet, frames in self._decoded():
                if frames is None:
                    failed_s += float((packet.duration or 0) * (packet.time_base or 0))
                    continue
                for frame in frames:
                    if first_s is None:
                        first_s = frame.time or 0.0
                    elif failed_s or self._numbered:
                        gap = self._gap(failed_s, frame.time, first_s, n_read)
                        self.lost_s += gap / rate
                        n_read += gap
                        while gap > 0:
                            yield np.zeros((min(gap, rate), to_float.n_channels), np.float32)
                            gap -= rate
                    failed_s = 0.0
                    for samples in to_float(frame):
                        n_read += len(samples)
                        yield samples
        if self.expected_s is None and n_read:
            self.expected_s = n_read / rate + failed_s

    def _decoded(self) -> Iterator[tuple[Any, list[Any] | None]]:
        """Yield the packets with their frames; None for a packet that does not decode."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except Exception as error:  # FFmpeg cannot go on, or the file object raised it
                self.stopped = _reason(error)
                return
            try:
                yield packet, packet.decode()
            except Exception:
                yield packet, None

    def _gap(self, failed_s: float, time_s: float | None, first_s: float, n_read: int) -> int:
        """Return how many samples are missing before a frame."""
        most = failed_s if self.expected_s is None else self.expected_s - n_read / self.sample_rate
        gap_s = failed_s if time_s is None else time_s - first_s - n_read / self.sample_rate
        return max(0, round(min(gap_s, most) * self.sample_rate))


class _ToFloat:
    """Frames of a stream -> float32 ``(n_samples, n_channels)``."""

    def __init__(self, stream: Any) -> None:
        self._layout, self._rate = stream.layout, stream.codec_context.sample_rate
        self.n_channels: int = stream.layout.nb_channels
        self._resamplers: dict[tuple[str, str, int], Any] = {}

    def __call__(self, frame: Any) -> Iterator[np.ndarray]:
        import av

        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind == ("fltp", self._layout.name, self._rate) and self.n_channels <= _MOST_PLANES:
            # as to_ndarray().T, in half the time
            planes = [np.frombuffer(plane, np.float32, frame.samples) for plane in frame.planes]
            yield planes[0][:, None] if len(planes) == 1 else np.stack(planes, axis=1)
            return
        if kind not in self._resamplers:  # some streams change their format as they go
            self._resamplers[kind] = av.AudioResampler(format="flt", layout=self._layout, rate=self._rate)
        for converted in self._resamplers[kind].resample(frame):
            yield converted.to_ndarray().reshape(-1, self.n_channels)


@cache
def _formats() -> str:
    """Return the formats that FFmpeg may read: all but playlists."""
    import av

    return ",".join(sorted(av.formats_available - _PLAYLIST_FORMATS))


def _checked_path(path: str, name: str) -> str | IO[bytes]:
    """Return the absolute path of a file, or an open pipe."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if is_url(name):
            raise AudioError(f"{name}: is a URL; download it first, only local files are read") from error
        raise AudioError(f"{name}: no such file") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: cannot be read ({_reason(error)})") from error
    if special := special_file(mode):
        if stat.S_ISFIFO(mode):
            return _open_pipe(path, name)
        raise AudioError(f"{name}: is a {special}, not a recording")
    return os.path.abspath(path)


def special_file(mode: int) -> str | None:
    """Return what a file is by its mode, as ``os.stat`` gives it; None for a regular file."""
    kinds = {
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "named pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return kinds.get(stat.S_IFMT(mode))


def _open_pipe(path: str, name: str) -> IO[bytes]:
    """Open a named pipe, such as ``<(...)`` in a shell; do not wait forever for one to write to it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not select.select([descriptor], [], [], _PIPE_WAIT_S)[0]:
        os.close(descriptor)
        raise AudioError(f"{name}: is a named pipe, and nothing writes to it")
    os.set_blocking(descriptor, True)
    return open(descriptor, "rb")


def _expected_s(file: soundfile.SoundFile) -> float | None:
    """Return the length that the header declares, which libsndfile corrects where a file is cut off."""
    if file.frames > 1 << 48:  # libsndfile's word for unknown
        return None
    found = _DECLARED.search(file.extra_info)
    frames = float(file.frames)
    if found:
        declared, actual = int(found[1]), int(found[2])
        if 0 < actual < declared and not any(declared in unknown for unknown in _UNKNOWN_LENGTHS):
            frames *= declared / actual
    return frames / float(file.samplerate)


def _mp3_has_length(file: str | IO[bytes]) -> bool:
    """Return whether the first frame of an mp3 declares the number of frames."""
    if not isinstance(file, str) and not _seekable(file):
        return False
    position = 0 if isinstance(file, str) else file.tell()
    tag = _read_at(file, 0, 10)
    size = 0
    if tag[:3] == b"ID3" and len(tag) == 10:
        size = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    found = _MP3_LENGTH.search(_read_at(file, size, 4096))
    if not isinstance(file, str):
        file.seek(position)
    return found is not None


def _what_it_is(file: str | IO[bytes]) -> str:
    """Say that a file cannot be decoded, and what it looks like where its first bytes tell."""
    text = "not a recording that can be decoded"
    try:
        head = _read_at(file, 0, 512)
    except (OSError, ValueError):
        return text
    if not head:
        return f"{text}: it is empty"
    if _PLAYLIST.match(head):
        return "is a playlist; give the recordings that it names instead"
    if b"\0" not in head:
        try:
            head[:500].decode("utf-8", errors="strict")
        except UnicodeDecodeError as error:
            if error.start < len(head[:500]) - 4:  # a character cut at the end is still text
                return f"{text}: unknown format, or damaged"
        return f"{text}: it holds text"
    return f"{text}: unknown format, or damaged"


def _read_at(file: str | IO[bytes], position: int, n_bytes: int) -> bytes:
    """Return bytes of a file; a file object is left at its start."""
    if isinstance(file, str):
        with open(file, "rb") as opened:
            opened.seek(position)
            return opened.read(n_bytes)
    if not _seekable(file):
        raise io.UnsupportedOperation("cannot be rewound")
    file.seek(position)
    content = file.read(n_bytes)
    file.seek(0)
    return content


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split()).rstrip(".") or type(error).__name__


def _seekable(file: Any) -> bool:
    return bool(getattr(file, "seekable", lambda: False)())
