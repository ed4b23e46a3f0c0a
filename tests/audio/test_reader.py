import io
import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from conftest import tone

from zsaudio.audio.reader import AudioReader, load_audio
from zsaudio.errors import AudioError

SNDFILE_FORMATS = [
    ("wav", "WAV", "PCM_U8", 8_000),
    ("wav", "WAV", "PCM_16", 44_100),
    ("wav", "WAV", "PCM_24", 48_000),
    ("wav", "WAV", "PCM_32", 96_000),
    ("wav", "WAV", "FLOAT", 22_050),
    ("wav", "WAV", "DOUBLE", 16_000),
    ("wav", "WAV", "PCM_16", 384_000),
    ("wav", "WAV", "PCM_16", 4_000),
    ("flac", "FLAC", "PCM_16", 48_000),
    ("ogg", "OGG", "VORBIS", 44_100),
    ("opus", "OGG", "OPUS", 48_000),
    ("mp3", "MP3", "MPEG_LAYER_III", 44_100),
    ("aiff", "AIFF", "PCM_16", 44_100),
]
AV_FORMATS = [("m4a", "aac"), ("webm", "libopus"), ("mp4", "aac"), ("mkv", "flac"), ("mov", "aac")]


def encode_with_av(path: Path, codec: str, samples: np.ndarray, rate: int, video: bool) -> None:
    with av.open(str(path), "w") as container:
        audio = container.add_stream(codec, rate=rate, layout="stereo")
        assert isinstance(audio, av.AudioStream)
        if video:
            pictures = container.add_stream("mpeg4", rate=10)
            pictures.width = pictures.height = 32
            pictures.pix_fmt = "yuv420p"
            for _ in range(5):
                picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                container.mux(pictures.encode(picture))
            container.mux(pictures.encode(None))
        stereo = np.ascontiguousarray(np.stack([samples, samples]))
        frame = av.AudioFrame.from_ndarray(stereo, format="fltp", layout="stereo")
        frame.sample_rate = rate
        convert = av.AudioResampler(format=audio.codec_context.format, layout="stereo", rate=rate)
        fifo = av.AudioFifo()
        for converted in convert.resample(frame):
            fifo.write(converted)
        while (piece := fifo.read(audio.codec_context.frame_size or 1024, partial=True)) is not None:
            container.mux(audio.encode(piece))
        container.mux(audio.encode(None))


def main_frequency(samples: np.ndarray, rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


@pytest.mark.parametrize(("suffix", "kind", "subtype", "rate"), SNDFILE_FORMATS)
def test_formats_of_libsndfile(tmp_path: Path, suffix: str, kind: str, subtype: str, rate: int) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(1000, 1.0, rate), rate, format=kind, subtype=subtype)
    samples, got_rate = load_audio(path)
    assert got_rate == rate
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(rate, rel=0.06)  # lossy formats add a little at the end
    assert main_frequency(samples, rate) == pytest.approx(1000, abs=2)
    middle = samples[rate // 4 : rate // 2]
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


@pytest.mark.parametrize(("suffix", "codec"), AV_FORMATS)
def test_formats_of_ffmpeg(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"tone.{suffix}"
    encode_with_av(path, codec, tone(1000, 1.0, 48_000), 48_000, video=suffix in ("mp4", "mov"))
    samples, rate = load_audio(path, 16_000)
    assert rate == 16_000
    assert len(samples) == pytest.approx(16_000, rel=0.06)
    assert main_frequency(samples, rate) == pytest.approx(1000, abs=2)
    assert np.abs(samples).max() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("n_channels", [2, 6, 24])
def test_channels_are_mixed_by_their_mean_or_chosen(tmp_path: Path, n_channels: int) -> None:
    path = tmp_path / "many.wav"
    levels = np.arange(n_channels) / (4 * n_channels)
    soundfile.write(path, np.tile(levels, (1000, 1)), 8_000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(path)[0], levels.mean(), atol=1e-6)
    np.testing.assert_allclose(load_audio(path, channel=1)[0], levels[1], atol=1e-6)
    with pytest.raises(AudioError, match=f"has no channel {n_channels}; it has {n_channels}, counted from 0"):
        load_audio(path, channel=n_channels)


def test_sources_agree(write_wav: Callable[..., Path]) -> None:
    samples = tone(440, 0.5)
    path = write_wav("a.wav", samples)
    expected, _ = load_audio(path)
    for source in (str(path), io.BytesIO(path.read_bytes())):
        np.testing.assert_array_equal(load_audio(source)[0], expected)
    with path.open("rb") as file:
        np.testing.assert_array_equal(load_audio(file)[0], expected)
    np.testing.assert_allclose(load_audio(samples, source_rate=16_000)[0], expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_pipe_can_be_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    soundfile.write(path, tone(440, 0.3), 16_000, format=kind)
    reading, writing = os.pipe()
    os.write(writing, path.read_bytes())
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        samples, rate = load_audio(pipe)
    assert rate == 16_000
    np.testing.assert_allclose(samples, load_audio(path)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([-32768, 16384], np.int16), [-1.0, 0.5]),
        (np.array([-(2**31), 2**30], np.int32), [-1.0, 0.5]),
        (np.array([0, 128, 192], np.uint8), [-1.0, 0.0, 0.5]),
        (np.array([0.25, -3.0]), [0.25, -3.0]),
        (np.array([[0.0, 0.5], [0.5, 1.0]], np.float16), [0.25, 0.75]),
    ],
)
def test_arrays_are_scaled_by_their_type(array: np.ndarray, expected: list[float]) -> None:
    np.testing.assert_allclose(load_audio(array, source_rate=8_000)[0], expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 100)), r"\(2, 100\) has more channels than samples; did you mean its transpose"),
        (np.zeros((2, 2, 2)), r"must be \(n_samples,\) or"),
        (np.array(["a"]), "is not audio"),
        (np.array([True]), "array of bool is not audio"),
        (np.zeros(0), "holds no samples"),
        (np.array([np.inf, np.nan]), "2 of 2 samples are NaN, infinite or too large, the first at 0.000 s"),
        ([[0.0], [0.0, 0.0]], "is not an array of numbers"),
    ],
)
def test_wrong_arrays(array: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=f"<array>: .*{message}"):
        load_audio(array, source_rate=16_000)


