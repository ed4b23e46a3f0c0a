"""Accuracy of event detection on synthetic soundscapes, whose events are known.

    pip install sed_eval "setuptools<81"
    python benchmarks/soundscapes.py --esc50 ../shared/data/esc50

Scenes last a minute. Each holds eight clips of ESC-50, without their silence, at random places over pink
noise 20, 10 or 0 dB below them (RMS over RMS); the scenes of the three levels are otherwise equal. By default
the clips are the 230 whose licence (CC BY-NC, CC Sampling+) kept them out of the training of the shipped
weights. All 50 classes are labels.

The table compares ``Recognizer.detect`` with default options and a naive detector with the same model:
windows of 2 s, side by side, are tagged one by one; a label is present where its score reaches 0.5, and
windows that touch are one event. Measures are those of sed_eval, micro-averaged: F1 over segments of 1 s,
and F1 over events whose onset is right within 0.5 s.

The defaults were chosen on other scenes: ``--fold 5 --weights FOLDER`` makes them from the free clips of fold
5, for weights that were trained on folds 1 to 4.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zsaudio import DetectionOptions, Event, Recognizer, load_audio
from zsaudio.models.nano.nano import Nano

RATE = 16_000
SCENE_S, CLIPS_PER_SCENE = 60.0, 8
EVENT_RMS = 0.05  # -26 dBFS
NAIVE_WINDOW_S = 2.0
LEVELS_DB = (20, 10, 0)
FREE = ("CC0", "CC-BY")


@dataclass(frozen=True)
class Scene:
    """A minute of sound and the events in it, which score 1."""

    samples: np.ndarray
    truth: list[Event]


def read_clips(esc50: Path, fold: int | None) -> list[tuple[str, np.ndarray]]:
    """Return (class, samples without silence) of the held-out clips, or of the free clips of a fold."""
    with (esc50 / "esc50.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if fold is None:
        rows = [row for row in rows if row["licence"] not in FREE]
    else:
        rows = [row for row in rows if row["licence"] in FREE and row["fold"] == str(fold)]
    clips = ((row["category"], load_audio(esc50 / row["file"], RATE)[0]) for row in rows)
    return [(category, trim(samples)) for category, samples in clips if samples.any()]


def trim(samples: np.ndarray) -> np.ndarray:
    """Cut what is 40 dB or more below the loudest 20 ms from both ends."""
    size = RATE // 50
    level = np.square(samples[: len(samples) // size * size].reshape(-1, size)).mean(axis=1)
    heard = np.flatnonzero(level > 1e-4 * level.max())
    return samples[heard[0] * size : (heard[-1] + 1) * size]


def make_scenes(clips: list[tuple[str, np.ndarray]], level_db: float, seed: int = 0) -> Iterator[Scene]:
    """Yield scenes, in which every clip occurs once."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(clips))
    for start in range(0, len(order) - CLIPS_PER_SCENE + 1, CLIPS_PER_SCENE):
        samples = pink_noise(random, round(SCENE_S * RATE)) * EVENT_RMS * 10 ** (-level_db / 20)
        truth: list[Event] = []
        for index in order[start : start + CLIPS_PER_SCENE]:
            category, sound = clips[index]
            length = len(sound) / RATE
            while True:  # sounds may overlap, but not two of a class
                onset = random.uniform(0, SCENE_S - length)
                if all(
                    event.label != category or onset > event.offset + 1 or onset + length < event.onset - 1
                    for event in truth
                ):
                    break
            at = round(onset * RATE)
            samples[at : at + len(sound)] += sound * (EVENT_RMS / np.sqrt(np.square(sound).mean()))
            truth.append(Event(onset, onset + length, category, 1.0))
        yield Scene(samples.astype(np.float32), sorted(truth))


