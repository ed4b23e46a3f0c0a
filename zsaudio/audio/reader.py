"""Any recording -> mono float32 samples.

Conventions: arrays are float32 ``(n_samples,)`` with full scale 1.0; channels are mixed by their mean, unless
one is chosen; rates are in Hz. Every error is an ``AudioError`` that names its input.
"""

import logging
from collections.abc import Generator, Iterator

import numpy as np

from zsaudio.audio.decoders import Decoder, open_file
from zsaudio.audio.resample import StreamResampler
from zsaudio.audio.sources import Source, resolve
from zsaudio.errors import AudioError, DamagedAudioError

log = logging.getLogger("zsaudio")

AUDIO_SUFFIXES = frozenset(
    ".wav .wave .rf64 .w64 .flac .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .au .snd .caf .m4a .m4b .aac "
    ".wma .ac3 .amr .ape .wv .mka .webm .mp4 .m4v .mkv .mov .avi .3gp".split()
)
"""Suffixes by which recordings are found in a folder. A file named outright may have any suffix."""

MIN_RATE, MAX_RATE = 4_000, 384_000  # Hz
FAR_OUTSIDE = 10.0  # full scale is 1.0; a recording that reaches this is probably not scaled to it
_LARGEST = 2.0**31  # full scale of 32-bit integers; nothing beyond it is sound
_TOLERANCE_S = 0.06  # encoders and containers disagree on a length by a frame or two