def test_rates() -> None:
    with pytest.raises(AudioError, match="an array needs its sample_rate"):
        load_audio(np.zeros(10))
    with pytest.raises(AudioError, match="sample rate 1000 Hz is outside 4000 to 384000 Hz"):
        load_audio(np.zeros(10), source_rate=1000)
    with pytest.raises(AudioError, match="a file has its own sample rate"):
        load_audio("x.wav", source_rate=16_000)


def wrong_file(tmp_path: Path, what: str) -> Path:
    path = tmp_path / f"{what}.wav"
    if what == "folder":
        path.mkdir()
    elif what == "empty":
        path.touch()
    elif what == "text":
        path.write_text("not a recording, but a note about one\n" * 50)
    elif what == "junk":
        path.write_bytes(np.random.default_rng(0).bytes(4000))
    elif what == "no samples":
        soundfile.write(path, np.zeros(0), 16_000)
    elif what == "nan":
        soundfile.write(path, np.full(32_000, np.nan), 16_000, subtype="FLOAT")
    elif what == "silent film":
        path = path.with_suffix(".mp4")
        with av.open(str(path), "w") as container:
            pictures = container.add_stream("mpeg4", rate=10)
            pictures.width = pictures.height = 32
            pictures.pix_fmt = "yuv420p"
            container.mux(pictures.encode(av.VideoFrame(32, 32, "yuv420p")))
            container.mux(pictures.encode(None))
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "no such file"),
        ("folder", "is a folder, not a recording"),
        ("empty", r"the file is empty \(0 bytes\)"),
        ("text", "not a recording that can be decoded: it holds text"),
        ("junk", "not a recording that can be decoded: unknown format, or damaged"),
        ("no samples", "holds no samples"),
        ("nan", r"32000 of 32000 samples are NaN, infinite or too large, the first at 0.000 s"),
        ("silent film", "has no sound in it"),
    ],
)
def test_wrong_files(tmp_path: Path, what: str, message: str) -> None:
    path = wrong_file(tmp_path, what)
    with pytest.raises(AudioError, match=f"{path.name}: {message}") as caught:
        load_audio(path)
    assert "\n" not in str(caught.value)


def test_wrong_file_objects() -> None:
    for content, message in [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"hello, hello\n" * 9, "not a recording that can be decoded: it holds text"),
    ]:
        with pytest.raises(AudioError, match=f"<file object>: {message}"):
            load_audio(io.BytesIO(content))


def test_blocks_are_bounded_and_join_to_the_whole(write_wav: Callable[..., Path]) -> None:
    path = write_wav("long.wav", tone(440, 5.5, 44_100), 44_100)
    reader = AudioReader(path)
    blocks = list(reader.blocks(16_000))
    assert max(map(len, blocks)) <= 17_000
    assert reader.seconds_read == pytest.approx(5.5)
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(path, 16_000)[0])


@pytest.mark.parametrize("seed", range(12))
def test_random_bytes_are_no_recording(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "junk.flac"
    path.write_bytes(np.random.default_rng(seed).bytes(3000))
    with pytest.raises(AudioError, match=r"junk\.flac: not a recording that can be decoded|damaged"):
        load_audio(path)
