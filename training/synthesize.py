"""Make the synthetic part of nano's training sounds, 16 kHz FLAC files and ``manifest.csv``.

    python -m training.synthesize --data ../shared/data --work WORK

Speech comes from espeak-ng and flite, instruments from fluidsynth with the FluidR3 General MIDI soundfont,
the rest from formulas below. Every sound is labelled with what it is or clearly resembles. Column ``like``
names the ESC-50 class that a sound resembles, if any: a run that holds a class out leaves those sounds out.
"""

import argparse
import csv
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, fftconvolve, sosfilt

RATE = 16000
SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
Clip = tuple[np.ndarray, str, str]  # waveform, texts joined by "|", the ESC-50 class it resembles
Make = Callable[[], np.ndarray]
Sources = list[tuple[str, str, Iterator[Clip]]]  # source, licence, clips


def seconds(length: float) -> np.ndarray:
    """Return the times of the samples of so many seconds."""
    return np.arange(int(length * RATE)) / RATE


def tone(
    rng: np.random.Generator, frequency: np.ndarray | float, length: float, rich: float = 0.0
) -> np.ndarray:
    """Return a tone of constant or changing frequency; ``rich`` is the strength of its overtones."""
    steps = np.broadcast_to(frequency, int(length * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(steps)
    wave = np.sin(phase)
    for overtone in range(2, 9):
        wave = wave + rich * rng.uniform(0.2, 1.0) / overtone * np.sin(overtone * phase) * (
            steps * overtone < 0.45
        )
    return wave


def gate(pattern: list[tuple[float, float]], length: float) -> np.ndarray:
    """Return an on-off envelope with soft edges that repeats ``(on, off)`` seconds."""
    steps = np.concatenate([np.r_[np.ones(int(on * RATE)), np.zeros(int(off * RATE))] for on, off in pattern])
    envelope = np.resize(steps, int(length * RATE))
    return np.convolve(envelope, np.hanning(80) / np.hanning(80).sum(), "same")


def noise(rng: np.random.Generator, length: float, slope: float) -> np.ndarray:
    """Return noise whose spectrum falls by ``slope`` (0 white, 1 pink, 2 brown)."""
    n = int(length * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** (slope / 2)
    return np.fft.irfft(spectrum, n)


def strikes(rng: np.random.Generator, length: float, gap: float, make: Make) -> np.ndarray:
    """Return a short sound repeated about every ``gap`` seconds."""
    wave = np.zeros(int(length * RATE) + RATE)
    at = rng.uniform(0, min(gap, length / 2))
    while at < length - 0.05:
        hit = make()
        start = int(at * RATE)
        wave[start : start + len(hit)] += hit[: len(wave) - start]
        at += gap * rng.uniform(0.97, 1.03)
    return wave[: int(length * RATE)]


def ring(rng: np.random.Generator, partials: list[float], decay: float, length: float) -> np.ndarray:
    """Return struck partials that die away."""
    t = seconds(length)
    wave = np.zeros(len(t))
    for f in (f for f in partials if f < 7500):
        wave += np.sin(2 * np.pi * f * t) * np.exp(-t / (decay * rng.uniform(0.7, 1.3)))
    return wave


def room(rng: np.random.Generator, wave: np.ndarray) -> np.ndarray:
    """Return the sound in a made-up room: an echo tail of decaying noise."""
    t = seconds(rng.uniform(0.1, 0.6))
    tail = rng.standard_normal(len(t)) * np.exp(-6 * t / t[-1]) * rng.uniform(0.02, 0.15)
    tail[0] = 1.0
    return fftconvolve(wave, tail)[: len(wave)]


def signals(rng: np.random.Generator) -> Iterator[Clip]:  # noqa: PLR0915
    """Yield one of each kind of sound that a formula makes, with random numbers in it."""
    length = 4.0
    t = seconds(length)
    pitch = float(rng.uniform(700, 3800))
    rich = float(rng.choice([0.0, 0.3, 1.0]))

    def beeps(pattern: list[tuple[float, float]], frequency: float = pitch) -> np.ndarray:
        return tone(rng, frequency, length, rich) * gate(pattern, length)

    # what must not be taken for anything else
    for slope, name in ((0.0, "white noise"), (1.0, "pink noise"), (2.0, "brown noise")):
        yield noise(rng, length, slope), f"{name}|static noise|steady hiss", ""
    low = float(rng.uniform(100, 2000))
    band = butter(2, [low, min(7900, low * rng.uniform(1.5, 6))], "band", fs=RATE, output="sos")
    yield sosfilt(band, rng.standard_normal(len(t))), "static noise|filtered noise|steady noise", ""
    for _ in range(4):
        frequency = float(np.exp(rng.uniform(np.log(80), np.log(7000))))
        yield tone(rng, frequency, length), "a steady pure tone|sine wave|test tone", ""
    yield (
        tone(rng, float(rng.choice([250, 440, 500, 1000, 2000, 3000])), length),
        "a steady pure tone|sine wave",
        "",
    )
    yield np.zeros(len(t)), "silence|nothing to hear", ""
    yield (
        10 ** rng.uniform(-4.8, -3.5) * noise(rng, length, float(rng.uniform(0, 2))),
        "silence|near silence",
        "",
    )
    start, end = np.log(rng.uniform(100, 5000, 2))
    swing = np.exp(np.linspace(start, end, len(t)))
    yield tone(rng, swing, length), "a gliding tone|frequency sweep|sine sweep", ""
    yield tone(rng, float(rng.uniform(80, 900)), length, 1.5), "a buzzing tone|electric buzzer|buzz", ""
    hum = tone(rng, float(rng.choice([50, 60, 100, 120])), length, rng.uniform(0.2, 1.5))
    yield hum + 0.02 * noise(rng, length, 1), "mains hum|electric hum|humming", ""
    yield (
        beeps([(0.5, 0.5), (0.5, 0.5), (0.5, 1.5)], rng.uniform(2800, 3400)),
        "smoke alarm|smoke detector beeping|fire alarm",
        "",
    )
    yield (
        beeps([(0.12, 0.12)] * 3 + [(0.12, 0.7)], rng.uniform(2900, 3400)),
        "smoke alarm|smoke detector beeping",
        "",
    )
    quick = rng.uniform(0.05, 0.12)
    alarm = [(quick, quick)] * int(rng.integers(2, 5)) + [(quick, rng.uniform(0.3, 0.6))]
    yield beeps(alarm), "alarm clock|alarm clock beeping|digital alarm beeps", "clock alarm"
    yield (
        beeps([(rng.uniform(0.2, 0.5),) * 2], pitch),
        "alarm|beeping alarm|electronic beeping",
        "clock alarm",
    )
    yield (
        beeps([(rng.uniform(0.6, 1.0), rng.uniform(0.4, 1.0))], rng.uniform(1800, 2400)),
        "microwave beep|microwave oven beeping|kitchen timer",
        "",
    )
    yield beeps([(0.5, 0.5)], rng.uniform(900, 1400)), "truck reversing beeps|reverse beeper", ""
    morse = [(float(rng.choice([0.08, 0.24])), float(rng.choice([0.08, 0.24]))) for _ in range(14)]
    yield beeps(morse, rng.uniform(500, 900)), "morse code|morse code beeping", ""
    yield beeps([(0.1, 0.9)], 1000.0), "a short beep|time signal beeps", ""
    trill = np.where((t * rng.uniform(15, 25)) % 1 < 0.5, pitch / 2, pitch / 2 * rng.uniform(1.15, 1.3))
    yield (
        tone(rng, trill, length, rich) * gate([(1.2, 0.8)], length),
        "telephone ringing|phone ringing|electronic telephone ringer",
        "",
    )
    bell = [pitch * 0.6 * r for r in (1, 1.18, 2.4, 2.8, 4.1)]
    ringing = strikes(rng, length, 1 / rng.uniform(18, 26), lambda: ring(rng, bell, 0.12, 0.5))
    yield (
        ringing * gate([(1.4, 0.9)], length),
        "telephone bell ringing|old phone ringing|telephone ringing",
        "",
    )
    yield tone(rng, 350, length) + tone(rng, 440, length), "dial tone|telephone dial tone", ""
    busy = (tone(rng, 480, length) + tone(rng, 620, length)) * gate([(0.5, 0.5)], length)
    yield busy, "busy signal|telephone busy tone", ""
    rows, columns = np.array([697, 770, 852, 941]), np.array([1209, 1336, 1477])
    dial = np.repeat(rng.choice(rows, 16), RATE // 4), np.repeat(rng.choice(columns, 16), RATE // 4)
    yield (
        sum(tone(rng, f, length) for f in dial) * gate([(0.15, 0.1)], length),
        "dialling a telephone|telephone keypad tones",
        "",
    )
    low, high, period = rng.uniform(400, 700), rng.uniform(1000, 1700), rng.uniform(2.0, 5.0)
    wail = low + (high - low) * 0.5 * (1 - np.cos(2 * np.pi * (t / period + rng.uniform())))
    yield tone(rng, wail, length, 1.0), "siren|siren wailing|police siren", "siren"
    yelp = low + (high - low) * ((t * rng.uniform(2.5, 4.5)) % 1)
    yield tone(rng, yelp, length, 1.0), "siren|police siren yelping", "siren"
    two = np.where((t * rng.uniform(0.7, 1.2)) % 1 < 0.5, low, low * 1.33)
    yield tone(rng, two, length, 1.0), "siren|ambulance siren|two-tone siren", "siren"
    horn = rng.uniform(300, 450)
    honk = tone(rng, horn, length, 2.0) + tone(rng, horn * rng.uniform(1.18, 1.3), length, 2.0)
    blasts = [(float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.15, 0.8))) for _ in range(3)]
    yield honk * gate(blasts, length), "car horn|car honking", "car horn"
    yield (
        (tone(rng, rng.uniform(90, 180), length, 3.0)) * gate([(2.5, 1.5)], length),
        "fog horn|ship horn",
        "",
    )
    chime = rng.uniform(550, 800)
    ding = (
        ring(rng, [chime, chime * 3, chime * 5.4], 0.5, 1.6),
        ring(rng, [chime * 0.8, chime * 2.4], 0.7, 2.4),
    )
    door = np.concatenate([ding[0][: int(0.6 * RATE)], ding[1]])
    yield np.pad(door, (int(rng.uniform(0, 0.8) * RATE), 0)), "doorbell|doorbell ding dong|door chime", ""
    small = [rng.uniform(1500, 4000) * r for r in (1, 1.5, 2.3)]
    yield (
        strikes(rng, length, rng.uniform(0.5, 2), lambda: ring(rng, small, 0.4, 1.0)),
        "small bell|bell ding|reception bell",
        "church bells",
    )
    tick = [rng.uniform(1500, 5000), rng.uniform(2000, 7000)]
    yield (
        strikes(rng, length, rng.uniform(0.3, 1.0), lambda: ring(rng, tick, 0.006, 0.1)),
        "metronome|metronome ticking",
        "clock tick",
    )
    yield (
        strikes(rng, length, rng.uniform(0.5, 2.0), lambda: ring(rng, [4000, 2500], 0.002, 0.05)),
        "click|a short click|clicking",
        "mouse click",
    )
    geiger = strikes(rng, length, 0.05, lambda: ring(rng, [3500], 0.001, 0.02) * rng.uniform(0, 1) ** 3)
    yield geiger, "crackle of a geiger counter|electrical crackle|clicks", "crackling fire"
    thump = rng.uniform(40, 80)
    beat = strikes(
        rng,
        length,
        rng.uniform(0.6, 1.0),
        lambda: np.r_[ring(rng, [thump], 0.05, 0.25), ring(rng, [thump * 1.1], 0.04, 0.2)],
    )
    yield beat, "heartbeat|heart beating", ""


def drone(rng: np.random.Generator) -> np.ndarray:
    """Return propellers: harmonics of blade frequencies, nearly the same and wavering, and rushing air."""
    length = 4.0
    t = seconds(length)
    speed = np.exp(rng.uniform(np.log(90), np.log(600)))  # blades that pass in a second
    points = np.linspace(0, length, int(rng.integers(3, 12)))
    climb = np.interp(t, points, rng.normal(1, rng.uniform(0.002, 0.06), len(points)))
    harmonics = np.arange(1, 40)
    strengths = harmonics ** -rng.uniform(0.2, 1.6) * np.exp(rng.normal(0, 0.7, len(harmonics)))
    wave = np.zeros(len(t))
    for _ in range(int(rng.choice([3, 4, 4, 4, 6, 8]))):
        wobble = sosfilt(butter(1, 4, fs=RATE, output="sos"), rng.standard_normal(len(t)))
        steady = rng.normal(1, 0.02) * climb + rng.uniform(0.002, 0.01) * wobble / wobble.std()
        phase = 2 * np.pi * np.cumsum(speed * steady) / RATE
        for harmonic, strength in zip(harmonics, strengths, strict=True):
            if harmonic * speed < 7000:
                wave += strength * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    air = noise(rng, length, rng.uniform(0.0, 1.5))
    return wave / wave.std() + 10 ** (rng.uniform(-25, 3) / 20) * air / air.std()


def drones(rng: np.random.Generator, count: int) -> Iterator[Clip]:
    """Yield made-up drones."""
    for _ in range(count):
        yield drone(rng), "drone|drone flying|quadcopter|buzzing propellers of a small drone", "helicopter"


def midi(events: list[tuple[float, bytes]]) -> bytes:
    """Return a MIDI file of ``(time in seconds, message)``."""

    def number(value: int) -> bytes:
        parts = [value & 127]
        while value := value >> 7:
            parts.append(128 | value & 127)
        return bytes(reversed(parts))

    track, before = b"", 0
    for time, message in sorted(events, key=lambda e: e[0]):
        now = round(time * 960)  # 480 ticks a quarter note of half a second
        track += number(now - before) + message
        before = now
    track += number(960) + b"\xff\x2f\x00"
    return b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1, 1, 224]) + b"MTrk" + len(track).to_bytes(4, "big") + track


