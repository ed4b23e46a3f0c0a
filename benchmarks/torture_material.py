"""What ``torture.py`` mistreats zsaudio with: recordings, mutations, label files, live sound, and a model."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from zsaudio.audio.live import LiveBlocks
from zsaudio.labels import LabelSet
from zsaudio.models.base import EmbeddingBank, LabelBank, LogitsByComparing, own_bank

HOSTILE_LABELS = (
    "labels: [&a [x], *a, *a]",
    "a: &a [x,x]\nb: &b [*a,*a]\nlabels: [*b,*b]",
    "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]),
    "[" * 5_000,
    "{a: " * 5_000,
    "labels: {a: 1}",
    "labels: 3",
    "labels: [null, true, 1e999]",
    "labels: [{name: 3.5}]",
    "labels: [{name: dog, threshold: 2}]",
    "labels: [{name: dog, threshold: .nan}]",
    "labels: [{name: dog, unknown: 1}]",
    "labels: [2026-99-99]",
    "labels: [2026-01-31]",
    "labels: [0x" + "f" * 20_000 + "]",
    '{"labels": ["\\ud800"]}',
    "!!python/object/apply:os.system [true]",
    "labels: !!binary zzz",
    "labels: !!timestamp [1]",
    "templates: ['no braces']\nlabels: [dog]",
    "\x00\x01\x02",
    "",
)


class Minutes(LiveBlocks):
    """A source of hours of noise, as fast as they are taken; two seconds of a tone begin each minute."""

    def __init__(self, hours: int, hour_is_over: Callable[[], None]) -> None:
        super().__init__("hours", 4_000, 1.0)
        self._hours, self._hour_is_over = hours, hour_is_over
        noise = np.random.default_rng(0).normal(scale=0.001, size=60 * self.sample_rate)
        t = np.arange(2 * self.sample_rate) / self.sample_rate
        noise[: len(t)] += 0.3 * np.sin(2 * np.pi * 1000 * t)
        self._minute = np.split(noise.astype(np.float32), 60)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield blocks of a second."""
        for minute in range(self._hours * 60):
            for number, block in enumerate(self._minute):
                self.clock.note(minute * 60.0 + number, 1.7e9 + minute * 60 + number)
                yield block
            if minute % 60 == 59:
                self._hour_is_over()


