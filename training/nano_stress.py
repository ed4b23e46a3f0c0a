"""How the shipped nano fares where things are not as in training: noise, a telephone, other words and sounds.

    python -m training.nano_stress noise --data DATA       # noise 10 dB below the sound, and a telephone
    python -m training.nano_stress synonyms --data DATA    # each class by another name
    python -m training.nano_stress strangers --data DATA   # labels that are told where none is true
                                                           # [--background @music-instruments]
    python -m training.nano_stress instruments --data DATA # which of ten instruments it is
    python -m training.nano_stress drones --data DATA      # how often "drone" is told of drones
    python -m training.nano_stress confusion --data DATA --figure FILE

All but ``strangers``, ``instruments`` and ``drones`` look at the 230 clips of ESC-50 that the shipped weights
did not learn from. The other names are in ``synonyms.csv``; none of them is a text that nano learned.
"""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, sosfilt
from scipy.special import expit
from soxr import resample

from training.data import FREE, Sound, esc50, instruments, read_rows, read_waveform
from training.keyword_data import HELD_OUT
from zsaudio import LabelSet, Recognizer
from zsaudio.detection.scoring import pool_frames
from zsaudio.evaluation.clips import Evaluation
from zsaudio.evaluation.metrics import accuracy
from zsaudio.evaluation.report import draw_confusion
from zsaudio.labels import builtin_label_sets
from zsaudio.models.nano.nano import Nano

RATE = 16000
NOISE_DB = 10.0
COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0}  # power falls with frequency to this power
# Labels of the sets that are true of a kind of strangers, more or less: telling them is no mistake.
TRUE = {
    "speech": {"speech", "crowd talking", "shouting"},
    "instruments": {"music", "street music"},
    "noise": set(),
    "drones": {"drone", "helicopter", "airplane"},
}


def held_out(data: Path) -> tuple[list[Sound], list[str]]:
    """Return the clips that the shipped weights did not learn from, and the fifty names."""
    sounds = esc50(data)
    names = sorted({sound.category for sound in sounds})
    return [sound for sound in sounds if sound.licence not in FREE], names


def classify(nano: Nano, waves: list[np.ndarray], names: list[str]) -> np.ndarray:
    """Return the log-odds ``(n_waves, n_names)`` of clips."""
    bank = nano.embed_labels(LabelSet(names))
    return np.stack([pool_frames(nano.logits([wave], bank)[0]) for wave in waves])


def coloured(rng: np.random.Generator, samples: int, slope: float) -> np.ndarray:
    """Return noise of a colour, with a root mean square of 1."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequencies = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum *= np.maximum(frequencies, 20.0) ** (-slope / 2)
    wave = np.fft.irfft(spectrum, samples)
    return np.asarray(wave / np.sqrt(np.square(wave).mean()), np.float32)


def telephone(wave: np.ndarray) -> np.ndarray:
    """Return what a telephone leaves: 300 to 3,400 Hz, sampled at 8 kHz."""
    narrow = sosfilt(butter(6, (300, 3400), "bandpass", fs=8000, output="sos"), resample(wave, RATE, 8000))
    return np.asarray(resample(narrow, 8000, RATE), np.float32)


def changed(waves: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Return clips as they are, over a telephone, and in noise of each colour, by kind."""
    rng = np.random.default_rng(0)
    kinds = {"clean": waves, "telephone": [telephone(wave) for wave in waves]}
    for colour, slope in COLOURS.items():
        noisy = []
        for wave in waves:
            level = np.sqrt(np.square(wave).mean()) * 10 ** (-NOISE_DB / 20)
            noisy.append(wave + np.float32(level) * coloured(rng, len(wave), slope))
        kinds[f"{colour} noise {NOISE_DB:g} dB below"] = noisy
    return kinds


def report_noise(options: argparse.Namespace) -> None:
    """Print accuracy in noise and over a telephone."""
    sounds, names = held_out(options.data)
    nano, truth = Nano(), np.array([names.index(sound.category) for sound in sounds])
    for kind, waves in changed([read_waveform(sound.path, RATE) for sound in sounds]).items():
        print(f"{kind}: {accuracy(classify(nano, waves, names), truth):.1%} of {len(truth)}")


def report_synonyms(options: argparse.Namespace) -> None:
    """Print accuracy with the classes' names and with other names."""
    sounds, names = held_out(options.data)
    rows = read_rows(Path(__file__).with_name("synonyms.csv"))
    other = {row["category"]: row["synonym"] for row in rows}
    learned = {text for sound in esc50(options.data) for text in sound.texts}
    assert not learned & set(other.values()), learned & set(other.values())
    nano, waves = Nano(), [read_waveform(sound.path, RATE) for sound in sounds]
    truth = np.array([names.index(sound.category) for sound in sounds])
    for kind, texts in (("names", names), ("synonyms", [other[name] for name in names])):
        logits = classify(nano, waves, texts)
        wrong = Counter(names[t] for t, b in zip(truth, logits.argmax(axis=1), strict=True) if t != b)
        print(f"{kind}: {accuracy(logits, truth):.1%}; most wrong: {wrong.most_common(6)}")


