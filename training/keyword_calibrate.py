"""Fit the constants that make scores of nano-keyword's alignments; prints them as JSON.

    python -m training.keyword_calibrate --data DATA --work WORK [--checkpoint CHECKPOINT]

The data are the stream of ``training.keyword_stream --choosing``: phrases spoken by ``keyword_voices kokoro
--phrases`` and recordings of "snowboy", among other speech, with noise. Logistic regression on the
log-likelihood ratio (less the cost of no pause after the keyword), the number of symbols and the keyword's
level separates the phrases from what resembles them. The bias is then shifted so that a score of 0.5 means
one false alarm per hour and keyword, in a stream of continuous speech. ``dwell``, ``doubt`` and ``pause``
stay as they are.

``whole``, for clips that are one keyword and nothing else, is fitted on such clips: the same phrases alone,
and recordings of ``CHOOSING``, every second one without what is above 4 kHz. Each is compared with its own
phrase and with nine others, so that the scores of ten keywords sum to about one.
"""

import argparse
import json
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from soxr import resample

from training.keyword_data import CHOOSING, CHOOSING_SPOKEN, RATE, Recordings, synthetic
from training.keyword_evaluate import OTHERS, load, said
from training.keyword_stream import hit, make_stream
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.keyword_peaks import KeywordDetector
from zsaudio.labels import LabelSet
from zsaudio.models.speech.alignment import AlignmentScoring, Spotted, after, no_pause
from zsaudio.models.speech.nano_keyword import NanoKeyword
from zsaudio.models.speech.whole_clip import WholeClip

LEAST = 1e-4  # score of what is looked at
FALSE = 20  # of each phrase and hour, the best that are false
CLIPS = 60  # of each recorded phrase, for ``whole``
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
    spotted = Spotted(how.log_odds(aligned, bank.level), aligned.start, aligned.blank)
    events = detector.push(spotted) + detector.flush()
    ratios = aligned.ratio + no_pause(after(aligned.blank), how.pause)[:, None]
    inputs, truth, weights = [], [], []
    for k, (label, phrase) in enumerate(zip(labels, phrases, strict=True)):
        own = sorted((event for event in events if event.label == label.name), key=lambda e: -e.score)
        spoken = [target for target in targets if target.phrase == phrase]
        right = [best for t in spoken if (best := next((e for e in own if hit(e, t)), None))]
        false = (event for event in own if not any(hit(event, target) for target in spoken))
        wrong = list(islice(false, int(FALSE * hours)))
        ends = [round((e.offset - how.tail_s) / model.frame_s) - 1 for e in right + wrong]
        levels = np.full(len(ends), bank.level[k])
        inputs.append(np.stack([ratios[ends, k], aligned.symbols[ends, k], levels], axis=1))
        truth += [True] * len(right) + [False] * len(wrong)
        weights += [len(wrong) / max(1, len(right))] * len(right) + [1.0] * len(wrong)
    x, y = np.concatenate(inputs), np.array(truth)
    ratio, symbols, level = map(float, LogisticRegression().fit(x, y, weights).coef_[0].round(3))
    alarms = np.sort((x @ [ratio, symbols, level])[~y])[::-1]
    bias = round(-float(alarms[int(hours * len(phrases))]), 2)
    how = replace(how, ratio=ratio, symbols=symbols, level=-level, bias=bias)
    print(f"{y.sum()} right and {(~y).sum()} false: {how}", flush=True)
    return how


def whole_clip(model: NanoKeyword, data: Path, work: Path) -> float:
    """Return the constant ``whole``."""
    rng, recordings = np.random.default_rng(0), Recordings(data, work)
    clips = [
        (item.words, item.wave())
        for table in sorted(work.glob("phrases-*.csv"))
        for item in synthetic(table)
        if item.words in CHOOSING_SPOKEN
    ]
    for phrase in CHOOSING:
        own = [item for item in recordings.items if item.phrase == phrase]
        clips += [(phrase, recordings.wave(own[i])) for i in rng.permutation(len(own))[:CLIPS]]
    phrases = sorted({phrase for phrase, _ in clips} | set(OTHERS))
    bank = model.embed_labels(LabelSet([f"keyword: {said(phrase)}" for phrase in phrases])).keywords
    logits = []
    for number, (phrase, clip) in enumerate(clips):
        wave = resample(resample(clip, RATE, RATE // 2), RATE // 2, RATE) if number % 2 else clip
        noise = np.float32(np.abs(wave).max() * 0.003) * rng.standard_normal(len(wave), np.float32)
        whole = WholeClip(bank)
        whole.push(model.log_probs([np.pad(wave + noise, (RATE // 10, RATE // 2))])[0])
        right = phrases.index(phrase)
        others = rng.choice([i for i in range(len(phrases)) if i != right], 9, replace=False)
        logits.append(whole.logits()[[right, *others]])
    x = np.stack(logits)
    bias = brentq(lambda shift: expit(x + shift).sum(axis=1).mean() - 1, -30.0, 30.0)
    heard, false = (x[:, 0] + bias > 0).mean(), (x[:, 1:] + bias > 0).mean()
    print(
        f"{len(x)} clips of one phrase: {heard:.1%} score 0.5 or more, other phrases {false:.2%}", flush=True
    )
    return round(float(bias), 2)


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
    model = load(options)
    model.scoring = calibrate(model, options.data, options.work)
    whole = whole_clip(model, options.data, options.work)
    print(json.dumps(asdict(replace(model.scoring, whole=whole))))


if __name__ == "__main__":
    main()
