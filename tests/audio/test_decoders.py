"""Damage, hostile names and special files. Formats are in test_reader.py."""

import io
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from conftest import tone

from zsaudio.audio.decoders import FFmpegDecoder, open_file
from zsaudio.audio.reader import AudioReader, load_audio
from zsaudio.errors import AudioError, DamagedAudioError

RATE = 16_000
LENGTH_S = 20.0
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, int(LENGTH_S * RATE)).astype(np.float32)
CAN_BE_CUT = ["wav", "flac", "mp3", "aiff", "au", "w64", "rf64"]
KINDS = {"mp3": "MP3", "rf64": "RF64"}


def write(path: Path) -> Path:
    """Write the noise in the format that the suffix names."""
    soundfile.write(path, NOISE, RATE, format=KINDS.get(path.suffix[1:]))
    return path


def damage_of(path: Path | io.BytesIO) -> tuple[np.ndarray, DamagedAudioError]:
    reader = AudioReader(path)
    samples = np.concatenate(list(reader.blocks()))
    assert reader.seconds_read == pytest.approx(len(samples) / reader.sample_rate)
    assert reader.damage is not None
    return samples, reader.damage


@pytest.mark.parametrize("suffix", CAN_BE_CUT)
def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"x.{suffix}")
    whole, _ = load_audio(path)
    reader = AudioReader(path)
    assert len(list(reader.blocks())) >= LENGTH_S and reader.damage is None
    assert reader.expected_s == pytest.approx(LENGTH_S)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 4])
    for source in (path, io.BytesIO(path.read_bytes())):
        samples, damage = damage_of(source)
        length_s = len(samples) / RATE
        assert 4.0 < length_s < 6.0
        n_same = len(samples) - RATE // 2  # the last frames of a lossy format depend on what follows
        np.testing.assert_array_equal(samples[:n_same], whole[:n_same])
        assert damage.expected_s == pytest.approx(LENGTH_S, abs=0.01)
        assert damage.missing_s == pytest.approx(LENGTH_S - length_s, abs=0.01)
        text = f"damaged or cut off: {damage.missing_s:.2f} s of {damage.expected_s:.2f} s cannot be decoded"
        assert str(damage).endswith(text)


def test_what_a_recorder_writes_before_it_knows_the_length_is_no_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav")
    content = bytearray(path.read_bytes())
    for length in (0xFFFFFFFF, 0x7FFFF000, 0x80000000):
        content[40:44] = length.to_bytes(4, "little")
        reader = AudioReader(io.BytesIO(bytes(content)))
        assert sum(map(len, reader.blocks())) == len(NOISE) and reader.damage is None