def pink_noise(random: np.random.Generator, n_samples: int) -> np.ndarray:
    """Return noise of unit RMS whose power falls by 3 dB an octave, from 20 Hz up."""
    frequencies = np.fft.rfftfreq(n_samples, 1 / RATE)
    spectrum = np.fft.rfft(random.standard_normal(n_samples)) / np.sqrt(np.maximum(frequencies, 20.0))
    spectrum[frequencies < 20] = 0
    noise = np.fft.irfft(spectrum, n_samples)
    return noise / np.sqrt(np.square(noise).mean())


def naive(recognizer: Recognizer, samples: np.ndarray) -> list[Event]:
    """Tag windows of 2 s side by side; join those that touch."""
    size = round(NAIVE_WINDOW_S * RATE)
    windows = [samples[start : start + size] for start in range(0, len(samples), size)]
    events: dict[str, list[Event]] = {}
    for number, clip in enumerate(recognizer.tag_batch(windows, RATE, min_score=0.5)):
        onset = number * NAIVE_WINDOW_S
        offset = onset + len(windows[number]) / RATE
        for tag in clip.tags:
            own = events.setdefault(tag.label, [])
            if own and own[-1].offset == onset:
                own[-1] = Event(own[-1].onset, offset, tag.label, max(tag.score, own[-1].score))
            else:
                own.append(Event(onset, offset, tag.label, tag.score))
    return sorted(event for own in events.values() for event in own)


def measure(
    scenes: list[Scene], labels: list[str], find: Callable[[np.ndarray], list[Event]]
) -> tuple[float, float, int]:
    """Return segment-based F1, event-based F1 and the number of events found."""
    import sed_eval

    segments = sed_eval.sound_event.SegmentBasedMetrics(labels, time_resolution=1.0)
    onsets = sed_eval.sound_event.EventBasedMetrics(labels, t_collar=0.5, evaluate_offset=False)
    n_events = 0
    for scene in scenes:
        found = find(scene.samples)
        n_events += len(found)
        for metric in (segments, onsets):
            metric.evaluate(_as_sed_eval(scene.truth), _as_sed_eval(found))
    return _f1(segments), _f1(onsets), n_events


def _f1(metric: Any) -> float:
    """Return the F1 over all classes, 0 where nothing was found."""
    return float(np.nan_to_num(metric.results_overall_metrics()["f_measure"]["f_measure"]))


def _as_sed_eval(events: list[Event]) -> object:
    import dcase_util

    return dcase_util.containers.MetaDataContainer(
        [
            {
                "filename": "scene",
                "event_onset": event.onset,
                "event_offset": event.offset,
                "event_label": event.label,
            }
            for event in events
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--esc50", type=Path, required=True, help="folder of esc50.csv and audio/")
    parser.add_argument("--fold", type=int, help="use the free clips of this fold instead")
    parser.add_argument("--weights", type=Path, help="folder of other weights for nano")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    clips = read_clips(arguments.esc50, arguments.fold)
    recognizer = Recognizer("@esc50", Nano(arguments.weights))
    options = DetectionOptions()
    labels = list(recognizer.labels.names)
    print(f"{len(clips)} clips, {len(clips) // CLIPS_PER_SCENE} scenes of {SCENE_S:g} s, {options}\n")
    print("| events over noise | detector | events | segment F1 (1 s) | event F1 (onset, 0.5 s) |")
    print("|---|---|---|---|---|")
    beaten = True
    for level_db in LEVELS_DB:
        scenes = list(make_scenes(clips, level_db, arguments.seed))
        ours = measure(scenes, labels, lambda samples: recognizer.detect(samples, RATE, options=options))
        theirs = measure(scenes, labels, lambda samples: naive(recognizer, samples))
        for name, (segment, onset, n_events) in (("zsaudio", ours), ("naive, 2 s", theirs)):
            print(f"| {level_db} dB | {name} | {n_events} | {segment:.3f} | {onset:.3f} |")
        beaten &= ours[0] > theirs[0] and ours[1] > theirs[1]
    print(f"\nThe defaults {'beat' if beaten else 'DO NOT beat'} the naive detector at every level.")
    sys.exit(not beaten)


if __name__ == "__main__":
    main()
