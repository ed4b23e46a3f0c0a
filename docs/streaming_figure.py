"""Draw the figure of streaming.md: ``python docs/streaming_figure.py``."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from zsaudio import DetectionOptions, FrameScores, Recognizer, load_audio, load_model
from zsaudio.detection.listeners import plan_windows

HERE = Path(__file__).parent
BLUE, GREY, RED = "#1f77b4", "#c9d6e3", "#d62728"
LENGTH_S, HOP_S = 13.0, 2.0
RATE = 16_000


def main() -> None:
    """Detect a siren in a synthetic scene; draw its windows, scores and event."""
    siren, _ = load_audio(HERE.parent / "examples/audio/siren.mp3", RATE)
    samples = (0.003 * np.random.default_rng(0).standard_normal(round(LENGTH_S * RATE))).astype(np.float32)
    sound = 0.5 * siren[: 5 * RATE]
    samples[4 * RATE : 4 * RATE + len(sound)] += sound
    model = load_model("nano")
    recognizer = Recognizer("siren, dog barking", model)
    options = DetectionOptions(hop_s=HOP_S)
    frames: list[FrameScores] = []
    events = list(recognizer.stream([samples], RATE, options=options, on_scores=frames.append))
    events = [event for event in events if event.label == "siren"]
    plan = plan_windows(model, options, HOP_S)

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    wave, windows, scores = figure.subplots(3, 1, sharex=True, height_ratios=[1, 1.6, 2])
    wave.plot(np.arange(len(samples)) / RATE, samples, color="black", linewidth=0.3)
    wave.set_yticks([])
    wave.set_ylabel("blocks")
    for number in range(int(LENGTH_S / HOP_S)):
        start = number * plan.hop / RATE
        row = number % 3
        speaks = start + (plan.window - plan.hop - plan.after) / RATE if number else 0.0
        end = start + (plan.window - plan.after) / RATE
        windows.broken_barh([(start, plan.window / RATE)], (row, 0.8), color=GREY)
        windows.broken_barh([(speaks, end - speaks)], (row, 0.8), color=BLUE)
    windows.set_yticks([])
    windows.set_ylabel("windows")
    windows.legend(
        handles=[
            Patch(color=BLUE, label="the part of a window that is used"),
            Patch(color=GREY, label="context"),
        ],
        loc="upper left",
        fontsize=8,
    )
    onsets = [frame.onset for frame in frames]
    own = np.array([frame.scores[0] for frame in frames])
    odds = own / (1.000001 - own)
    half = int(options.smooth_s / model.frame_s / 2)
    mean = [odds[max(0, i - half) : i + half + 1].mean() for i in range(len(odds))]
    judged = np.array(mean) / (1 + np.array(mean))
    scores.step(onsets, own, where="post", color=GREY, linewidth=1.5, label="score of each frame")
    scores.step(onsets, judged, where="post", color=BLUE, label="smoothed over 3 s")
    scores.axhline(options.threshold, color="black", linewidth=0.8, linestyle="--")
    scores.axhline(options.threshold * options.off_ratio, color="black", linewidth=0.8, linestyle=":")
    scores.text(0.05, options.threshold + 0.02, "an event begins", fontsize=8)
    scores.text(0.05, options.threshold * options.off_ratio + 0.02, "and ends", fontsize=8)
    scores.broken_barh(
        [(event.onset, event.offset - event.onset) for event in events], (1.05, 0.12), color=RED
    )
    scores.set_ylim(0, 1.2)
    scores.set_xlim(0, LENGTH_S)
    scores.set_ylabel("siren")
    scores.set_xlabel("seconds")
    scores.legend(loc="upper right", fontsize=8, bbox_to_anchor=(1, 0.9))
    figure.savefig(HERE / "streaming.png", dpi=110)


if __name__ == "__main__":
    main()
