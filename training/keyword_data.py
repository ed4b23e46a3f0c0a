"""Training data of nano-keyword: rows of speech in noise, made anew for every step.

A row is six seconds long: utterances one after another, each with its own speed and level, in one room
(simulated or measured) with one microphone, with noise; some come over a telephone or a codec, some are
overloaded. Sources are the synthetic voices (``keyword_voices``), the recorded phrases, words and phrases of
other people (``keyword_people``) and, as noise, the CC0 and CC-BY clips of ESC-50's folds 1 to 4.

Conventions: waveforms are 16 kHz; targets are the symbols of ``keyword_network`` (0 is blank, never a
target).
"""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.fft import irfft, next_fast_len, rfft
from torch import Tensor

from training.data import FREE, esc50
from training.keyword_text import Banned, bare, dictionary
from zsaudio.models.speech.network import KeywordConfig, KeywordNetwork
from zsaudio.models.speech.phonemes import PHONEMES

RATE = 16000
HELD_OUT = ("jarvis", "alexa", "view glass")  # recorded phrases that nothing is learned or chosen from
CHOOSING = ("snowboy", "amelia", "trick or treat")  # not learned from: settings and scores are chosen on them
# the same, spoken by ``keyword_voices kokoro --phrases``; single words of them may be heard while training
CHOOSING_SPOKEN = (
    "kitchen, guitar, elephant, umbrella, emergency, blueberry, penguin, robot, banana, lemon, captain, "
    "violet, dragon, green lamp, hey google, open the window, good morning, lights out, grasshopper, "
    "turn it off, help me, monica, sandstorm, magic mirror, coffee please, "
    "fire, door, phone, moon, boat, juice, lamp, ghost"
).split(", ")
BY_HAND = {  # what the dictionary lacks
    "hadouken": "HH AH D UW K EH N",
    "dracarys": "D R AH K AA R IH S",
    "fenrir": "F EH N R IH R",
    "snowboy": "S N OW B OY",
    "savant": "S AH V AA N T",
    "chatterbox": "CH AE T ER B AA K S",
    "goodnight": "G UH D N AY T",
}
CODECS = (("WAV", "ULAW"), ("WAV", "GSM610"), ("OGG", "OPUS"), ("", ""))  # of telephones; the last is none
NUMBER = {phone: i + 1 for i, phone in enumerate(PHONEMES)}


@dataclass(frozen=True)
class Recording:
    """A recorded phrase: where it is in ``Recordings.audio``."""

    file: str
    phrase: str
    start: int
    samples: int


def pronounce(phrase: str) -> list[str]:
    """Return the phonemes of a recorded phrase."""
    return [
        phone
        for word in phrase.split()
        for phone in (BY_HAND[word].split() if word in BY_HAND else bare(dictionary()[word][0]))
    ]


class Recordings:
    """The recorded phrases, decoded once and kept in the work folder."""

    def __init__(self, data: Path, work: Path) -> None:
        path = work / "recordings.npy"
        with (data / "keywords" / "keywords.csv").open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        if not path.exists():
            waves = [soundfile.read(data / "keywords" / row["file"], dtype="int16")[0] for row in rows]
            np.save(path, np.concatenate(waves))
            np.save(work / "recordings-lengths.npy", np.array([len(wave) for wave in waves]))
        lengths = np.load(work / "recordings-lengths.npy")
        starts = np.cumsum(lengths) - lengths
        self.audio = np.load(path, mmap_mode="r")
        self.items = [
            Recording(row["file"], row["phrase"], int(start), int(length))
            for row, start, length in zip(rows, starts, lengths, strict=True)
        ]

    def wave(self, item: Recording) -> np.ndarray:
        """Return a recording as float32."""
        return self.audio[item.start : item.start + item.samples].astype(np.float32) / 32768


def noises(
    data: Path, work: Path, folds: tuple[int, ...] = (1, 2, 3, 4), free: bool | None = True
) -> np.ndarray:
    """Return clips of ESC-50 as int16, ``(clips, 80000)``; kept in the work folder.

    ``free``: those that are CC0 or CC-BY, those that are not, or (None) all.
    """
    kind = {True: "-free", False: "-other", None: ""}[free]
    path = work / f"noises-{''.join(map(str, folds))}{kind}.npy"
    if not path.exists():
        chosen = [s for s in esc50(data) if s.fold in folds and free in (None, s.licence in FREE)]
        clips = np.zeros((len(chosen), 5 * RATE), np.int16)
        for clip, sound in zip(clips, chosen, strict=True):
            wave = soundfile.read(sound.path, dtype="int16")[0][: len(clip)]
            clip[: len(wave)] = wave
        np.save(path, clips)
    return np.load(path, mmap_mode="r")


