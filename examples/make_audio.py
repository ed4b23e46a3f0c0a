"""Make the recordings in ``examples/audio``, and say how: the same sounds on every run.

Needs espeak-ng (a speech synthesiser), fluidsynth and the soundfont FluidR3_GM on the PATH and in the usual
place; on Debian: ``apt-get install espeak-ng fluidsynth fluid-soundfont-gm``.
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from zsaudio import load_audio

RATE = 44_100
FOLDER = Path(__file__).parent / "audio"
SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"


def seconds(duration: float) -> np.ndarray:
    """Return the times of the samples of ``duration`` seconds."""
    return np.arange(round(duration * RATE)) / RATE


def room(samples: np.ndarray, seed: int) -> np.ndarray:
    """Put a dry sound into a small room: decaying noise as its echo, faint noise as its background."""
    rng = np.random.default_rng(seed)
    time = seconds(0.25)
    echo = rng.standard_normal(len(time)) * np.exp(-time / 0.05)
    wet = np.convolve(samples, echo / np.sqrt((echo**2).sum()))[: len(samples)]
    mixed = samples + 0.3 * wet
    return 0.6 * mixed / np.abs(mixed).max() + 0.0005 * rng.standard_normal(len(samples))


def speech(text: str, voice: str) -> np.ndarray:
    """Let espeak-ng say a sentence."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", path, text], check=True)
        return load_audio(path, RATE)[0]


def instrument(program: int, notes: list[tuple[int, float]]) -> np.ndarray:
    """Let fluidsynth play notes, ``(MIDI pitch, seconds)``, on a General MIDI program."""
    track = bytes([0, 0xC0, program])
    for pitch, duration in notes:
        ticks = round(duration * 100)  # below 128: one byte each
        track += bytes([0, 0x90, pitch, 96, ticks, 0x80, pitch, 0])
    track += bytes([100, 0xFF, 0x2F, 0])
    tempo = bytes([0, 0xFF, 0x51, 3]) + (1_000_000).to_bytes(3, "big")  # a quarter note is one second
    track = tempo + track
    header = b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1, 0, 100])
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
        midi.write_bytes(header + b"MTrk" + len(track).to_bytes(4, "big") + track)
        command = ["fluidsynth", "-q", "-n", "-i", "-r", str(RATE), "-F", str(wav), SOUNDFONT, str(midi)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return load_audio(wav, RATE)[0]


def smoke_alarm(duration: float) -> np.ndarray:
    """Three beeps of half a second and a pause, again and again, as the standard for smoke alarms asks."""
    time = seconds(duration)
    beep = sum(np.sin(2 * np.pi * 3100 * k * time) / k**2 for k in (1, 2, 3))
    phase = time % 4.0
    return beep * ((phase < 3.0) & (phase % 1.0 < 0.5))


def siren(duration: float) -> np.ndarray:
    """Make a tone with harmonics that wails up and down between 600 and 1,400 Hz."""
    time = seconds(duration)
    pitch = 1000 - 400 * np.cos(2 * np.pi * time / 3.0)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    harmonics = np.arange(1, 6)[:, None]
    return (np.sin(harmonics * phase) / harmonics).sum(axis=0)


def main() -> None:
    """Write every recording."""
    FOLDER.mkdir(exist_ok=True)
    words = speech("Good evening. The parcel is beside the gate, and the neighbours said hello.", "en-gb")
    melody = [(60, 0.4), (64, 0.4), (67, 0.4), (72, 0.8), (67, 0.4), (64, 0.4), (60, 0.9)]
    fanfare = [(60, 0.25), (60, 0.25), (60, 0.25), (64, 0.5), (67, 0.5), (64, 0.25), (67, 0.25), (72, 1.2)]
    alarm = smoke_alarm(5.0)
    both = 0.35 * alarm[: len(words)]
    both = np.pad(both, (0, len(words) - len(both))) + words / np.abs(words).max()
    for name, samples in {
        "speech.flac": room(words, 1),
        "smoke_alarm.wav": room(alarm, 2),
        "siren.mp3": room(siren(6.0), 3),
        "piano.ogg": room(instrument(0, melody), 4),
        "trumpet.ogg": room(instrument(56, fanfare), 5),
        "speech_and_smoke_alarm.flac": room(both, 6),
    }.items():
        soundfile.write(FOLDER / name, samples, RATE)
        print(f"{name:<28} {len(samples) / RATE:.1f} s")


if __name__ == "__main__":
    main()
