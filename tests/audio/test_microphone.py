"""Live blocks: in real time, nothing lost unnoticed, and devices with all their whims."""

import runpy
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tone_cli
from conftest import approx, tone
from tone_cli import NearToneModel

import zsaudio
from zsaudio.audio import live
from zsaudio.audio.live import Clock, LiveBlocks, Playback
from zsaudio.audio.microphone import input_devices, microphone
from zsaudio.errors import AudioError, MissingExtraError, OptionError


class Fed(LiveBlocks):
    """A source whose blocks a test puts in itself."""

    def __init__(self, sample_rate: int = 16_000, block_s: float = 0.1) -> None:
        super().__init__("fed", sample_rate, block_s)

    def _start(self) -> None:
        pass

    def feed(self, *blocks: np.ndarray) -> None:
        for block in blocks:
            self._put(block)


def test_clock_follows_losses_and_ignores_jitter() -> None:
    clock = Clock()
    assert abs(clock.at(0).timestamp() - time.time()) < 1
    for position, time_s in [(0.0, 100.0), (1.0, 101.06), (2.0, 102.0), (3.0, 105.5), (4.0, 106.5)]:
        clock.note(position, time_s)
    assert [clock.at(p).timestamp() for p in (0, 2.5, 3, 4.5)] == [100.0, 102.5, 105.5, 107.0]
    assert clock.at(-1).timestamp() == 99.0
    assert isinstance(clock.at(0), datetime)
    assert clock.at(0).tzinfo is not None


def test_playback_is_the_file_in_real_time() -> None:
    samples = np.stack([tone(440, 0.5), tone(1000, 0.5)], axis=1)
    started, arrived, blocks = time.monotonic(), [], []
    with Playback(samples, 16_000, channel=1, block_s=0.1) as source:
        for block in source:
            arrived.append(time.monotonic() - started)
            blocks.append(block)
    assert [len(block) for block in blocks] == [1600] * 5
    np.testing.assert_array_equal(np.concatenate(blocks), samples[:, 1])
    assert all(at >= due for at, due in zip(arrived, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True))
    assert source.overruns == 0
    assert abs(source.clock.at(0.5).timestamp() - time.time()) < 0.5


def test_playback_of_what_cannot_be_played() -> None:
    with pytest.raises(AudioError, match="no such file"):
        Playback("none.wav")
    with pytest.raises(AudioError, match="1 of 2 samples are NaN, infinite or too large"):
        list(Playback(np.array([0.0, np.nan]), 16_000))
    with pytest.raises(OptionError, match=r"block_s must be between 0.001 and 1, not 5"):
        Playback(np.zeros(10), 16_000, block_s=5)


def test_stop_ends_the_stream_after_what_was_heard() -> None:
    source = Playback(np.zeros(160_000), 16_000)
    threading.Timer(0.3, source.stop).start()
    started = time.monotonic()
    heard_s = sum(len(block) for block in source) / 16_000
    assert 0.1 < heard_s < time.monotonic() - started < 5


def test_a_reader_that_leaves_closes_the_source() -> None:
    source = Playback(np.zeros(160_000), 16_000)
    for _ in source:
        break
    source.close()
    assert not source._player.is_alive()


def test_overruns_are_counted_and_the_rest_is_whole() -> None:
    source = Fed(block_s=0.1)
    room = round(live.BUFFER_S / 0.1)
    blocks = [np.full(1600, index, np.float32) for index in range(room + 7)]
    source.feed(*blocks)
    assert (source.overruns, source.lost_s) == (7, approx(0.7))
    reading = iter(source)
    first = [next(reading) for _ in range(room)]
    source.feed(blocks[0])
    source.stop()
    assert [int(block[0]) for block in [*first, *reading]] == [*range(room), 0]


def test_the_clock_jumps_over_lost_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.1, 10.2, 13.3])
    monkeypatch.setattr("zsaudio.audio.live.time.time", lambda: next(now))
    source = Fed()
    source.feed(*[np.zeros(1600, np.float32)] * 3)
    source.stop()
    assert len(list(source)) == 3
    monkeypatch.undo()
    assert source.clock.at(0.15).timestamp() == pytest.approx(10.15)
    assert source.clock.at(0.25).timestamp() == pytest.approx(13.25)


def test_a_device_that_delivers_nothing_is_unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SILENT_S", 0.05)
    source = Fed()
    source.feed(np.zeros(1600, np.float32))
    reading = iter(source)
    next(reading)
    with pytest.raises(AudioError, match=r"^fed: stopped delivering audio; was it unplugged\?$"):
        next(reading)


def test_events_of_a_playback_are_those_of_the_file() -> None:
    samples = np.concatenate([tone(100, 0.5), tone(440, 0.5), tone(100, 0.5)])
    recognizer = zsaudio.Recognizer(["440"], NearToneModel())
    with Playback(samples, 16_000) as source:
        events = list(recognizer.stream(source))
    assert events == recognizer.detect(samples, 16_000)
    assert [(event.onset, event.offset) for event in events] == [(0.5, 1.0)]
    with pytest.raises(OptionError, match="needs its sample_rate"):
        recognizer.stream([samples])


class PortAudioError(Exception):
    pass


