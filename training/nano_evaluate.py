"""nano's figures, one a command.

    python -m training.nano_evaluate folds --data DATA --work WORK        # 50 names, folds never heard
    python -m training.nano_evaluate partitions --data DATA --work WORK   # 10 classes never heard
    python -m training.nano_evaluate inner --data DATA --work WORK        # to choose settings on
    python -m training.nano_evaluate heldout --data DATA                  # shipped weights, 230 clips
    python -m training.nano_evaluate mixtures --data DATA                 # shipped weights, 2-3 sounds
    python -m training.nano_evaluate guesses --data DATA --work WORK      # shipped weights, unknown names
    python -m training.nano_evaluate unknown                              # what must not be claimed
    python -m training.nano_evaluate speed                                # ten minutes, decoding included
    python -m training.nano_evaluate captions --work WORK                 # text tower against its teacher

The first reads the folders that `nano_export write --fold N` wrote into the work folder, the next two
checkpoints of `nano_audio train`, the next three the weights inside the package. All but checkpoints run
through the class that users run.
"""

import argparse
import os
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.special import expit

from training.data import FREE, Sound, esc50, others, partition, read_waveform
from training.mixtures import mixtures
from training.nano_audio import read_captions
from training.nano_network import TrainedAudio
from training.nano_text import heldout_cosines, load_text, sentences
from zsaudio import Recognizer
from zsaudio.detection.scoring import pool_frames
from zsaudio.evaluation.metrics import average_precision, reliability
from zsaudio.labels import LabelSet
from zsaudio.models.nano.nano import Nano

MADE_UP = re.compile("synth|lead|pad|ensemble|effect|tremolo")
EXTRA = (
    "knocking on a door, water running, laughter, speech, kettle whistling, siren, rain, water dripping, "
    "blender, frying food, singing, television, door creaking, bell, beep, wind, engine, bird, alarm, thunder"
).split(", ")


class Checkpoint:
    """A checkpoint of nano's own network with both heads, which knows nothing of AudioSet."""

    def __init__(self, file: Path, work: Path) -> None:
        state = torch.load(file)
        self.audio = TrainedAudio().eval()
        self.audio.load_state_dict(state["audio"])
        self.text = load_text(work)
        self.text.known = state["known"]
        self.scale = state["scale"] * (1 + self.audio.space.semantic**2) ** 0.5
        self.bias = state["bias"]

    @torch.inference_mode()
    def encode_text(self, texts: list[str]) -> np.ndarray:
        """Return the embeddings of texts."""
        return self.text.label_embedding(sentences(self.text, texts)).numpy()

    @torch.inference_mode()
    def encode_audio(self, windows: list[np.ndarray]) -> list[np.ndarray]:
        """Return per window the embeddings of its frames."""
        return [self.audio(torch.from_numpy(window)[None])[0].numpy() for window in windows]


def classify(model: Nano | Checkpoint, sounds: list[Sound], names: list[str]) -> np.ndarray:
    """Return the clip-level log-odds ``(n_sounds, n_names)``."""
    text = model.encode_text(names)
    rows = []
    for sound in sounds:
        frames = model.encode_audio([read_waveform(sound.path, 16000)])[0]
        rows.append(pool_frames(model.scale * (frames @ text.T) + model.bias))
    return np.stack(rows)


def accuracy(model: Nano | Checkpoint, sounds: list[Sound], names: list[str]) -> tuple[float, list[str]]:
    """Return how often the best of the names is right, and which name was best."""
    heard = [names[best] for best in classify(model, sounds, names).argmax(1)]
    right = [sound.category == name for sound, name in zip(sounds, heard, strict=True)]
    return float(np.mean(right)), heard