def strangers(data: Path) -> dict[str, list[np.ndarray]]:
    """Return sounds of which hardly any label is true, by kind.

    Nano heard none of these recordings: it learned from others of the same instruments and of speech.
    """
    rng = np.random.default_rng(0)
    spoken = [
        row["file"] for row in read_rows(data / "keywords" / "keywords.csv") if row["phrase"] in HELD_OUT
    ]
    files = {
        "speech": [data / "keywords" / spoken[i] for i in rng.permutation(len(spoken))[:300]],
        "instruments": [sound.path for sound in instruments(data, learned=False)],
        "drones": sorted((data / "drone" / "audio").iterdir()),
    }
    found = {kind: [read_waveform(path, RATE) for path in paths] for kind, paths in files.items()}
    found["noise"] = [
        np.float32(10 ** (rng.uniform(-60, -10) / 20)) * coloured(rng, 5 * RATE, rng.uniform(0, 2))
        for _ in range(300)
    ]
    return found


def report_strangers(options: argparse.Namespace) -> None:
    """Print scores of the best untrue label, and how many clips are given one at the default threshold."""
    sets = [name for name in builtin_label_sets() if not LabelSet.builtin(name)[0].is_keyword]
    kinds = strangers(options.data)
    others = LabelSet.join([LabelSet.parse(options.background)]) if options.background else ()
    for name in sets:
        labels = LabelSet.builtin(name)
        background = [replace(label, background=True) for label in others if label.name not in labels.names]
        recognizer = Recognizer(LabelSet([*labels, *background], labels.templates))
        for kind, waves in kinds.items():
            if kind == "instruments" and name == "music-instruments":
                continue  # there a label is true
            best = [
                max((t for t in clip.tags if t.label not in TRUE[kind]), key=lambda tag: tag.score)
                for clip in recognizer.tag_batch(waves, RATE)
            ]
            scores = np.array([tag.score for tag in best])
            told = Counter(tag.label for tag in best if tag.score >= 0.5)
            quartiles = " ".join(f"{q:.2f}" for q in np.quantile(scores, [0.5, 0.9, 0.99]))
            print(
                f"@{name} on {len(waves)} of {kind}: best untrue score, 50, 90 and 99 %: {quartiles}; "
                f"0.5 or more: {np.mean(scores >= 0.5):.1%} {dict(told.most_common(4))}",
                flush=True,
            )


def report_drones(options: argparse.Namespace) -> None:
    """Print how often "drone" is told of drones, of which nano learned made-up ones, and of other sounds."""
    others = [read_waveform(sound.path, RATE) for sound in held_out(options.data)[0]]
    nano, kinds = Nano(), strangers(options.data) | {"held-out clips": others}
    for kind, waves in kinds.items():
        told = expit(classify(nano, waves, ["drone"])) >= 0.5
        print(f"{kind}: a score of 0.5 or more in {told.mean():.1%} of {len(waves)}")


def report_instruments(options: argparse.Namespace) -> None:
    """Print how often recordings of instruments that nano did not hear are told apart."""
    sounds = instruments(options.data, learned=False)
    names = sorted({sound.texts[0] for sound in sounds})
    logits = classify(Nano(), [read_waveform(sound.path, RATE) for sound in sounds], names)
    truth = np.array([names.index(sound.texts[0]) for sound in sounds])
    told = logits[np.arange(len(truth)), truth] >= 0
    print(f"{len(truth)} recordings, {len(names)} instruments: {accuracy(logits, truth):.1%}; ", end="")
    print(f"a score of 0.5 or more for the true one: {told.mean():.1%}")
    right = truth[logits.argmax(axis=1) == truth]
    counts = zip(names, np.bincount(right, minlength=len(names)), np.bincount(truth), strict=True)
    print(", ".join(f"{name} {own}/{count}" for name, own, count in counts))


def report_confusion(options: argparse.Namespace) -> None:
    """Draw what the held-out clips of each class are taken for."""
    sounds, names = held_out(options.data)
    logits = classify(Nano(), [read_waveform(sound.path, RATE) for sound in sounds], names)
    truth = np.array([[sound.category == name for name in names] for sound in sounds])
    evaluation = Evaluation("nano", "230 held-out clips", "own", tuple(names), logits, truth)
    draw_confusion(evaluation, options.figure)
    print(options.figure)


FIGURES = {
    "noise": report_noise,
    "synonyms": report_synonyms,
    "strangers": report_strangers,
    "instruments": report_instruments,
    "drones": report_drones,
    "confusion": report_confusion,
}


def main() -> None:
    """Print one figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=list(FIGURES))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--background", help="labels that compete with the others in `strangers`")
    parser.add_argument("--figure", type=Path, default=Path("confusion.png"), help="where `confusion` draws")
    options = parser.parse_args()
    torch.set_num_threads(1)
    FIGURES[options.what](options)


if __name__ == "__main__":
    main()
