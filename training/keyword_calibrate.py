"""Fit the constants that make scores of nano-keyword's alignments; prints them as JSON.

    python -m training.keyword_calibrate --data DATA --work WORK [--checkpoint CHECKPOINT]

The data are the stream of ``training.keyword_stream --choosing``: phrases spoken by ``keyword_voices kokoro
--phrases`` and recordings of "snowboy", among other speech, with noise. Logistic regression on the
log-likelihood ratio, the number of symbols and the keyword's level separates the phrases from what resembles
them. The bias is then shifted so that a score of 0.5 means one false alarm per hour and keyword, in a stream
of continuous speech. ``dwell``, ``doubt`` and ``pause`` stay as they are.
"""

import argparse
import json
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from training.keyword_data import RATE
from training.keyword_evaluate import load, said
from training.keyword_stream import hit, make_stream
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.keyword_peaks import KeywordDetector
from zsaudio.labels import LabelSet
from zsaudio.models.speech.alignment import AlignmentScoring, Spotted
from zsaudio.models.speech.nano_keyword import NanoKeyword

LEAST = 1e-4  # score of what is looked at
FALSE = 20  # of each phrase and hour, the best that are false
EVERY = 60 * RATE  # the network takes a minute at a time


def calibrate(model: NanoKeyword, data: Path, work: Path) -> AlignmentScoring:
    """Return the constants."""
    stream, targets = make_stream(data, work, choosing=True)
    phrases, hours = sorted({target.phrase for target in targets}), len(stream) / RATE / 3600
    labels = LabelSet([f"keyword: {said(phrase)}" for phrase in phrases])
    log_probs = np.concatenate(
        [model.log_probs([stream[at : at + EVERY]])[0] for at in range(0, len(stream), EVERY)]
    )
    how, bank = model.scoring, model.embed_labels(labels).keywords
    aligned = how.aligner(bank.pronunciations).push(log_probs)
    detector = KeywordDetector(list(labels), DetectionOptions(threshold=LEAST), how, model.frame_s)
    spotted = Spotted(how.log_odds(aligned, bank.level), aligned.start)
    events = detector.push(spotted) + detector.flush()
    inputs, truth, weights = [], [], []
    for k, (label, phrase) in enumerate(zip(labels, phrases, strict=True)):
        own = sorted((event for event in events if event.label == label.name), key=lambda e: -e.score)
        spoken = [target for target in targets if target.phrase == phrase]
        right = [best for t in spoken if (best := next((e for e in own if hit(e, t)), None))]
        false = (event for event in own if not any(hit(event, target) for target in spoken))
        wrong = list(islice(false, int(FALSE * hours)))
        ends = [round((e.offset - how.tail_s) / model.frame_s) - 1 for e in right + wrong]
        levels = np.full(len(ends), bank.level[k])
        inputs.append(np.stack([aligned.ratio[ends, k], aligned.symbols[ends, k], levels], axis=1))
        truth += [True] * len(right) + [False] * len(wrong)
        weights += [len(wrong) / max(1, len(right))] * len(right) + [1.0] * len(wrong)
    x, y = np.concatenate(inputs), np.array(truth)
    ratio, symbols, level = map(float, LogisticRegression().fit(x, y, weights).coef_[0].round(3))
    alarms = np.sort((x @ [ratio, symbols, level])[~y])[::-1]
    bias = round(-float(alarms[int(hours * len(phrases))]), 2)
    how = replace(how, ratio=ratio, symbols=symbols, level=-level, bias=bias)
    print(f"{y.sum()} right and {(~y).sum()} false: {how}", flush=True)
    return how


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--folder", type=Path, help="of a model, in place of the package's")
    parser.add_argument("--checkpoint", type=Path, help="weights of a training run")
    parser.add_argument("--scoring", help="constants to begin with as JSON, in place of the model's")
    options = parser.parse_args()
    print(json.dumps(asdict(calibrate(load(options), options.data, options.work))))


if __name__ == "__main__":
    main()