def instruments(rng: np.random.Generator, table: Path) -> Iterator[Clip]:
    """Yield every General MIDI instrument and drum, playing something random."""
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    length, pause = 4.0, 1.5
    events: list[tuple[float, bytes]] = []
    for index, row in enumerate(rows):
        start, number = index * (length + pause), int(row["number"])
        loud = int(rng.integers(60, 120))
        if row["kind"] == "program":
            events.append((start, bytes([0xC0, number])))
            low = 28 if "bass" in row["name"] or "tuba" in row["name"] else 48
            key, at = int(rng.integers(low, low + 24)), 0.0
            step, chord = float(rng.choice([0.2, 0.35, 0.6, 1.2])), rng.random() < 0.3
            while at < length - 0.1:
                for note in (key, key + 4, key + 7) if chord else (key,):
                    events.append((start + at, bytes([0x90, note, loud])))
                    events.append((min(start + at + step * 0.95, start + length), bytes([0x80, note, 0])))
                key = int(np.clip(key + rng.choice([-5, -3, -2, -1, 1, 2, 3, 5]), low, low + 36))
                at += step
        else:
            at, step = float(rng.uniform(0, 0.3)), float(rng.choice([0.15, 0.25, 0.5, 1.0]))
            while at < length:
                events.append((start + at, bytes([0x99, number, loud])))
                events.append((start + at + 0.1, bytes([0x89, number, 0])))
                at += step
    with tempfile.TemporaryDirectory() as folder:
        score, wav = Path(folder) / "score.mid", Path(folder) / "score.wav"
        score.write_bytes(midi(events))
        command = ["fluidsynth", "-niq", "-g", "0.7", "-r", str(RATE), "-F", str(wav), SOUNDFONT, str(score)]
        subprocess.run(command, check=True, capture_output=True)
        audio = soundfile.read(wav, always_2d=True)[0].mean(1)
    for index, row in enumerate(rows):
        start = int(index * (length + pause) * RATE)
        music = "music|musical instrument" if row["kind"] == "program" else "drum kit|percussion"
        yield (
            audio[start : start + int((length + 0.8) * RATE)],
            f"{row['name']}|{row['family']}|{music}",
            row["like"],
        )