@dataclass(frozen=True)
class Spoken:
    """An utterance: where its samples are, its symbols and its words."""

    audio: np.ndarray
    start: int
    samples: int
    symbols: np.ndarray
    words: str
    voice: str  # synthetic voice, or file

    @property
    def phones(self) -> str:
        """Its phonemes as text."""
        return " ".join(PHONEMES[symbol - 1] for symbol in self.symbols)

    def wave(self) -> np.ndarray:
        """Return its waveform as float32."""
        return self.audio[self.start : self.start + self.samples].astype(np.float32) / 32768


def synthetic(path: Path) -> list[Spoken]:
    """Return what a table of ``keyword_voices`` says, as far as the run that made it got."""
    audio, found = np.memmap(path.with_suffix(".raw"), "<i2", "r"), []
    with path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            start, samples = int(row["start"] or 0), int(row["samples"] or 0)
            if row["voice"] and start + samples <= len(audio):
                phones = bare(tuple(row["phones"].replace("|", " ").split()))
                symbols = np.array([NUMBER[phone] for phone in phones], np.int64)
                found.append(Spoken(audio, start, samples, symbols, row["words"], row["voice"]))
    return found


def spoken(work: Path, data: Path) -> dict[str, list[Spoken]]:
    """Return all utterances by source: ``kokoro``, ``espeak``, ``flite``, ``people``, ``recorded``."""
    found: dict[str, list[Spoken]] = {}
    left_out = {word for phrase in CHOOSING for word in phrase.split() if len(word) > 2}
    for path in sorted(work.glob("speech-*.csv")):
        own = found.setdefault(path.name.split("-")[1], [])
        own += [item for item in synthetic(path) if not left_out & set(item.words.split())]
    recordings, banned = Recordings(data, work), Banned(data / "keywords" / "heldout_words.txt")
    found["recorded"] = []
    for r in recordings.items:
        if r.phrase not in HELD_OUT + CHOOSING and not any(w in banned.words for w in r.phrase.split()):
            symbols = np.array([NUMBER[phone] for phone in pronounce(r.phrase)])
            item = Spoken(recordings.audio, r.start, r.samples, symbols, r.phrase, r.file)
            found["recorded"].append(item)
    return found


def rooms(data: Path, most_s: float = 0.5) -> list[np.ndarray]:
    """Return the beginnings of the measured impulse responses; the loudest sample of each is 1."""
    found = []
    for path in sorted((data / "rooms" / "audio").iterdir()):
        response = soundfile.read(path, dtype="float32")[0]
        response = response[int(np.abs(response).argmax()) :][: int(most_s * RATE)]
        fade = np.minimum(1.0, np.arange(len(response), 0, -1) / (0.1 * RATE), dtype=np.float32)
        found.append(response * fade / response[0])
    return found


def trained(state: dict[str, Tensor]) -> KeywordNetwork:
    """Return the network of a checkpoint, for inference."""
    network = KeywordNetwork(KeywordConfig())
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class RowOptions:
    """How rows are made; probabilities and ranges."""

    seconds: float = 6.0
    sources: tuple[tuple[str, float], ...] = (
        ("kokoro", 0.15),
        ("espeak", 0.25),
        ("flite", 0.05),
        ("recorded", 0.25),
        ("people", 0.3),
    )
    spliced: float = 0.8  # of the recordings, where ``keyword_splice`` says where to cut
    cut_off: float = 0.25  # of the utterances that are not spliced: their first and last moments
    cut_off_s: float = 0.09
    speed: tuple[float, float] = (0.82, 1.22)
    room: float = 0.5  # half of them measured
    microphone: float = 0.6
    noise: float = 0.9
    snr: tuple[float, float] = (0.0, 24.0)
    telephone: float = 0.25  # nothing above 4 kHz, and a codec
    codec: float = 0.08  # a codec at 16 kHz
    overload: float = 0.08
    silent: float = 0.15  # rows in which nobody speaks
    gap_s: float = 0.4  # between utterances, on average


