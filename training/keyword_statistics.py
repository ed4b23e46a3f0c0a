"""Measure how often keywords of nano-keyword are falsely detected and missed; fit what the package promises.

    python -m training.keyword_statistics --data DATA --work WORK

Writes ``statistics.json`` and ``common_words.txt`` into the folder of nano-keyword.

False alarms: some 230 keywords that are not said (common words, rare ones, pairs, "hey ..."; none of them
held out) are listened for in the spoken commands and in recorded phrases by other people. The curve is fitted
on every second one of the recordings and tested on the others, of either kind. Misses: what is known to be
said in the other commands, which nothing was learned from (``keyword_people``), and the recorded phrases of
``CHOOSING``; every phrase counts the same. They are tested on the recorded digits.

What was heard is kept in the work folder, since listening takes a while.
"""

import argparse
import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from sklearn.linear_model import LogisticRegression, PoissonRegressor

from training.keyword_data import BY_HAND, CHOOSING, HELD_OUT, RATE
from training.keyword_evaluate import DIGITS
from training.keyword_export import seal
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.keyword_peaks import KeywordDetector
from zsaudio.labels import LabelSet
from zsaudio.models.speech.alignment import KeywordSpotter
from zsaudio.models.speech.nano_keyword import NanoKeyword
from zsaudio.models.speech.promise import Curve
from zsaudio.models.speech.pronunciation import WEIGHTS

LEAST = 1e-3  # score of an event that is looked at
PHRASES = 1200  # recorded phrases that the false alarms are tested on
COMMON = 4000  # words among which similar ones are named
OFTEN = 8  # times that a phrase must be said to count
GRID = np.arange(-5.0, 6.0)  # thresholds, in log-odds, at which the curves are fitted
RATES = (0.1, 1.0, 10.0)


def held_out(data: Path) -> set[str]:
    """Return the words that nothing is learned from."""
    lines = (data / "keywords" / "heldout_words.txt").read_text(encoding="utf-8").splitlines()
    return {word for line in lines if not line.startswith("#") for word in line.split()}


def captions(data: Path) -> Counter[str]:
    """Return how often each word stands in the captions."""
    text = (data / "text" / "audio_captions.txt").read_text(encoding="utf-8").lower()
    return Counter(re.findall("[a-z]+", text))