def speech(rng: np.random.Generator, sentences: list[str], count: int) -> Iterator[Clip]:
    """Yield sentences in many synthetic voices."""
    voices = {
        "man": ["m1", "m2", "m3", "m4", "m6", "m7", "klatt", "klatt3"],
        "woman": ["f1", "f2", "f3", "f4", "f5"],
        "child": ["f2", "f5"],
        "whisper": ["whisper", "whisperf"],
    }
    texts = {
        "man": "a man speaking|speech|male voice talking|a person speaking",
        "woman": "a woman speaking|speech|female voice talking|a person speaking",
        "child": "a child speaking|speech|high-pitched voice talking",
        "whisper": "whispering|a person whispering|whispered speech",
    }
    with tempfile.TemporaryDirectory() as folder:
        wav = str(Path(folder) / "speech.wav")
        for _ in range(count):
            sentence = str(rng.choice(sentences))
            kind = str(rng.choice(list(voices), p=[0.4, 0.35, 0.12, 0.13]))
            if kind in ("man", "woman") and rng.random() < 0.35:
                voice = "slt" if kind == "woman" else str(rng.choice(["rms", "awb", "kal16"]))
                stretch = rng.uniform(0.8, 1.3)
                command = [
                    "flite",
                    "-voice",
                    voice,
                    "--setf",
                    f"duration_stretch={stretch:.2f}",
                    "-t",
                    sentence,
                    "-o",
                    wav,
                ]
            else:
                accent = rng.choice(["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbcwmd"])
                voice = f"{accent}+{rng.choice(voices[kind])}"
                pitch = rng.integers(85, 99) if kind == "child" else rng.integers(25, 65)
                command = [
                    "espeak-ng",
                    "-v",
                    voice,
                    "-p",
                    str(pitch),
                    "-s",
                    str(rng.integers(120, 200)),
                    "-w",
                    wav,
                    sentence,
                ]
            subprocess.run(command, check=True, capture_output=True)
            wave, rate = soundfile.read(wav)
            n = int(len(wave) * RATE / rate)
            resampled = np.fft.irfft(np.fft.rfft(wave)[: n // 2 + 1], n) * n / len(wave)
            yield resampled[: 6 * RATE], texts[kind], ""


def speakable(data: Path) -> list[str]:
    """Return captions that hold none of the words that no training audio may contain."""
    lines = (data / "keywords" / "heldout_words.txt").read_text(encoding="utf-8").splitlines()
    words = sorted({word for line in lines if not line.startswith("#") for word in line.lower().split()})
    forbidden = re.compile("|".join(re.escape(word) for word in words if len(word) > 2) or "$^")
    short = {word for word in words if len(word) <= 2}
    captions = sorted(
        set((data / "text" / "audio_captions.txt").read_text(encoding="utf-8").lower().splitlines())
    )
    fine = [c for c in captions if not forbidden.search(c) and not short & set(re.findall(r"[a-z]+", c))]
    return [c for c in fine if 4 <= len(c.split()) <= 12]


def write(folder: Path, first: int, sources: Sources, rng: np.random.Generator) -> int:
    """Write clips and their rows of the manifest; return the number of the next clip."""
    folder.mkdir(parents=True, exist_ok=True)
    count = first
    with (folder / "manifest.csv").open("a" if first else "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        if not first:
            writer.writerow(["file", "texts", "like", "licence", "source"])
        for source, licence, clips in sources:
            for wave, texts, like in clips:
                final = wave
                if np.abs(wave).max() > 1e-2:  # silence stays silent
                    final = wave if rng.random() < 0.5 else room(rng, wave)
                    final = final / np.abs(final).max() * 10 ** rng.uniform(-1.3, -0.05)
                name = f"{count:05d}.flac"
                soundfile.write(folder / name, final, RATE)
                writer.writerow([name, texts, like, licence, source])
                count += 1
    return count


def main() -> None:
    """Write the clips and the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="folder for caches and checkpoints")
    options = parser.parse_args()
    folder = options.work / "synthetic"
    table = Path(__file__).parent / "general_midi.csv"
    count = 0
    for seed, rounds, plays, sentences, flights in ((0, 12, 6, 350, 0), (1, 24, 6, 0, 0), (2, 0, 0, 0, 120)):
        rng = np.random.default_rng(seed)
        sources: Sources = [
            *[("formula", "CC0", signals(rng)) for _ in range(rounds)],
            *[("FluidR3 GM soundfont", "MIT", instruments(rng, table)) for _ in range(plays)],
            ("espeak-ng and flite", "CC0", speech(rng, speakable(options.data), sentences)),
            ("formula", "CC0", drones(rng, flights)),
        ]
        count = write(folder, count, sources, rng)
    print(f"{count} clips in {folder}")


if __name__ == "__main__":
    main()