class AudioReader:
    """An open recording, read block by block, so that its length does not matter.

    Parameters
    ----------
    source
        A path, a binary file object, ``bytes``, an array, a torch tensor, or a dict of the ``datasets``
        library; see ``zsaudio.audio.sources.Source``.
    sample_rate
        Rate of an array or a tensor, in Hz. Everything else has its own.
    channel
        Take this channel (0 is the first) instead of the mean of all.

    Attributes
    ----------
    name
        What to call the recording: its path, if it has one.
    sample_rate
        The recording's own rate, in Hz.
    expected_s
        Its length in seconds according to its header; None: not known.
    seconds_read
        How much of it has been read, in seconds.
    damage
        After the last block: the error for the parts that could not be decoded; None: all were.

    Raises
    ------
    AudioError
        If the source is missing, empty or not audio.
    """

    def __init__(self, source: Source, sample_rate: int | None = None, channel: int | None = None) -> None:
        resolved = resolve(source, sample_rate)
        self.name = resolved.name
        self.seconds_read = 0.0
        self.damage: DamagedAudioError | None = None
        self._channel = channel
        self._decoder: Decoder
        if isinstance(resolved.data, np.ndarray):
            self._decoder = _Array(resolved.data, resolved.sample_rate or 0)
        else:
            self._decoder = open_file(resolved.data, self.name)
        self.sample_rate = self._decoder.sample_rate
        if not MIN_RATE <= self.sample_rate <= MAX_RATE:
            raise AudioError(
                f"{self.name}: sample rate {self.sample_rate} Hz is outside {MIN_RATE} to {MAX_RATE} Hz"
            )
        self.expected_s = self._decoder.expected_s

    def blocks(self, sample_rate: int | None = None) -> Generator[np.ndarray, None, None]:
        """Yield the recording once, from its start, as mono blocks of about a second.

        A recording that is cut off or damaged is yielded as far as it can be decoded; ``damage`` is set
        afterwards. Silence takes the place of what is damaged, where its length is known, and of samples that
        are NaN, infinite or beyond 2**31.

        Parameters
        ----------
        sample_rate
            Rate to deliver, in Hz; by default the recording's own.

        Raises
        ------
        AudioError
            If the recording has no such channel, no samples that can be used, or too few for one at the rate
            to deliver.
        """
        resampler = StreamResampler(self.sample_rate, sample_rate or self.sample_rate)
        n_read = n_delivered = n_bad = first_bad = 0
        peak = 0.0
        for raw in self._decoder.blocks():
            mono = self._mono(raw)
            block_peak = max(mono.max(), -mono.min())
            if not block_peak <= _LARGEST:  # NaN compares false
                bad = ~(np.abs(mono) <= _LARGEST)
                first_bad = first_bad if n_bad else n_read + int(bad.argmax())
                n_bad += int(bad.sum())
                mono = np.where(bad, np.float32(0), mono)
                block_peak = np.abs(mono).max()
            peak = max(peak, float(block_peak))
            n_read += len(mono)
            self.seconds_read = n_read / self.sample_rate
            block = resampler.push(mono)
            n_delivered += len(block)
            yield block
        if n_read == 0:
            raise AudioError(f"{self.name}: holds no samples")
        tail = resampler.push(np.zeros(0, np.float32), last=True)
        if len(tail):
            yield tail
        elif n_delivered == 0:
            raise AudioError(f"{self.name}: too short ({n_read} samples at {self.sample_rate} Hz)")
        self._warn_of_scale(peak)
        self.damage = self._find_damage(n_bad, first_bad)

    def _mono(self, raw: np.ndarray) -> np.ndarray:
        """``(n_samples, n_channels)`` -> ``(n_samples,)``."""
        n_channels = raw.shape[1]
        if self._channel is not None:
            if not 0 <= self._channel < n_channels:
                raise AudioError(
                    f"{self.name}: has no channel {self._channel}; it has {n_channels}, counted from 0"
                )
            return np.ascontiguousarray(raw[:, self._channel])
        if n_channels == 1:
            return raw[:, 0]
        with np.errstate(invalid="ignore", over="ignore"):
            return np.asarray(raw.mean(axis=1, dtype=np.float32))

    def _warn_of_scale(self, peak: float) -> None:
        if peak < FAR_OUTSIDE:
            return
        guess = "scaled to full scale"
        for bits in (16, 24, 32):
            if peak <= 2 ** (bits - 1):
                guess = f"{bits}-bit integers as floats: divide by {2 ** (bits - 1)}"
                break
        log.warning(
            "%s: samples reach %.5g, but full scale is 1.0; they look like %s", self.name, peak, guess
        )

    def _find_damage(self, n_bad: int, first_bad: int) -> DamagedAudioError | None:
        """Return the error for the parts of the recording that are missing; None: nothing is."""
        self.expected_s = self._decoder.expected_s
        total_s = max(self.expected_s or 0.0, self.seconds_read)
        missing_s = self._decoder.lost_s + total_s - self.seconds_read
        if missing_s > _TOLERANCE_S:
            text = f"damaged or cut off: {missing_s:.2f} s of {total_s:.2f} s cannot be decoded"
        elif self._decoder.stopped:
            text = f"damaged or cut off: decoding stopped at {total_s:.2f} s ({self._decoder.stopped})"
        elif n_bad:
            missing_s = n_bad / self.sample_rate
            text = (
                f"{n_bad} of {round(self.seconds_read * self.sample_rate)} samples are NaN, infinite or too "
                f"large, the first at {first_bad / self.sample_rate:.3f} s: taken as silence"
            )
        else:
            return None
        if missing_s >= total_s - 1e-9:
            raise AudioError(f"{self.name}: {text}")
        return DamagedAudioError(f"{self.name}: {text}", missing_s, total_s)


def load_audio(
    source: Source,
    sample_rate: int | None = None,
    *,
    source_rate: int | None = None,
    channel: int | None = None,
) -> tuple[np.ndarray, int]:
    """Load a whole recording as mono float32.

    Of a damaged recording, the part that can be decoded is returned, and a warning is logged.

    Parameters
    ----------
    source
        A path, a binary file object, ``bytes``, an array ``(n_samples,)`` or ``(n_samples, n_channels)``, a
        torch tensor ``(n_samples,)`` or ``(n_channels, n_samples)``, or a dict of the ``datasets`` library.
    sample_rate
        Rate to deliver, in Hz; by default the recording's own.
    source_rate
        Rate of ``source`` where it is an array or a tensor, in Hz.
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
    samples = np.concatenate(list(reader.blocks(sample_rate)))
    if reader.damage is not None:
        log.warning("%s", reader.damage)
    return samples, sample_rate or reader.sample_rate


class _Array:
    """An array in the place of a file; see ``Decoder``."""

    def __init__(self, samples: np.ndarray, sample_rate: int) -> None:
        self._samples, self.sample_rate = samples, sample_rate
        self.expected_s: float | None = None
        self.lost_s = 0.0
        self.stopped: str | None = None

    def blocks(self) -> Iterator[np.ndarray]:
        if len(self._samples):
            yield self._samples