class Rows:
    """Makes rows.

    Parameters
    ----------
    data, work
        Where the sources are.
    seed
        Of the random numbers.
    options
        How rows are made.
    """

    def __init__(self, data: Path, work: Path, seed: int, options: RowOptions = RowOptions()) -> None:
        self.rng, self.options = np.random.default_rng(seed), options
        self.spoken, self.noises = spoken(work, data), noises(data, work)
        self.rooms = rooms(data)
        self._banned = Banned(data / "keywords" / "heldout_words.txt")
        cuts = work / "cuts.json"
        self._cuts: dict[str, list[int]] = json.loads(cuts.read_text()) if cuts.exists() else {}
        self._phrases: dict[str, list[Spoken]] = {}
        for item in self.spoken["recorded"] + self.spoken.get("people", []):
            self._phrases.setdefault(item.words, []).append(item)
        # common phrases are not heard as much more often as there are recordings of them
        weights = np.sqrt([len(items) for items in self._phrases.values()])
        self._phrase_share = weights / weights.sum()
        names, shares = zip(*((n, s) for n, s in options.sources if self.spoken.get(n)), strict=True)
        self._sources, self._shares = names, np.array(shares) / sum(shares)

    def batch(self, size: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return waveforms ``(size, samples)`` and the symbols spoken in each."""
        made = [self.row() for _ in range(size)]
        return np.stack([wave for wave, _ in made]), [symbols for _, symbols in made]

    def row(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a waveform and its symbols."""
        rng, options = self.rng, self.options
        length = int(options.seconds * RATE)
        row, symbols = np.zeros(length, np.float32), [np.zeros(0, np.int64)]
        at = int(rng.uniform(0, 0.6) * RATE)
        misses = 3 * int(rng.random() < options.silent)
        while misses < 3:
            wave, said = self._pick()
            wave = self._speed(wave)
            if at + len(wave) > length:
                misses += 1
                continue
            # the loudest tenth of a second decides: recordings have silence about them
            wave *= 10 ** (rng.uniform(-10, 0) / 20) * 0.1 / max(_loudness(wave), 1e-4)
            row[at : at + len(wave)] += wave
            symbols.append(said)
            at += len(wave) + int(RATE * rng.exponential(options.gap_s))
        row = self._filter(row)
        if rng.random() < options.noise:
            row += self._noise(length, 0.05 * 10 ** (-rng.uniform(*options.snr) / 20))
        row += rng.standard_normal(length, np.float32) * np.float32(10 ** rng.uniform(-5.0, -2.8))
        if rng.random() < options.overload:
            row *= rng.uniform(1.2, 4.0) / max(float(np.abs(row).max()), 1e-3)
            row = np.clip(row, -1, 1)
        chance = rng.random()
        if chance < options.telephone + options.codec:
            row = self._transmit(row, RATE // 2 if chance < options.telephone else RATE)
        row *= 10 ** (rng.uniform(-30, 8) / 20)
        return np.clip(row, -1, 1), np.concatenate(symbols)

    def _pick(self) -> tuple[np.ndarray, np.ndarray]:
        rng, options = self.rng, self.options
        source = self._sources[rng.choice(len(self._sources), p=self._shares)]
        if source in ("recorded", "people") and self._cuts and rng.random() < options.spliced:
            return self._splice()
        if source == "recorded":
            item = self._recording()
        else:
            items = self.spoken[source]
            item = items[int(rng.integers(len(items)))]
        wave = item.wave()
        if rng.random() < options.cut_off:
            first, last = rng.integers(0, min(int(options.cut_off_s * RATE), len(wave) // 4), 2)
            wave = wave[first : len(wave) - last]
        return wave, item.symbols

    def _recording(self) -> Spoken:
        items = list(self._phrases.values())[self.rng.choice(len(self._phrases), p=self._phrase_share)]
        return items[int(self.rng.integers(len(items)))]

    def _splice(self) -> tuple[np.ndarray, np.ndarray]:
        """Join pieces of recordings, cut between phonemes, so that real voices say other words, too."""
        rng = self.rng
        while True:
            pieces: list[np.ndarray] = []
            symbols: list[np.ndarray] = []
            for _ in range(int(rng.integers(2, 5))):
                item = self._recording()
                if item.voice not in self._cuts:
                    continue
                edges, n = self._cuts[item.voice], len(item.symbols)
                size = min(n, int(rng.integers(1, 6)))
                first = int(rng.integers(0, n - size + 1))
                if symbols and symbols[-1][-1] == item.symbols[first]:
                    continue  # two of a kind would melt into one
                piece = item.wave()[edges[first] : edges[first + size]]
                fade = np.minimum(1.0, np.arange(1, len(piece) + 1) / 80, dtype=np.float32)
                pieces.append(piece * fade * fade[::-1] / max(_loudness(piece), 1e-4))
                symbols.append(item.symbols[first : first + size])
            if not pieces:
                continue
            said = np.concatenate(symbols)
            if not self._banned.within(tuple(PHONEMES[symbol - 1] for symbol in said)):
                return np.concatenate(pieces), said

    def _speed(self, wave: np.ndarray) -> np.ndarray:
        """Play faster or slower, with pitch and formants."""
        low, high = self.options.speed
        size = next_fast_len(len(wave), real=True)
        wanted = next_fast_len(int(size / self.rng.uniform(low, high)), real=True)
        spectrum = rfft(wave, size)
        fitted = np.zeros(wanted // 2 + 1, np.complex64)
        n = min(len(fitted), len(spectrum))
        fitted[:n] = spectrum[:n]
        return irfft(fitted, wanted) * np.float32(wanted / size)

    def _filter(self, row: np.ndarray) -> np.ndarray:
        """Simulate a room and a microphone."""
        rng, options = self.rng, self.options
        in_room, by_microphone = rng.random() < options.room, rng.random() < options.microphone
        if not in_room and not by_microphone:
            return row
        size = next_fast_len(len(row) + RATE // 2, real=True)
        response = np.ones(size // 2 + 1, np.float32)
        if by_microphone:
            frequencies = np.linspace(0, RATE / 2, len(response))
            knots = np.array([0, 150, 300, 600, 1200, 2400, 4000, 6000, 8000])
            gains = rng.normal(0, 5, len(knots))
            if rng.random() < 0.3:  # a telephone, or a small loudspeaker
                gains[0] -= 30
                gains[1] -= 15
            if rng.random() < 0.3:
                gains[-1] -= 40
                gains[-2] -= rng.uniform(0, 40)
            response = response * 10 ** (np.interp(frequencies, knots, gains) / 20).astype(np.float32)
        if in_room:
            if rng.random() < 0.5:
                tail = self.rooms[int(rng.integers(len(self.rooms)))].copy()
                tail[1:] *= 10 ** (rng.uniform(-12, 0) / 20)  # the farther away, the more room
            else:
                tail_s = float(np.exp(rng.uniform(np.log(0.08), np.log(0.5))))
                t = np.arange(int(min(tail_s, 0.5) * RATE)) / RATE
                tail = rng.standard_normal(len(t)) * np.exp(-6.9 * t / tail_s)
                tail *= np.sqrt(10 ** (rng.uniform(-18, 3) / 10) / np.square(tail).sum())
                tail[0] = 1.0
            response = response * rfft(tail.astype(np.float32), size)
        return irfft(rfft(row, size) * response, size)[: len(row)]

    def _transmit(self, row: np.ndarray, rate: int) -> np.ndarray:
        """Send a row over a line: resampled to ``rate``, through a codec and back."""
        rng, length = self.rng, len(row)
        spectrum = rfft(row)
        if rate < RATE:
            frequencies = np.linspace(0, RATE / 2, len(spectrum))
            low, high = rng.uniform(60, 320), rng.uniform(3300, 3950)
            spectrum[(frequencies < low) | (frequencies > high)] = 0
            spectrum = spectrum[: length * rate // RATE // 2 + 1]
        sent = irfft(spectrum, length * rate // RATE) * np.float32(rate / RATE)
        sent *= rng.uniform(0.05, 0.95) / max(float(np.abs(sent).max()), 1e-4)
        container, codec = CODECS[int(rng.integers(len(CODECS)))]
        if codec == "GSM610" and rate == RATE:
            codec = "ULAW"
        if codec:
            file = io.BytesIO()
            settings = {"compression_level": float(rng.uniform(0.7, 1.0))} if codec == "OPUS" else {}
            soundfile.write(file, sent, rate, format=container, subtype=codec, **settings)
            file.seek(0)
            heard = soundfile.read(file, dtype="float32")[0][: len(sent)]
            sent = np.pad(heard, (0, len(sent) - len(heard)))
        received = np.zeros(length // 2 + 1, np.complex64)
        spectrum = rfft(sent)
        received[: len(spectrum)] = spectrum
        row = irfft(received, length) * np.float32(RATE / rate)
        if rng.random() < 0.5:
            row += rng.standard_normal(length, np.float32) * np.float32(10 ** rng.uniform(-5.0, -3.5))
        return row * np.float32(0.3 / max(float(np.abs(row).max()), 1e-3))

    def _noise(self, length: int, level: float) -> np.ndarray:
        rng = self.rng
        made = np.zeros(length, np.float32)
        for _ in range(int(rng.integers(1, 3))):
            clip = self.noises[int(rng.integers(len(self.noises)))].astype(np.float32)
            clip = np.resize(np.roll(clip, int(rng.integers(len(clip)))), length)
            made += clip * rng.uniform(0.3, 1.0) / max(float(np.sqrt(np.square(clip).mean())), 30.0)
        return made * np.float32(level)


def _loudness(wave: np.ndarray) -> float:
    """Return the root mean square of the loudest tenth of a second."""
    tenths = wave[: len(wave) // 1600 * 1600].reshape(-1, 1600)
    return float(np.sqrt(np.square(tenths).mean(1)).max(initial=1e-6))