def rows(data: Path, name: str) -> list[dict[str, str]]:
    """Return the table of a folder of recordings."""
    with (data / name / f"{name}.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def said_in(row: dict[str, str]) -> list[str]:
    """Return the phrases that are known to be said in a command."""
    parts = [" ".join(part.lower().split()) for part in row["spoken_words"].split(";")]
    return [part for part in parts if part]


def unspoken(data: Path, rng: np.random.Generator) -> list[str]:
    """Return keywords that nobody says in the commands."""
    held = held_out(data)
    usual = [w for w, n in captions(data).items() if 3 <= len(w) <= 12 and n >= 2 and w not in held]
    text = gzip.decompress((WEIGHTS / "dictionary.gz").read_bytes()).decode("ascii").strip()
    known = [line.split("\t")[0] for line in text.split("\n")]
    known = [w for w in known if w.isalpha() and 4 <= len(w) <= 12 and w not in held]
    words = [*rng.choice(usual, 90, replace=False), *rng.choice(known, 60, replace=False)]
    pairs = zip(rng.choice(usual, 60), rng.choice(usual, 60), strict=True)
    words += [f"{a} {b}" for a, b in pairs] + [f"hey {w}" for w in rng.choice(known, 20)]
    spoken = {w for row in rows(data, "commands") for part in said_in(row) for w in part.split()}
    return [str(w) for w in dict.fromkeys(words) if not spoken & set(w.split())]


def heard(model: NanoKeyword, paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Yield the network's output for recordings, with a little silence around."""
    for path in paths:
        wave, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE
        yield model.log_probs([np.pad(wave, (RATE // 10, RATE // 2))])[0]


def alarms(model: NanoKeyword, keywords: Sequence[str], paths: Sequence[Path]) -> tuple[np.ndarray, float]:
    """Return events ``(n, 3)``: recording, keyword, log-odds; and the hours of audio."""
    labels = LabelSet([f"keyword: {word}" for word in keywords])
    bank, number = model.embed_labels(labels).keywords, {label.name: i for i, label in enumerate(labels)}
    found, frames = [], 0
    for recording, log_probs in enumerate(heard(model, paths)):
        options = DetectionOptions(threshold=LEAST)
        detector = KeywordDetector(list(labels), options, model.scoring, model.frame_s)
        events = detector.push(KeywordSpotter(bank, model.scoring).push(log_probs)) + detector.flush()
        found += [(recording, number[e.label], float(np.log(e.score) - np.log1p(-e.score))) for e in events]
        frames += len(log_probs)
    return np.array(found), frames * model.frame_s / 3600


def spoken(model: NanoKeyword, phrases: Sequence[str], said: Sequence[tuple[Path, list[str]]]) -> np.ndarray:
    """Return phrase number, number of phonemes and best log-odds, ``(n, 3)``, of what is said."""
    texts = [
        f"{phrase} /{' '.join(BY_HAND[w] for w in phrase.split())}/" if phrase in BY_HAND else phrase
        for phrase in phrases
    ]
    bank = model.embed_labels(LabelSet([f"keyword: {text}" for text in texts])).keywords
    found = []
    for (_, own), log_probs in zip(said, heard(model, [path for path, _ in said]), strict=True):
        best = model.scoring.best(KeywordSpotter(bank, model.scoring).push(log_probs))
        for phrase in dict.fromkeys(own):
            if phrase in phrases:
                k = phrases.index(phrase)
                found.append((k, min(map(len, bank.pronunciations[k])), best[k]))
    return np.array(found)


def listen(data: Path, path: Path) -> None:
    """Listen to everything once; keep what was heard."""
    model, rng = NanoKeyword(), np.random.default_rng(0)
    keywords, held = unspoken(data, rng), held_out(data)
    bank = model.embed_labels(LabelSet([f"keyword: {word}" for word in keywords])).keywords
    commands, words = rows(data, "commands"), rows(data, "words")
    recorded = [row for row in rows(data, "keywords") if row["phrase"] not in HELD_OUT]
    kept: dict[str, np.ndarray | float] = {
        "symbols": np.array([min(map(len, w)) for w in bank.pronunciations])
    }
    paths = [data / "commands" / row["file"] for row in commands]
    kept["commands"], kept["commands_h"] = alarms(model, keywords, paths)
    chosen = [recorded[i] for i in rng.permutation(len(recorded))[:PHRASES]]
    paths = [data / "keywords" / row["file"] for row in chosen]
    kept["phrases"], kept["phrases_h"] = alarms(model, keywords, paths)
    others = commands[1::2]
    counts = Counter(phrase for row in others for phrase in said_in(row))
    often = [p for p, n in counts.items() if n >= OFTEN and not set(p.split()) & held]
    parts = [spoken(model, often, [(data / "commands" / row["file"], said_in(row)) for row in others])]
    own = [row for row in words if row["word"] in DIGITS]
    said = [(data / "words" / row["file"], [row["word"]]) for row in own]
    kept["digits"] = spoken(model, DIGITS, said)
    said = [
        (data / "keywords" / row["file"], [row["phrase"]]) for row in recorded if row["phrase"] in CHOOSING
    ]
    parts.append(spoken(model, CHOOSING, said))
    first = 0
    for part in parts:
        part[:, 0] += first
        first = int(part[:, 0].max()) + 1
    kept["spoken"] = np.concatenate(parts)
    np.savez(path, **kept)  # type: ignore[arg-type]


def fit_alarms(events: np.ndarray, symbols: np.ndarray, hours: float) -> Curve:
    """Fit the logarithm of the false alarms per hour."""
    inputs = [(t, n) for t in GRID for n in symbols]
    rates = [
        np.count_nonzero(events[events[:, 1] == k, 2] >= t) / hours for t in GRID for k in range(len(symbols))
    ]
    fitted = PoissonRegressor(alpha=0, max_iter=3000).fit(inputs, rates)
    return Curve(float(fitted.intercept_), *map(float, fitted.coef_))


def fit_misses(said: np.ndarray) -> Curve:
    """Fit the log-odds of a miss."""
    inputs = np.array([(t, n) for t in GRID for n in said[:, 1]])
    missed = np.array([best < t for t in GRID for best in said[:, 2]])
    weights = np.tile(1 / np.bincount(said[:, 0].astype(int))[said[:, 0].astype(int)], len(GRID))
    fitted = LogisticRegression(C=1e6, max_iter=1000).fit(inputs, missed, weights)
    return Curve(float(fitted.intercept_[0]), *map(float, fitted.coef_[0]))


def report(name: str, curve: Curve, events: np.ndarray, symbols: np.ndarray, hours: float) -> None:
    """Print the false alarms that the promised thresholds give, by the length of the keyword."""
    print(f"{name}, {hours:.2f} h; promised: measured per hour and keyword (of 1-3, 4-5, 6-8, 9+ phonemes)")
    for rate in RATES:
        thresholds = (np.log(rate) - curve.constant - curve.symbols * symbols) / curve.threshold
        counts = np.bincount(
            events[events[:, 2] >= thresholds[events[:, 1].astype(int)], 1].astype(int),
            minlength=len(symbols),
        )
        by_length = [
            counts[(symbols >= low) & (symbols <= high)].mean() / hours
            for low, high in ((1, 3), (4, 5), (6, 8), (9, 99))
        ]
        cells = ", ".join(f"{each:.2f}" for each in by_length)
        print(f"  {rate:g}: {counts.mean() / hours:.3f} ({cells})")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=WEIGHTS, help="where the statistics are written")
    options = parser.parse_args()
    path = options.work / "keyword-statistics.npz"
    if not path.exists():
        listen(options.data, path)
    with np.load(path) as file:
        kept = dict(file)
    symbols, kinds = kept["symbols"], ("commands", "phrases")
    half_h = {kind: float(kept[f"{kind}_h"]) / 2 for kind in kinds}
    fitted_on, others = ({kind: kept[kind][kept[kind][:, 0] % 2 == odd] for kind in kinds} for odd in (0, 1))
    alarm_curve = fit_alarms(np.concatenate([*fitted_on.values()]), symbols, sum(half_h.values()))
    miss_curve = fit_misses(kept["spoken"])
    for kind in kinds:
        report(f"other {kind}", alarm_curve, others[kind], symbols, half_h[kind])
    for name in ("spoken", "digits"):
        n, best = kept[name][:, 1], kept[name][:, 2]
        for threshold in (-2.0, 0.0, 2.0):
            log_odds = miss_curve.constant + miss_curve.threshold * threshold + miss_curve.symbols * n
            expected = (1 / (1 + np.exp(-log_odds))).mean()
            measured = (best < threshold).mean()
            print(
                f"{name} at log-odds {threshold:g}: misses expected {expected:.1%}, measured {measured:.1%}"
            )
    statistics = {"alarms": vars(alarm_curve), "misses": vars(miss_curve)}
    rounded = {
        name: {key: round(value, 4) for key, value in curve.items()} for name, curve in statistics.items()
    }
    target = options.folder / "statistics.json"
    target.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
    common = [word for word, _ in captions(options.data).most_common(COMMON) if len(word) > 1]
    (options.folder / "common_words.txt").write_text(" ".join(common) + "\n", encoding="utf-8")
    seal(options.folder)
    print(rounded)


if __name__ == "__main__":
    main()