class Tones(LogitsByComparing):
    """Hears the tones that labels name, such as "1000", in frames of half a second."""

    name, sample_rate, window_s, context_s, frame_s, dim = "tones", 4_000, 2.0, 0.5, 0.5, 1001

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the spectrum of each frame."""
        return [self._spectra(window) for window in windows]

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the spectra of the tones that prompts name."""
        return np.eye(self.dim, dtype=np.float32)[[int(prompt) // 2 for prompt in prompts]]

    def embed_labels(self, labels: LabelSet) -> LabelBank:
        """Return the spectra of labels."""
        return EmbeddingBank(labels.names, self.encode_text(labels.names))

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return logits: 10 for the tone alone, -10 without it."""
        return [20 * frames @ own_bank(bank, EmbeddingBank).embeddings.T - 10 for frames in embeddings]

    def _spectra(self, samples: np.ndarray) -> np.ndarray:
        n_frames = -(-len(samples) // 2000)
        spectra = np.abs(np.fft.rfft(np.resize(samples, (n_frames, 2000)))).astype(np.float32)
        return spectra / np.linalg.norm(spectra, axis=1, keepdims=True).clip(1e-6)


def mutated(content: bytes, rng: random.Random, others: Sequence[Path]) -> bytes:
    """Return bytes with one to four mutations."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        kind, size = rng.randrange(6), max(len(data), 1)
        at = rng.randrange(size) if rng.random() < 0.5 else rng.randrange(min(size, 64))
        length = rng.choice((1, 2, 4, 16, 256, 4096))
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data = data[:at]
        elif kind == 2:
            data[at : at + length] = bytes(length)
        elif kind == 3:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 4:
            data[at:at] = data[at : at + length]
        else:
            data[:at] = rng.choice(others).read_bytes()[:at]
    return bytes(data)


SOUNDFILE_SEEDS = (  # suffix, format, subtype, rate in Hz, channels
    *(
        ("wav", "WAV", kind, 16_000, 1)
        for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
    ),
    *(("wav", "WAV", kind, 8_000, 2) for kind in ("ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")),
    *(("wav", "WAV", kind, 8_000, 1) for kind in ("GSM610", "G721_32", "NMS_ADPCM_24")),
    ("wav", "WAVEX", "PCM_16", 48_000, 4),
    *(("flac", "FLAC", kind, 44_100, n) for kind, n in (("PCM_16", 1), ("PCM_24", 2))),
    *(("ogg", "OGG", kind, 48_000, n) for kind, n in (("VORBIS", 2), ("OPUS", 1))),
    *(("mp3", "MP3", "MPEG_LAYER_III", rate, n) for rate, n in ((16_000, 1), (44_100, 2))),
    *(("aiff", "AIFF", kind, 22_050, 1) for kind in ("PCM_16", "FLOAT", "IMA_ADPCM")),
    *(("au", "AU", kind, 8_000, 1) for kind in ("PCM_16", "ULAW", "G723_24")),
    *(("caf", "CAF", kind, 44_100, 2) for kind in ("ALAC_16", "PCM_24")),
    ("w64", "W64", "PCM_16", 96_000, 1),
    ("rf64", "RF64", "PCM_16", 32_000, 2),
)
FFMPEG_SEEDS = (  # suffix, FFmpeg's names of format and codec, rate in Hz
    ("m4a", "ipod", "aac", 44_100),
    ("mp4", "mp4", "aac", 48_000),
    ("mov", "mov", "alac", 44_100),
    ("3gp", "3gp", "aac", 16_000),
    ("aac", "adts", "aac", 32_000),
    ("ac3", "ac3", "ac3", 48_000),
    ("mp2", "mp2", "mp2", 44_100),
    ("wma", "asf", "wmav2", 44_100),
    ("avi", "avi", "pcm_s16le", 22_050),
    ("mkv", "matroska", "pcm_f32le", 44_100),
    ("mka", "matroska", "libmp3lame", 44_100),
    ("webm", "webm", "libopus", 48_000),
    ("opus", "opus", "libopus", 48_000),
    ("amr", "amr", "libopencore_amrnb", 8_000),
    ("wv", "wv", "wavpack", 44_100),
)


def seed_files(folder: Path) -> Iterator[Path]:
    """Write small recordings in every format that can be written here, and ``tone.wav``."""
    folder.mkdir()
    rng = np.random.default_rng(0)

    def samples(rate: int, n_channels: int) -> np.ndarray:
        t = np.arange(int(rng.uniform(0.2, 2.0) * rate)) / rate
        wave = 0.2 * np.sin(2 * np.pi * 600 * t) + 0.02 * rng.normal(size=len(t))
        return np.column_stack([wave] * n_channels).astype(np.float32)

    soundfile.write(folder / "tone.wav", samples(16_000, 1), 16_000)
    for suffix, form, subtype, rate, n_channels in SOUNDFILE_SEEDS:
        path = folder / f"{form}-{subtype}-{rate}-{n_channels}.{suffix}"
        soundfile.write(path, samples(rate, n_channels), rate, subtype=subtype, format=form)
        yield path
    for suffix, form, codec, rate in FFMPEG_SEEDS:
        path = folder / f"{form}-{codec}-{rate}.{suffix}"
        with av.open(path, "w", format=form) as container:
            stream: Any = container.add_stream(codec, rate=rate, layout="mono", options={"strict": "-2"})
            stream.bit_rate = 64_000 if rate > 8_000 else 12_200
            kind = stream.codec_context.codec.audio_formats[0].name
            stream.codec_context.format = kind
            frame = av.AudioFrame.from_ndarray(samples(rate, 1).T, "fltp", "mono")
            frame.sample_rate = rate
            resampler = av.AudioResampler(kind, "mono", rate, frame_size=stream.codec_context.frame_size)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))
        yield path
