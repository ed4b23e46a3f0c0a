"""Speak made-up utterances with many synthetic voices: the synthetic part of nano-keyword's training audio.

    python -m training.keyword_voices kokoro --data DATA --work WORK --seed 1 --hours 1.2 --kokoro FOLDER
    python -m training.keyword_voices espeak --data DATA --work WORK --seed 2 --hours 3
    python -m training.keyword_voices flite --data DATA --work WORK --seed 3 --hours 1
    python -m training.keyword_voices kokoro --phrases --data DATA --work WORK --seed 99 --kokoro FOLDER

Each writes ``speech-VOICES-SEED.raw`` (int16, 16 kHz, one utterance after another) and a table of what is
said where, ``.csv``; with ``--phrases``, ``phrases-VOICES-SEED``: for fitting constants. Kokoro and,
half of the time, espeak-ng are given phonemes, so the labels are what is spoken, made-up words included; the
rest is given as text.

FOLDER holds ``kokoro.onnx`` (Kokoro-82M, Apache-2.0, the int8 export), its ``vocab.json`` and
``voices/*.bin``. Two voices are mixed at random, which gives any number of speakers.
"""

import argparse
import csv
import io
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from training.keyword_data import CHOOSING_SPOKEN
from training.keyword_text import Phones, Utterance, Writer, dictionary
from zsaudio.models.speech.phonemes import PHONEMES

RATE = 16000
Speak = Callable[[Utterance], tuple[np.ndarray, int, str]]  # waveform, its rate, the voice

KOKORO = dict(
    zip(
        PHONEMES,
        "ɑ æ ʌ ɔ W I b ʧ d ð ɛ ɜɹ A f ɡ h ɪ i ʤ k l m n ŋ O Y p ɹ s ʃ t θ ʊ u v w j z ʒ".split(),
        strict=True,
    )
)
ESPEAK = dict(
    zip(
        KOKORO,
        "A: a V O: aU aI b tS d D E 3: eI f g h I i: dZ k l m n N oU OI p r s S t T U u: v w j z Z".split(),
        strict=True,
    )
)
KOKORO_UK = KOKORO | {"OW": "Q", "ER": "ɜː", "AA": "ɑː", "IY": "iː", "UW": "uː", "AO": "ɔː"}
ESPEAK_VOICES = (
    "en-us en-gb en-gb-scotland en-gb-x-gbclan en-gb-x-rp en-gb-x-gbcwmd en-029 en-us-nyc en-us".split()
)
# variants of espeak-ng that sound like people
VARIANTS = (
    "Alex Alicia Andrea Andy Annie AnxiousAndy Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario "
    "Michael Mike Nguyen RicishayMax RicishayMax2 RicishayMax3 Storm Tweaky adam anika announcer antonio "
    "aunty belinda benjamin boris caleb david ed edward edward2 f1 f2 f3 f4 f5 grandma grandpa gustave iven "
    "iven2 iven3 john kaukovalta klatt klatt2 klatt3 klatt4 linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel "
    "miguel norbert pablo paul pedro quincy rob robert sandro shelby steph steph2 steph3 travis victor zac"
).split()
FLITE = ("awb", "rms", "slt", "kal16", "slt", "awb", "rms")


def silent_r(word: Phones) -> Phones:
    """Drop each R that no vowel follows, as in British English."""
    return tuple(
        phone
        for i, phone in enumerate(word)
        if phone != "R" or (i + 1 < len(word) and word[i + 1][-1].isdigit())
    )


def kokoro_text(words: tuple[Phones, ...], british: bool, flaps: bool) -> str:
    """Write phonemes in Kokoro's alphabet."""
    table, spoken = (KOKORO_UK if british else KOKORO), []
    for word in map(silent_r, words) if british else words:
        text = ""
        for i, phone in enumerate(word):
            base, stress = phone.rstrip("012"), phone[-1]
            text += {"1": "ˈ", "2": "ˌ"}.get(stress, "")
            between = 0 < i < len(word) - 1 and word[i - 1][-1].isdigit() and word[i + 1].endswith("0")
            if phone == "AH0":
                text += "ə"
            elif phone == "ER0":
                text += "ə" if british else "əɹ"
            elif phone == "T" and between and flaps and not british:
                text += "ɾ"
            else:
                text += table[base]
        spoken.append(text)
    return " ".join(spoken)


def espeak_text(words: tuple[Phones, ...], british: bool) -> str:
    """Write phonemes as espeak-ng's mnemonics."""
    spoken = []
    for word in map(silent_r, words) if british else words:
        text = ""
        for phone in word:
            text += {"1": "'", "2": ","}.get(phone[-1], "")
            text += {"AH0": "@", "ER0": "3"}.get(phone) or ESPEAK[phone.rstrip("012")]
        spoken.append(text)
    return "[[" + " ".join(spoken) + "]]"


