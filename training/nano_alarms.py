"""Measure how often nano tells a sound that is not there; fit what ``--false-alarms`` promises of sounds.

    python -m training.nano_alarms --data DATA --work WORK

Writes ``statistics.json`` into the folder of nano. All names that nano knows are detected in clips of ESC-50
and of instruments. An event counts as a false alarm if the teacher (``teacher.py``) gives no class of a like
name a probability of 0.01, and if the clip's own names are unlike the label. The curve is fitted on the clips
that nano learned from, and tested on those it did not, on spoken commands and on drones.

The logarithm of the false alarms per hour is linear in the threshold (log-odds) and in the logarithm of the
smoothing; each known sound has a constant of its own. A label has the mean of the constants of its sounds.
What was heard is kept in the work folder.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logit
from sklearn.linear_model import PoissonRegressor

from training.data import FREE, esc50, instruments, phrases, read_rows, read_waveform
from training.nano_export import CHECKED
from training.teacher import RATE, Teacher
from zsaudio import LabelSet, Recognizer
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.models.checksums import write_sums
from zsaudio.models.nano.nano import SHARPNESS, WEIGHTS, Nano
from zsaudio.models.nano.promise import SoundPromise

LONGEST_S = 10
NO_SUCH_CLASS = 0.01  # probability of a class of a like name, by the teacher
UNLIKE = 0.5  # cosine of a label with the names of a clip
LIKE = 0.1  # weight of a class of the teacher among all that has a like name
SMOOTHED_S = (3.0, 0.48)  # as ``detect`` and ``listen`` do by default
GRID = np.arange(-2.0, 2.6, 0.5)  # thresholds, in log-odds, at which the curve is fitted
OWN_AT = GRID.tolist().index(-0.5)  # where the constants of sounds are fitted
OWN_LAMBDA = 1.0  # of their squares
RATES = (0.1, 1.0, 10.0)


def clips(data: Path) -> list[tuple[str, Path, tuple[str, ...]]]:
    """Return the kind of each clip, its file, and its names."""
    extra = phrases()
    found = [
        ("learned" if clip.licence in FREE else "held out", clip.path, (clip.category, *extra[clip.category]))
        for clip in esc50(data)
    ]
    found += [("learned", sound.path, sound.texts) for sound in instruments(data)]
    found += [("held out", sound.path, sound.texts) for sound in instruments(data, learned=False)]
    speech = tuple(extra["speech"])
    commands = read_rows(data / "commands" / "commands.csv")
    found += [("speech", data / "commands" / row["file"], speech) for row in commands]
    drone = ("drone", "helicopter", "airplane")
    return found + [("drones", path, drone) for path in sorted((data / "drone" / "audio").iterdir())]


def names_of(nano: Nano) -> list[str]:
    """Return the known names, each once: some stand for several classes of AudioSet."""
    return list(dict.fromkeys(nano.known_names))


def hear(data: Path, path: Path) -> None:
    """Write the best score of every known name in every clip, smoothed either way, and which are untrue."""
    nano, teacher, found = Nano(), Teacher(data), clips(data)
    names = names_of(nano)
    column = {name: n for n, name in enumerate(names)}
    sentences = nano.sentences(names)
    of_class = [(name, n) for n, text in enumerate(teacher.classes) for name in text.lower().split(", ")]
    weights = np.exp(SHARPNESS * sentences @ nano.sentences([name for name, _ in of_class]).T)
    like = (weights / weights.sum(1, keepdims=True)) > LIKE
    recognizer = Recognizer(LabelSet(names), nano)
    best = np.full((len(SMOOTHED_S), len(found), len(names)), -np.inf, np.float32)
    untrue, hours = np.empty((len(found), len(names)), bool), np.empty(len(found))
    options = [DetectionOptions(threshold=0.05, smooth_s=smooth_s) for smooth_s in SMOOTHED_S]
    for number, (_, file, said) in enumerate(found):
        heard = recognizer.hear(read_waveform(file, 16000)[: LONGEST_S * 16000], 16000)
        for way, own in enumerate(options):
            result = recognizer.detect_heard(heard, options=own)
            assert result is not None  # its labels are those of what was heard
            hours[number] = result.duration_s / 3600
            for event in result.events:
                place = way, number, column[event.label]
                best[place] = max(best[place], logit(min(event.score, 1 - 1e-6)))
        wave = read_waveform(file, RATE)[: LONGEST_S * RATE]
        told = teacher(np.pad(wave, (0, max(0, RATE - len(wave)))))[[n for _, n in of_class]]
        alike = (sentences @ nano.sentences(list(said)).T).max(1)
        untrue[number] = ((like * told).max(1) < NO_SUCH_CLASS) & (alike < UNLIKE)
        if number % 500 == 0:
            print(f"{number} of {len(found)} clips", flush=True)
    kinds = np.array([kind for kind, *_ in found])
    np.savez(path, best=best, untrue=untrue, hours=hours, kinds=kinds)


def fit(best: np.ndarray, untrue: np.ndarray, hours: np.ndarray, shares: np.ndarray) -> SoundPromise:
    """Return the promise.

    Parameters
    ----------
    best, untrue, hours
        What ``hear`` wrote, of the clips to fit on.
    shares
        ``(names, sounds)``: what each name is made of; rows sum to 1.
    """
    heard_h = (untrue * hours[:, None]).sum(0)
    counts = np.array([[((own >= t) & untrue).sum(0) for t in GRID] for own in best])
    inputs = np.array([(t, np.log(smooth_s)) for smooth_s in SMOOTHED_S for t in GRID])
    exposure = np.full(len(inputs), heard_h.sum())
    curve = PoissonRegressor(alpha=0, max_iter=1000, tol=1e-9)
    curve.fit(inputs, counts.sum(2).ravel() / exposure, sample_weight=exposure)
    threshold, smoothing = map(float, curve.coef_)
    own = counts[0, OWN_AT]
    usual = np.log(heard_h) + curve.intercept_ + inputs[OWN_AT] @ curve.coef_

    def loss(constants: np.ndarray) -> tuple[float, np.ndarray]:
        log_mean = usual + shares @ constants
        mean = np.exp(log_mean)
        value = (mean - own * log_mean).sum() + OWN_LAMBDA * (constants**2).sum()
        return float(value), shares.T @ (mean - own) + 2 * OWN_LAMBDA * constants

    constants = minimize(loss, np.zeros(shares.shape[1]), jac=True, method="L-BFGS-B").x
    return SoundPromise((curve.intercept_ + constants).round(2), round(threshold, 3), round(smoothing, 3))


def report(promise: SoundPromise, heard: dict[str, np.ndarray], embeddings: np.ndarray) -> None:
    """Print how many false alarms there are where some are promised."""
    constants = np.array([promise.constant(embedding) for embedding in embeddings])
    fifths = np.array_split(constants.argsort(), 5)
    for kind in dict.fromkeys(heard["kinds"].tolist()):
        of_kind = heard["kinds"] == kind
        untrue, hours = heard["untrue"][of_kind], heard["hours"][of_kind]
        heard_h = (untrue * hours[:, None]).sum(0)
        for own, smooth_s in zip(heard["best"], SMOOTHED_S, strict=True):
            for rate in RATES:
                needed = np.array([promise.log_odds_for(e, rate, smooth_s) for e in embeddings])
                events = ((own[of_kind] >= needed) & untrue).sum(0)
                parts = [f"{events[part].sum() / heard_h[part].sum():.2f}" for part in fifths]
                print(
                    f"{kind}, {hours.sum():.2f} h, smoothed over {smooth_s:g} s: promised {rate:g} an hour, "
                    f"measured {events.sum() / heard_h.sum():.3f} (fifths of the labels: {' '.join(parts)})"
                )


def main() -> None:
    """Listen, fit, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=WEIGHTS, help="where the statistics are written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = options.work / "nano-alarms.npz"
    if not path.exists():
        hear(options.data, path)
    with np.load(path) as file:
        heard = dict(file)
    nano = Nano()
    embeddings = nano.encode_text(names_of(nano))
    learned = heard["kinds"] == "learned"
    promise = fit(
        heard["best"][:, learned],
        heard["untrue"][learned],
        heard["hours"][learned],
        embeddings / embeddings.sum(1, keepdims=True),
    )
    report(promise, heard, embeddings)
    text = json.dumps({"alarms": promise.to_dict()}) + "\n"
    (options.folder / "statistics.json").write_text(text, encoding="utf-8")
    write_sums(options.folder, *CHECKED, "statistics.json")


if __name__ == "__main__":
    main()