def mixture_scores(
    model: Nano | Checkpoint, sounds: list[Sound], names: list[str], count: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return cosines of frames to names, and what is there, for mixtures of two or three sounds."""
    mixed, truth = mixtures(sounds, names, count, seed=0)
    text = model.encode_text(names)
    return [model.encode_audio([wave])[0] @ text.T for wave in mixed], truth


def unknown_windows() -> dict[str, np.ndarray]:
    """Return sounds of which no label may be claimed."""
    rng = np.random.default_rng(7)
    t = np.arange(160000) / 16000
    noise = rng.standard_normal(160000)
    windows = {"digital silence": 0 * t, "near silence": 1e-4 * noise}
    windows |= {f"white noise {db} dB": 10 ** (db / 20) * noise for db in (-50, -30, -20, -10)}
    for frequency in (440, 1000, 3000):
        windows |= {
            f"{frequency} Hz at {db} dB": 10 ** (db / 20) * np.sin(2 * np.pi * frequency * t)
            for db in (-30, -6)
        }
    return {name: wave.clip(-1, 1).astype(np.float32) for name, wave in windows.items()}


def report_mixtures(
    model: Nano | Checkpoint, sounds: list[Sound], names: list[str], count: int = 500
) -> None:
    """Print average precision and calibration on mixtures."""
    cosines, truth = mixture_scores(model, sounds, names, count)
    scores = expit(np.stack([pool_frames(model.scale * c + model.bias) for c in cosines]))
    precision = np.nanmean(average_precision(scores, truth))
    error = reliability(scores, truth).ece
    print(
        f"mixtures: mAP {precision:.3f}, ECE {error:.4f}, "
        f"mean score {scores.mean():.4f}, mean truth {truth.mean():.4f}"
    )


def report_details(clips: list[Sound], names: list[str], heard: list[str]) -> None:
    """Print what each class was taken for."""
    for name in names:
        taken = Counter(h for clip, h in zip(clips, heard, strict=True) if clip.category == name)
        wrong = ", ".join(f"{other} {n}" for other, n in taken.most_common() if other != name)
        print(f"| {name} | {taken[name]}/{sum(taken.values())} | {wrong} |")


def report_captions(options: argparse.Namespace) -> None:
    """Print how close the text tower is to its teacher on texts that it never read."""
    for kind, value in heldout_cosines(load_text(options.work), options.work).items():
        print(f"{kind}: mean cosine to the teacher {value:.4f}")


def report_guesses(options: argparse.Namespace) -> None:
    """Print how often names that nano does not know are told apart.

    They are those ten of the soundfont's instruments whose names are least like a known one; synthesiser
    sounds and ensembles, whose names say little of the sound, are left out.
    """
    nano = Nano()
    played: dict[str, list[Sound]] = {}
    for sound in others(options.data, options.work):
        if "soundfont" in sound.source and not MADE_UP.search(sound.texts[0]):
            played.setdefault(sound.texts[0], []).append(sound)
    placed = {name: nano.nearest([name], 1)[0][0] for name in played}
    names = sorted(played, key=lambda name: placed[name][1])[:10]
    right = []
    for name in names:
        heard = classify(nano, played[name], names).argmax(1)
        right.append(float(np.mean(heard == names.index(name))))
        print(f"{name} (nearest known name: {placed[name][0]}, {placed[name][1]:.2f}): {right[-1]:.0%}")
    print(f"mean of {len(names)}: {np.mean(right):.1%}")


def report_unknown(options: argparse.Namespace) -> None:
    """Print the highest score among many names for silence, noises and tones."""
    nano = Nano()
    names = list(dict.fromkeys([*LabelSet.builtin("home").names, *EXTRA]))
    text = nano.encode_text(names)
    for name, window in unknown_windows().items():
        scores = expit(pool_frames(nano.scale * (nano.encode_audio([window])[0] @ text.T) + nano.bias))
        print(f"{name}: {names[scores.argmax()]} {scores.max():.3f}")


def report_speed(options: argparse.Namespace) -> None:
    """Tag a recording of ten minutes, decoded and resampled from 48 kHz FLAC, on all cores."""
    minute = np.random.default_rng(1).standard_normal(60 * 48_000) * 0.05
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ten-minutes.flac"
        soundfile.write(path, np.tile(minute, 10), 48_000)
        recognizer = Recognizer("@home", dtype=options.dtype)
        recognizer.tag(minute[:48_000], 48_000)
        started = time.perf_counter()
        recognizer.tag(path)
        spent = time.perf_counter() - started
    print(f"10 minutes tagged in {spent:.2f} s: {600 / spent:.0f} times real time, {os.cpu_count()} cores")


def report_shipped(options: argparse.Namespace) -> None:
    """Print the shipped weights' accuracy, or their scores on mixtures, on the clips that are not free."""
    clips = esc50(options.data)
    names = sorted({clip.category for clip in clips})
    clips = [clip for clip in clips if clip.licence not in FREE]
    nano = Nano(dtype=options.dtype)
    if options.figure == "mixtures":
        report_mixtures(nano, clips, names)
        return
    value, heard = accuracy(nano, clips, names)
    print(f"{len(clips)} held-out clips, {len(names)} names: {value:.2%}")
    if options.details:
        report_details(clips, names, heard)


def report_unheard(options: argparse.Namespace) -> None:
    """Print the accuracy on each fold, or on each partition's classes, that a checkpoint never heard."""
    kind, clips = options.figure.removesuffix("s"), esc50(options.data)
    values: list[float] = []
    tested: list[Sound] = []
    heard: list[str] = []
    for number in range(1, 6):
        file, folder = options.work / f"{kind}{number}.pt", options.work / f"{kind}{number}"
        if not (folder.exists() if kind == "fold" else file.exists()):
            continue
        model = Nano(folder) if kind == "fold" else Checkpoint(file, options.work)
        if kind == "fold":
            names, own = sorted({c.category for c in clips}), [c for c in clips if c.fold == number]
        else:
            names = partition(number)
            own = [clip for clip in clips if clip.category in names]
        value, best = accuracy(model, own, names)
        values.append(value)
        tested += own
        heard += best
        print(f"{kind} {number}, {len(own)} clips, {len(names)} names: {value:.2%}", flush=True)
        if kind == "fold":
            report_mixtures(model, own, names)
    if not values:
        raise SystemExit(f"{options.work} holds none of the runs {kind}1 to {kind}5")
    spread = f", standard deviation {np.std(values, ddof=1):.2%}" if len(values) > 1 else ""
    print(f"mean of {len(values)}: {np.mean(values):.2%}{spread}")
    if options.details:
        report_details(tested, sorted({clip.category for clip in tested}), heard)


def report_inner(options: argparse.Namespace) -> None:
    """Print the figures on which settings are chosen."""
    model = Checkpoint(options.work / f"{options.checkpoint or 'inner'}.pt", options.work)
    unseen, clips = partition(2), esc50(options.data)
    seen = sorted({clip.category for clip in clips} - set(unseen))
    known = [clip for clip in clips if clip.fold == 4 and clip.category in seen]
    new = [clip for clip in clips if clip.fold < 5 and clip.category in unseen]
    value, heard = accuracy(model, known, seen)
    other, heard_new = accuracy(model, new, unseen)
    print(f"fold 4, 40 seen names: {value:.2%}; partition 2, 10 unseen names: {other:.2%}")
    captions = read_captions(options.work, learned=False)
    said = [captions[name][0] if captions[name] else name for name in seen]
    right = np.array([seen.index(clip.category) for clip in known])
    by_caption = float((classify(model, known, said).argmax(1) == right).mean())
    count = sum(bool(captions[name]) for name in seen)
    print(f"fold 4, {count} of the names said by a caption that was not learned: {by_caption:.2%}")
    report_mixtures(model, known, seen)
    if options.details:
        report_details(known, seen, heard)
        report_details(new, unseen, heard_new)


FIGURES = {
    "folds": report_unheard,
    "partitions": report_unheard,
    "inner": report_inner,
    "heldout": report_shipped,
    "mixtures": report_shipped,
    "guesses": report_guesses,
    "unknown": report_unknown,
    "speed": report_speed,
    "captions": report_captions,
}


def main() -> None:
    """Print one figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("figure", choices=list(FIGURES))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, help="folder of the checkpoints")
    parser.add_argument("--checkpoint", help="name of the checkpoint, if not `inner`")
    parser.add_argument("--dtype", default="auto", help="precision, of what ships")
    parser.add_argument("--details", action="store_true", help="per class: right, and what else")
    options = parser.parse_args()
    if options.figure != "speed":
        torch.set_num_threads(1)
    FIGURES[options.figure](options)


if __name__ == "__main__":
    main()