def kokoro(folder: Path, rng: np.random.Generator) -> Speak:
    """Return a function that speaks with Kokoro, in mixtures of two of its voices."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "kokoro.onnx"), settings)
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    styles = {
        path.stem: np.fromfile(path, np.float32).reshape(-1, 256)
        for path in (folder / "voices").glob("*.bin")
    }
    native = sorted(name for name in styles if name[0] in "ab")
    foreign = sorted(name for name in styles if name[0] not in "ab")

    def pick() -> str:
        return str(rng.choice(native if rng.random() < 0.75 else foreign))

    def speak(utterance: Utterance) -> tuple[np.ndarray, int, str]:
        first, second, share = pick(), pick(), float(rng.uniform(0, 1))
        british = first[0] == "b" if rng.random() < 0.7 else bool(rng.random() < 0.3)
        text = kokoro_text(utterance.phones, british, rng.random() < 0.7) + str(
            rng.choice([".", "!", "?", ",", ""])
        )
        tokens = [vocabulary[char] for char in text]
        at = min(len(tokens), len(styles[first])) - 1
        style = (1 - share) * styles[first][at] + share * styles[second][at]
        speed = float(np.exp(rng.uniform(np.log(0.75), np.log(1.35))))
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[None].astype(np.float32),
            "speed": np.array([speed], np.float32),
        }
        return session.run(None, inputs)[0].ravel(), 24000, f"{first}+{second}"

    return speak


def espeak(rng: np.random.Generator) -> Speak:
    """Return a function that speaks with espeak-ng: its accents and variants, at many pitches and rates."""

    def speak(utterance: Utterance) -> tuple[np.ndarray, int, str]:
        voice = f"{rng.choice(ESPEAK_VOICES)}+{rng.choice(VARIANTS)}"
        as_text = "*" not in utterance.words and rng.random() < 0.5
        text = " ".join(utterance.words) if as_text else espeak_text(utterance.phones, "gb" in voice)
        pitch, rate = rng.integers(15, 90), rng.integers(110, 230)
        command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(rate), "--stdout", text]
        done = subprocess.run(command, capture_output=True, check=True)
        wave, wave_rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
        return wave, wave_rate, voice

    return speak


def flite(rng: np.random.Generator, work: Path, seed: int) -> Speak:
    """Return a function that speaks with flite, whose lexicon is the same dictionary."""
    path = work / f"flite-{seed}.wav"

    def speak(utterance: Utterance) -> tuple[np.ndarray, int, str]:
        if "*" in utterance.words:
            return np.zeros(0, np.float32), RATE, ""
        voice, stretch = str(rng.choice(FLITE)), float(rng.uniform(0.75, 1.35))
        settings = [
            "--setf",
            f"duration_stretch={stretch}",
            "--setf",
            f"int_f0_target_mean={rng.uniform(80, 220)}",
        ]
        subprocess.run(
            ["flite", "-voice", voice, *settings, "-t", " ".join(utterance.words), "-o", str(path)],
            check=True,
        )
        wave, wave_rate = soundfile.read(path, dtype="float32")
        return wave, wave_rate, voice

    return speak


def phrases(writer: Writer, alone: int = 12, within: int = 4) -> Iterator[Utterance]:
    """Yield the phrases for fitting constants: first alone, then inside sentences."""
    for turn in range(alone + within):
        for phrase in CHOOSING_SPOKEN:
            words = phrase.split() if turn < alone else writer.around(phrase.split(), CHOOSING_SPOKEN)
            yield Utterance(tuple(words), tuple(dictionary()[word][0] for word in words))


def trim(wave: np.ndarray) -> np.ndarray:
    """Cut the silence before and after speech, but for a twentieth of a second."""
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max(initial=1e-9))
    return wave[max(0, loud[0] - RATE // 20) : loud[-1] + RATE // 20] if len(loud) else wave


def main() -> None:
    """Speak for so many hours of audio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("voices", choices=["kokoro", "espeak", "flite"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--hours", type=float, default=np.inf)
    parser.add_argument("--phrases", action="store_true", help="speak those that constants are chosen on")
    parser.add_argument("--kokoro", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([options.seed, 1])
    if options.voices == "kokoro":
        speak = kokoro(options.kokoro, rng)
    elif options.voices == "espeak":
        speak = espeak(rng)
    else:
        speak = flite(rng, options.work, options.seed)
    name = options.work / f"{'phrases' if options.phrases else 'speech'}-{options.voices}-{options.seed}"
    writer = Writer(options.data, options.seed)
    utterances = phrases(writer) if options.phrases else iter(writer)
    position, started = 0, time.monotonic()
    with (
        name.with_suffix(".csv").open("w", newline="") as table,
        name.with_suffix(".raw").open("wb") as audio,
    ):
        rows = csv.writer(table)
        rows.writerow(["start", "samples", "words", "phones", "voice"])
        for number, utterance in enumerate(utterances):
            wave, rate, voice = speak(utterance)
            if not len(wave) or not np.isfinite(wave).all():
                continue
            wave = trim(soxr.resample(wave, rate, RATE))
            wave = np.round(wave * (20000 / max(np.abs(wave).max(), 1e-6))).astype("<i2")
            audio.write(wave.tobytes())
            phones = " | ".join(" ".join(word) for word in utterance.phones)
            rows.writerow([position, len(wave), " ".join(utterance.words), phones, voice])
            position += len(wave)
            if number % 200 == 0:
                table.flush(), audio.flush()
                spent = time.monotonic() - started
                print(f"{position / RATE / 3600:.2f} h of speech after {spent / 60:.1f} minutes", flush=True)
            if position >= options.hours * 3600 * RATE:
                break


if __name__ == "__main__":
    main()
