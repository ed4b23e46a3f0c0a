"""Find recorded keywords in hours of speech and noise: how many are missed, at how many false alarms an hour.

    python -m training.keyword_stream --data DATA --work WORK [--pocketsphinx] [--figure curve.png]

About every ten seconds a recording of a phrase that is in no training data ("jarvis", "alexa", "view
glass") is put into a stream of other recorded phrases and of sentences by espeak-ng and flite, with noise
from ESC-50 (clips that are in no training data) 10 dB below the speech. An event that ends in the recording
or within half a second after it is a hit; a recording counts once. Any other event is a false alarm, except
within a second of the previous one. Each keyword has a threshold of its own for each rate of false alarms.

``--pocketsphinx`` runs the keyword search of the package of that name (with its English model) over the
same stream. ``--choosing`` makes another stream, for choosing settings: recordings of "snowboy", the
synthetic phrases of ``keyword_voices --phrases``, alone and inside sentences, and other noise. Needs
espeak-ng and flite.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from training.keyword_data import CHOOSING, CHOOSING_SPOKEN, HELD_OUT, RATE, Recordings, noises, synthetic
from training.keyword_evaluate import load, said
from training.keyword_text import Writer
from training.keyword_voices import espeak, flite, trim
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.recognizer import Recognizer
from zsaudio.results import Event

GAP_S = 10.0
SPEECH = 0.05  # root mean square of speech
AFTER_S = 0.5
REFRACTORY_S = 1.0
ALARMS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false alarms an hour


@dataclass(frozen=True)
class Target:
    """A recording of a phrase, or of a sentence with it, in the stream, in seconds."""

    phrase: str
    onset: float
    offset: float


def speech_level(wave: np.ndarray) -> float:
    """Return the root mean square of speech: frames within 20 dB of the loudest 50 ms."""
    power = np.square(wave[: len(wave) // 800 * 800].reshape(-1, 800)).mean(axis=1)
    return float(np.sqrt(power[power > 0.01 * power.max(initial=0.0)].mean())) if power.any() else 0.0


def make_stream(
    data: Path,
    work: Path,
    hours: float = 3.0,
    choosing: bool = False,
    noise_db: float = 10.0,
    seed: int = 0,
) -> tuple[np.ndarray, list[Target]]:
    """Return a stream and where the phrases are in it; with ``choosing`` for choices, not for figures."""
    work.mkdir(parents=True, exist_ok=True)
    rng, recordings = np.random.default_rng(seed), Recordings(data, work)
    phrases = CHOOSING[:1] if choosing else HELD_OUT
    wanted = [(item.phrase, recordings.wave(item)) for item in recordings.items if item.phrase in phrases]
    if choosing:
        tables = sorted(work.glob("phrases-*.csv"))
        for item in (item for table in tables for item in synthetic(table)):
            inside = [phrase for phrase in CHOOSING_SPOKEN if f" {phrase} " in f" {item.words} "]
            wanted.append((max(inside, key=len), item.wave()))
    rng.shuffle(wanted)
    hidden = [f" {phrase} " for phrase in {phrase for phrase, _ in wanted}]
    others = [item for item in recordings.items if item.phrase not in HELD_OUT + CHOOSING]
    writer = iter(Writer(data, seed + 1000))
    voices = [espeak(rng), flite(rng, work, seed + 1000)]
    stream, targets, at = np.zeros(int(hours * 3600 * RATE), np.float32), [], 0.0
    next_target = GAP_S

    def put(wave: np.ndarray) -> None:
        nonlocal at
        wave = wave * np.float32(SPEECH / max(speech_level(wave), 1e-4))
        start = int(at * RATE)
        stream[start : start + len(wave)] += wave[: len(stream) - start]
        at += len(wave) / RATE

    while at < hours * 3600 - GAP_S and wanted:
        if at >= next_target:
            phrase, wave = wanted.pop()
            onset = at
            put(wave)
            targets.append(Target(phrase, onset, at))
            next_target = at + GAP_S * rng.uniform(0.5, 1.0)
        elif rng.random() < 0.3:
            put(recordings.wave(others[int(rng.integers(len(others)))]))
        else:
            utterance = next(writer)
            wave, rate, _ = voices[int(rng.integers(2))](utterance)
            if len(wave) and not any(phrase in f" {' '.join(utterance.words)} " for phrase in hidden):
                put(trim(soxr.resample(wave, rate, RATE)))
        at += rng.uniform(0.2, 1.5)
    stream = stream[: int(at * RATE)]
    unheard = (
        noises(data, work, (1, 2, 3, 4), free=False) if choosing else noises(data, work, (5,), free=None)
    )
    for start in range(0, len(stream), unheard.shape[1]):
        clip = unheard[int(rng.integers(len(unheard)))].astype(np.float32)
        part = stream[start : start + len(clip)]
        noise = SPEECH * 10 ** (-noise_db / 20)
        part += clip[: len(part)] * np.float32(noise / max(np.sqrt(np.square(clip).mean()), 30))
    return np.clip(stream, -1, 1), targets


def hit(event: Event, target: Target) -> bool:
    """Whether an event ends in a recording, or soon after it."""
    return target.onset <= event.offset <= target.offset + AFTER_S


def curve(events: list[Event], targets: list[Target], hours: float) -> list[tuple[float, float, float]]:
    """Return ``(threshold, false alarms an hour, miss rate)`` of one keyword, for falling thresholds."""
    thresholds = sorted({event.score for event in events}, reverse=True)[:2000]
    points = []
    for threshold in thresholds:
        hits, alarms, last = set(), 0, -np.inf
        for event in events:
            if event.score < threshold:
                continue
            inside = [i for i, target in enumerate(targets) if hit(event, target)]
            hits.update(inside)
            if not inside and event.offset - last > REFRACTORY_S:
                alarms, last = alarms + 1, event.offset
        points.append((threshold, alarms / hours, 1 - len(hits) / len(targets)))
        if alarms / hours > 20:
            break
    return points


def at_rate(points: list[tuple[float, float, float]], alarms: float) -> tuple[float, float]:
    """Return the lowest miss rate at no more than so many false alarms an hour, and its threshold."""
    fine = [(miss, threshold) for threshold, rate, miss in points if rate <= alarms]
    return min(fine, default=(1.0, 1.0))


def with_zsaudio(
    options: argparse.Namespace, stream: np.ndarray, phrases: tuple[str, ...]
) -> tuple[dict[str, list[Event]], float]:
    """Return all events of each phrase, and how many times faster than real time that was."""
    recognizer = Recognizer([f"keyword: {said(phrase)}" for phrase in phrases], keyword_model=load(options))
    started = time.perf_counter()
    events = recognizer.detect(stream, RATE, options=DetectionOptions(threshold=1e-4))
    spent = time.perf_counter() - started
    return {phrase: [e for e in events if e.label == f"keyword: {phrase}"] for phrase in phrases}, spent


def with_pocketsphinx(
    stream: np.ndarray, phrases: tuple[str, ...], work: Path
) -> tuple[dict[str, list[Event]], float]:
    """Return the same for the keyword search of pocketsphinx, with its own scores.

    It restarts after each detection. Its threshold is very low (1e-30), so that its scores decide.
    """
    from pocketsphinx import Decoder

    from training.keyword_data import pronounce

    found: dict[str, list[Event]] = {}
    pcm = (stream * 32767).astype("<i2")
    started = time.perf_counter()
    for phrase in phrases:
        decoder = Decoder(lm=None, loglevel="FATAL")
        for word in phrase.split():
            if decoder.lookup_word(word) is None:
                decoder.add_word(word, " ".join(pronounce(word)))
        listing = work / "pocketsphinx.txt"
        listing.write_text(f"{phrase} /1e-30/\n")
        decoder.add_kws("phrases", str(listing))
        decoder.activate_search("phrases")
        events, begun, step = found.setdefault(phrase, []), 0.0, RATE // 10
        decoder.start_utt()
        for at in range(0, len(pcm), step):
            decoder.process_raw(pcm[at : at + step].tobytes(), False, False)
            if decoder.hyp() is not None:
                (segment, *_) = decoder.seg()
                onset, offset = begun + segment.start_frame / 100, begun + segment.end_frame / 100
                events.append(Event(onset, offset, phrase, float(segment.prob)))
                decoder.end_utt()
                decoder.start_utt()
                begun = (at + step) / RATE
        decoder.end_utt()
    return found, time.perf_counter() - started


def report(
    name: str, found: dict[str, list[Event]], targets: list[Target], hours: float
) -> dict[str, list[tuple[float, float, float]]]:
    """Print the table of one system; return its curves."""
    curves = {
        phrase: curve(events, [t for t in targets if t.phrase == phrase], hours)
        for phrase, events in found.items()
    }
    print(f"\nmisses of {name} at so many false alarms an hour and keyword (threshold)")
    print(f"{'':<16}" + "".join(f"{alarms:>16g}" for alarms in ALARMS))
    for phrase, points in curves.items():
        cells = [at_rate(points, alarms) for alarms in ALARMS]
        print(
            f"{phrase:<16}"
            + "".join(f"{miss:>8.1%} ({threshold:.2g})".rjust(16) for miss, threshold in cells)
        )
    means = [np.mean([at_rate(points, alarms)[0] for points in curves.values()]) for alarms in ALARMS]
    print(f"{'mean':<16}" + "".join(f"{mean:>8.1%}".rjust(16) for mean in means))
    return curves


def draw(curves: dict[str, dict[str, list[tuple[float, float, float]]]], path: Path) -> None:
    """Draw miss rate against false alarms an hour."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    colours = {phrase: f"C{i}" for i, phrase in enumerate(next(iter(curves.values())))}
    for (system, own), style in zip(curves.items(), ("-", ":"), strict=False):
        for phrase, points in own.items():
            rates = np.geomspace(0.25, 16, 80)
            misses = [100 * at_rate(points, rate)[0] for rate in rates]
            axes.plot(rates, misses, style, color=colours[phrase], label=f"{phrase}, {system}")
    axes.set_xscale("log")
    axes.set_xticks([0.25, 0.5, 1, 2, 4, 8, 16], ["¼", "½", "1", "2", "4", "8", "16"])
    axes.set_ylim(0, 100)
    axes.set_xlabel("false alarms per hour and keyword")
    axes.set_ylabel("missed, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(f"\n{path}")


def main() -> None:
    """Make the stream, listen, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--choosing", action="store_true")
    parser.add_argument("--pocketsphinx", action="store_true")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--folder", type=Path, help="of a model, in place of the package's")
    parser.add_argument("--checkpoint", type=Path, help="weights of a training run")
    parser.add_argument("--scoring", help="constants as JSON, in place of the model's")
    options = parser.parse_args()
    stream, targets = make_stream(options.data, options.work, options.hours, options.choosing)
    phrases = tuple(sorted({target.phrase for target in targets}))
    hours = len(stream) / RATE / 3600
    print(f"{len(targets)} recordings of {', '.join(phrases)} in {hours:.2f} hours")
    found, spent = with_zsaudio(options, stream, phrases)
    print(f"zsaudio: {len(stream) / RATE / spent:.0f} times real time")
    curves = {"zsaudio": report("zsaudio", found, targets, hours)}
    at_half = [[e for e in events if e.score >= 0.5] for events in found.values()]
    points = [
        curve(e, [t for t in targets if t.phrase == p], hours) for e, p in zip(at_half, phrases, strict=True)
    ]
    for phrase, own in zip(phrases, points, strict=True):
        _, alarms, miss = own[-1] if own else (0.5, 0.0, 1.0)
        print(f"{phrase}: at the default threshold {miss:.1%} missed, {alarms:.2f} false alarms an hour")
    if options.pocketsphinx:
        found, spent = with_pocketsphinx(stream, phrases, options.work)
        print(f"\npocketsphinx: {len(stream) / RATE / spent:.0f} times real time")
        curves["pocketsphinx"] = report("pocketsphinx", found, targets, hours)
    if options.figure:
        draw(curves, options.figure)


if __name__ == "__main__":
    main()