class FakeStream:
    """What sounddevice.InputStream is to us; the test calls back in PortAudio's place."""

    opened: "FakeStream"

    def __init__(self, **settings: Any) -> None:
        if settings["samplerate"] == 12_345:
            raise PortAudioError("Error opening InputStream: Invalid sample rate", -9997)
        self.settings, self.is_open = settings, True
        FakeStream.opened = self

    def start(self) -> None:
        pass

    def close(self, ignore_errors: bool) -> None:
        self.is_open = False

    def deliver(self, samples: np.ndarray, overflow: bool = False) -> None:
        status = SimpleNamespace(input_overflow=overflow)
        self.settings["callback"](samples, len(samples), None, status)


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """A list of devices, which a test may change, and a sounddevice that knows no other."""
    found = [
        {"index": i, "name": name, "max_input_channels": channels, "default_samplerate": rate}
        for i, (name, channels, rate) in enumerate(
            [("Speakers", 0, 48000.0), ("USB Mic", 2, 48000.0), ("Line", 1, 44100.0), ("pulse", 32, 44100.0)]
        )
    ]

    def query_devices(kind: str | None = None) -> Any:
        if kind is None:
            return found
        if not found:
            raise PortAudioError("Error querying device -1")
        return found[1]

    module = ModuleType("sounddevice")
    vars(module).update(query_devices=query_devices, InputStream=FakeStream, PortAudioError=PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    yield found


def test_input_devices(devices: list[dict[str, Any]]) -> None:
    assert [(one.number, one.name, one.channels, one.is_default) for one in input_devices()] == [
        (1, "USB Mic", 2, True),
        (2, "Line", 1, False),
        (3, "pulse", 32, False),
    ]


@pytest.mark.parametrize(
    ("asked", "number", "rate", "channels"),
    [
        ({}, 1, 48_000, 2),
        ({"device": 2}, 2, 44_100, 1),
        ({"device": "line"}, 2, 44_100, 1),
        ({"sample_rate": 16_000}, 1, 16_000, 2),
        ({"device": "pulse"}, 3, 44_100, 2),  # 30 of its 32 channels are nobody's
        ({"device": "pulse", "channel": 3}, 3, 44_100, 4),
    ],
)
def test_a_device_is_opened(
    devices: list[dict[str, Any]], asked: dict[str, Any], number: int, rate: int, channels: int
) -> None:
    with zsaudio.microphone(**asked) as source:
        settings = FakeStream.opened.settings
        assert (settings["device"], settings["samplerate"], settings["channels"]) == (number, rate, channels)
        assert source.sample_rate == rate
    assert not FakeStream.opened.is_open


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"device": "nope"}, "'nope' is not an input device; there are 1 'USB Mic', 2 'Line', 3 'pulse'"),
        ({"device": 0}, "'0' is not an input device"),
        ({"device": "l"}, "'l' fits several input devices: 2 'Line', 3 'pulse'"),
        ({"channel": 2}, "USB Mic: has no channel 2; it has 2, counted from 0"),
        ({"sample_rate": 12_345}, "cannot be opened (Invalid sample rate); its own rate is 48000 Hz"),
        ({"sample_rate": 1}, "sample rate 1 Hz is outside 4000 to 384000 Hz"),
    ],
)
def test_a_device_that_cannot_be_opened(
    devices: list[dict[str, Any]], asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(zsaudio.ZsaudioError) as caught:
        microphone(**asked)
    assert message in str(caught.value)


def test_no_device(devices: list[dict[str, Any]]) -> None:
    devices.clear()
    with pytest.raises(AudioError, match=r"^no input device: connect a microphone"):
        microphone()


def test_channels_are_mixed_or_chosen_and_overflows_counted(devices: list[dict[str, Any]]) -> None:
    buffer = np.array([[0.5, 0.0], [1.0, -0.5]], np.float32)
    for channel, heard in [(None, [0.25, 0.25]), (0, [0.5, 1.0]), (1, [0.0, -0.5])]:
        source = microphone(channel=channel)
        FakeStream.opened.deliver(buffer + 1)  # nobody reads yet
        reading = iter(source)
        threading.Timer(0.1, FakeStream.opened.deliver, (buffer.copy(), True)).start()
        assert next(reading).tolist() == heard
        source.stop()
        assert list(reading) == []
        assert source.overruns == 1


def test_unplugging_is_an_error_and_stopping_is_not(devices: list[dict[str, Any]]) -> None:
    source = microphone()
    FakeStream.opened.settings["finished_callback"]()
    with pytest.raises(AudioError, match=r"^USB Mic: stopped delivering audio; was it unplugged\?$"):
        list(source)
    assert not FakeStream.opened.is_open
    source = microphone()
    source.stop()
    FakeStream.opened.settings["finished_callback"]()
    assert list(source) == []


def test_the_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    samples = np.concatenate([tone(100, 0.5), tone(440, 0.5)])
    monkeypatch.setattr("zsaudio.audio.microphone.microphone", lambda device: Playback(samples, 16_000))
    monkeypatch.setattr("zsaudio.recognizer.load_model", tone_cli.load)
    monkeypatch.setattr(sys, "argv", ["microphone.py", "440"])
    runpy.run_path(str(Path(__file__).parents[2] / "examples" / "microphone.py"))
    first, event, last = capsys.readouterr().out.splitlines()
    assert (first, last) == ("listening to <array> at 16000 Hz; Ctrl-C ends", "0 overruns")
    assert event.split()[1:] == ["0.5", "s", "1.00", "440"]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r'pip install "sounddevice>='):
        microphone()
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match="install libportaudio2"):
        microphone()


def test_the_function_is_public_whatever_was_imported_first() -> None:
    import zsaudio.audio.live
    import zsaudio.audio.microphone

    assert zsaudio.microphone is microphone