@pytest.mark.parametrize("what", ["flipped", "zeros", "gone"])
def test_flac_goes_on_after_damage_and_keeps_its_times(tmp_path: Path, what: str) -> None:
    path = write(tmp_path / "x.flac")
    whole, _ = load_audio(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if what == "flipped":
        content[middle] ^= 0xFF
    elif what == "zeros":
        content[middle : middle + 2000] = bytes(2000)
    else:
        del content[middle : middle + 2000]
    path.write_bytes(content)
    samples, damage = damage_of(path)
    assert len(samples) == len(whole)
    silent = samples == 0
    assert 0 < silent.mean() < 0.05
    np.testing.assert_array_equal(samples[~silent], whole[~silent])
    assert damage.missing_s == pytest.approx(silent.sum() / RATE, abs=0.01)


def test_a_damaged_mp3_prints_nothing_and_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x.mp3")
    load_audio(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    samples, damage = damage_of(path)
    assert len(samples) > 18 * RATE and 0.3 < damage.missing_s < 1.5
    assert capfd.readouterr() == ("", "")


def test_a_video_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(NOISE[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        fifo = av.AudioFifo()
        fifo.write(frame)
        while (piece := fifo.read(1024, partial=True)) is not None:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    reader = AudioReader(path)
    assert sum(map(len, reader.blocks())) == pytest.approx(len(NOISE), abs=2048) and reader.damage is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    samples, damage = damage_of(path)
    assert damage.missing_s == pytest.approx(LENGTH_S - len(samples) / RATE, abs=0.07)


def test_a_file_object_that_fails_midway_is_named(tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 200_000:
                raise RuntimeError("the disk is on fire")
            return super().read(size)

    samples, damage = damage_of(Failing(write(tmp_path / "x.wav").read_bytes()))
    assert 0 < len(samples) < len(NOISE)
    assert "decoding stopped at" in str(damage) and "the disk is on fire" in str(damage)


def test_load_audio_returns_what_there_is_and_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "x.wav")
    path.write_bytes(path.read_bytes()[:32_044])
    assert len(load_audio(path)[0]) == 16_000
    (record,) = caplog.records
    assert record.message == f"{path}: damaged or cut off: 19.00 s of 20.00 s cannot be decoded"


def test_unusable_samples_are_silence(caplog: pytest.LogCaptureFixture) -> None:
    samples = tone(440, 3.0)
    samples[[20_000, 40_000, 40_001]] = np.nan, -np.inf, 1e30
    loaded, _ = load_audio(samples, source_rate=RATE)
    expected = tone(440, 3.0)
    expected[[20_000, 40_000, 40_001]] = 0
    np.testing.assert_array_equal(loaded, expected)
    (record,) = caplog.records
    assert "3 of 48000 samples are NaN, infinite or too large, the first at 1.250 s" in record.message


@pytest.mark.parametrize(
    ("scale", "guess"),
    [
        (1.0, None),
        (8.0, None),
        (30_000.0, "16-bit integers as floats: divide by 32768"),
        (8e6, "24-bit integers as floats: divide by 8388608"),
        (2e9, "32-bit integers as floats: divide by 2147483648"),
    ],
)
def test_a_scale_that_is_no_full_scale_is_warned_of(
    scale: float, guess: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    load_audio(scale * np.sin(np.arange(40_000)), source_rate=RATE)
    messages = [record.message for record in caplog.records]
    assert len(messages) == (guess is not None)
    if guess:
        reached = f"{scale:.5g}"
        assert (
            messages[0] == f"<array>: samples reach {reached}, but full scale is 1.0; they look like {guess}"
        )


@pytest.mark.parametrize(("n_samples", "rate"), [(1, 44_100), (8, 384_000)])
def test_too_short_for_a_sample_at_the_other_rate(n_samples: int, rate: int) -> None:
    with pytest.raises(AudioError, match=f"too short \\({n_samples} samples at {rate} Hz\\)"):
        load_audio(np.zeros(n_samples), 16_000, source_rate=rate)


NAMES = ["2026-01-31T05:30:00", "concat:a|b", "http:/host/x", "file:x", "-", "%d", "a b'c", "caf\udce9"]


@pytest.mark.skipif(os.name == "nt", reason="such names do not exist there")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a"])
def test_names_are_only_names(
    name: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(f"{name}.{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write(tmp_path / "x.mp3").rename(path)
    if suffix == "wav":
        with open(path, "wb") as file:
            soundfile.write(file, NOISE, RATE, format="WAV")
    for source in (path, str(path)):
        assert len(load_audio(source)[0]) == pytest.approx(len(NOISE), rel=0.01)


@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile x.wav\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nx.wav\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://localhost:9/x.wav\n#EXT-X-ENDLIST\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>\n',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    ],
)
@pytest.mark.parametrize("name", ["x.m4a", "x.m3u8", "x.ffconcat", "x.sdp"])
def test_playlists_are_refused(content: str, name: str, tmp_path: Path) -> None:
    write(tmp_path / "x.wav")
    (tmp_path / name).write_text(content)
    with pytest.raises(AudioError, match=f"{name}: is a playlist; give the recordings that it names instead"):
        load_audio(tmp_path / name)


def test_a_raw_file_and_a_sound_without_a_decoder(tmp_path: Path) -> None:
    raw = tmp_path / "x.raw"
    raw.write_bytes(NOISE.tobytes())
    with pytest.raises(AudioError, match=r"x\.raw: "):
        load_audio(raw)
    with open(raw, "wb") as file:  # what is in it counts, not its name
        soundfile.write(file, NOISE, RATE, format="WAV")
    assert len(load_audio(raw)[0]) == len(NOISE)
    wav = write(tmp_path / "x.wav")
    content = bytearray(wav.read_bytes())
    content[20:22] = (0x1234).to_bytes(2, "little")  # a codec that nobody knows
    wav.write_bytes(content)
    with pytest.raises(AudioError, match=r"x\.wav: its sound is in a format that cannot be decoded"):
        load_audio(wav)


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
def test_special_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.wav")
        with pytest.raises(AudioError, match=r"socket\.wav: is a socket, not a recording"):
            load_audio("socket.wav")
    with pytest.raises(AudioError, match="/dev/null: is a device, not a recording"):
        load_audio("/dev/null")
    os.mkfifo("pipe.wav")
    monkeypatch.setattr("zsaudio.audio.decoders._PIPE_WAIT_S", 0.1)
    with pytest.raises(AudioError, match=r"pipe\.wav: is a named pipe, and nothing writes to it"):
        load_audio("pipe.wav")
    content = write(tmp_path / "x.wav").read_bytes()
    writer = threading.Thread(target=Path("pipe.wav").write_bytes, args=(content,))
    monkeypatch.setattr("zsaudio.audio.decoders._PIPE_WAIT_S", 10.0)
    writer.start()
    assert len(load_audio("pipe.wav")[0]) == len(NOISE)
    writer.join()


def test_ffmpeg_does_not_fetch(tmp_path: Path) -> None:
    with pytest.raises(AudioError):
        FFmpegDecoder("http://localhost:9/x.m4a", "x")
    with pytest.raises(AudioError, match="is a URL; download it first"):
        open_file("http://localhost:9/x.m4a", "http://localhost:9/x.m4a")


def test_nothing_but_results_on_stderr(tmp_path: Path) -> None:
    """libsndfile's mp3 decoder prints for whole files too; it must not be asked."""
    path = write(tmp_path / "x.mp3")
    code = f"from zsaudio import load_audio; print(len(load_audio({str(path)!r})[0]))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(len(NOISE)) and ran.stderr == ""


def test_ffmpeg_decodes_more_channels_than_eight(tmp_path: Path) -> None:
    samples = NOISE[: 14 * 1000].reshape(1000, 14)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    blocks = list(FFmpegDecoder(str(tmp_path / "a.wav"), "a.wav").blocks())
    np.testing.assert_array_equal(np.concatenate(blocks), samples)
