"""Microphones: live blocks from a recording device, through PortAudio (extra ``mic``).

By default a device is opened at its own rate, with all its channels; the recogniser resamples.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zsaudio.audio.live import BLOCK_S, LiveBlocks
from zsaudio.errors import AudioError, MissingExtraError, OptionError, install_command

_DEVICE_BUFFER_S = 0.1  # bridges pauses of this program; it does not delay the blocks
_MOST_CHANNELS = 8  # sound servers offer 32 or more, and fill those that no microphone has with silence


@dataclass(frozen=True)
class InputDevice:
    """A recording device, as ``input_devices`` lists it.

    Parameters
    ----------
    number, name
        ``microphone`` takes the number, or a part of the name.
    channels
        How many channels it has.
    sample_rate
        Its default rate, in Hz.
    is_default
        Whether it is the system's default device.
    """

    number: int
    name: str
    channels: int
    sample_rate: int
    is_default: bool


class Microphone(LiveBlocks):
    """A recording device; see ``microphone``."""

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate: int | None = None,
        *,
        channel: int | None = None,
        block_s: float = BLOCK_S,
    ) -> None:
        sounddevice = _sounddevice()
        chosen = _choose(device)
        if channel is not None and not 0 <= channel < chosen.channels:
            raise OptionError(
                f"{chosen.name}: has no channel {channel}; it has {chosen.channels}, counted from 0"
            )
        super().__init__(chosen.name, sample_rate or chosen.sample_rate, block_s)
        n_channels = chosen.channels if chosen.channels <= _MOST_CHANNELS else 2
        self.n_channels = max(n_channels, 1 + (channel or 0))
        self._channel = channel
        self._reading = False
        try:
            self._stream = sounddevice.InputStream(
                device=chosen.number,
                samplerate=self.sample_rate,
                channels=self.n_channels,
                blocksize=self._block,
                dtype="float32",
                latency=_DEVICE_BUFFER_S,
                callback=self._callback,
                finished_callback=self._finished,
            )
            # Now, not when reading begins: PortAudio hangs if the device was unplugged in between.
            self._stream.start()
        except sounddevice.PortAudioError as error:
            hint = "" if sample_rate is None else f"; its own rate is {chosen.sample_rate} Hz"
            raise AudioError(f"{chosen.name}: cannot be opened ({_reason(error)}){hint}") from error

    def close(self) -> None:
        """Stop recording and release the device."""
        self.stop()
        self._stream.close(ignore_errors=True)

    def _start(self) -> None:
        self._reading = True

    def _callback(self, samples: np.ndarray, n_samples: int, times: Any, status: Any) -> None:
        if not self._reading:
            return
        if status.input_overflow:  # dropped before this program got it; PortAudio does not say how much
            self.overruns += 1
        if self._channel is None:
            self._put(samples.mean(axis=1, dtype=np.float32))
        else:
            self._put(samples[:, self._channel].copy())  # PortAudio reuses the array

    def _finished(self) -> None:
        if not self._stopped.is_set():
            self._queue.put(self._unplugged())


def microphone(
    device: int | str | None = None,
    sample_rate: int | None = None,
    *,
    channel: int | None = None,
    block_s: float = BLOCK_S,
) -> Microphone:
    """Open a recording device; iterate over the result, once, for its blocks.

    Parameters
    ----------
    device
        Number or part of the name of a device, as ``input_devices`` gives them; None: the system's default.
    sample_rate
        Rate in Hz; None: the device's own.
    channel
        Take this channel (0 is the first) instead of the mean of all.
    block_s
        Length of a block in seconds.

    Raises
    ------
    MissingExtraError
        If sounddevice or the PortAudio library is not installed.
    AudioError, OptionError
        If there is no such device, or it does not offer that rate or channel.
    """
    return Microphone(device, sample_rate, channel=channel, block_s=block_s)


def input_devices() -> list[InputDevice]:
    """Return the recording devices of this computer."""
    sounddevice = _sounddevice()
    try:
        default = sounddevice.query_devices(kind="input")["index"]
    except sounddevice.PortAudioError:  # there is none
        default = None
    return [
        InputDevice(
            info["index"],
            info["name"],
            info["max_input_channels"],
            round(info["default_samplerate"]),
            info["index"] == default,
        )
        for info in sounddevice.query_devices()
        if info["max_input_channels"] > 0
    ]


def _choose(device: int | str | None) -> InputDevice:
    devices = input_devices()
    if not devices:
        raise AudioError("no input device: connect a microphone, or play a file in its place")
    if device is None:
        found = [one for one in devices if one.is_default] or devices[:1]
    elif isinstance(device, int):
        found = [one for one in devices if one.number == device]
    else:
        exact = [one for one in devices if one.name == device]
        found = exact[:1] or [one for one in devices if device.casefold() in one.name.casefold()]
    if len(found) != 1:
        names = ", ".join(f"{one.number} '{one.name}'" for one in found or devices)
        what = "fits several input devices" if found else "is not an input device; there are"
        raise AudioError(f"'{device}' {what}{':' if found else ''} {names}")
    return found[0]


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtraError(
            f"listening to a microphone needs sounddevice: {install_command('mic')}"
        ) from error
    except OSError as error:
        raise MissingExtraError(
            "sounddevice finds no PortAudio library: install libportaudio2 (sudo apt install libportaudio2)"
        ) from error
    return sounddevice


def _reason(error: Exception) -> str:
    """Return PortAudio's message without what sounddevice adds to it."""
    return str(error.args[0]).rpartition(": ")[2] if error.args else str(error)
