"""The figures of nano-keyword's model card.

    python -m training.keyword_evaluate naming --data DATA --work WORK       # held-out phrases among 51
    python -m training.keyword_evaluate lengths --data DATA --work WORK      # words of few and many phonemes
                                                      (``--within``: inside sentences)
    python -m training.keyword_evaluate words --data DATA --work WORK        # recorded digits, at 8 kHz too
    python -m training.keyword_evaluate sequence --data DATA --work WORK     # digits, one after another
    python -m training.keyword_evaluate few --data DATA --work WORK          # digits learned from recordings
    python -m training.keyword_evaluate quiet --data DATA --work WORK        # an hour without speech
    python -m training.keyword_evaluate delay --data DATA --work WORK        # from a word's end to its event
    python -m training.keyword_evaluate speed --data DATA --work WORK

They use the weights in the package, with ``--checkpoint`` those of a training run. They look at the phrases
``HELD_OUT`` of ``keyword_data``; choices look at ``CHOOSING``, which are not trained on either.
"""

import argparse
import csv
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import zsaudio
from training.keyword_data import BY_HAND, CHOOSING, HELD_OUT, RATE, Recordings, noises
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.keyword_peaks import KeywordDetector
from zsaudio.labels import LabelSet
from zsaudio.learning.keywords import pronunciations
from zsaudio.models.speech.alignment import AlignmentScoring, Keywords, KeywordSpotter, ordinary_level
from zsaudio.models.speech.nano_keyword import NanoKeyword
from zsaudio.models.speech.network import KeywordNetwork
from zsaudio.models.speech.whole_clip import WholeClip
from zsaudio.recognizer import Recognizer

# Thirty more phrases that a clip could be named, of one to four words.
OTHERS = (
    "hey siri, okay google, hello robot, bumblebee, grasshopper, picovoice, terminator, blueberry, "
    "porcupine, americano, grapefruit, hey barista, lights on, play music, turn it off, good morning, "
    "what time is it, volume up, next song, call mother, open the window, start the engine, red alert, "
    "coffee please, take a picture, elephant, umbrella, kitchen, guitar, emergency"
).split(", ")
DIGITS = "zero one two three four five six seven eight nine".split()
QUIET = (
    "hey computer, jarvis, alexa, view glass, good morning, emergency, turn it off, help me, "
    "open the window, elephant"
).split(", ")


def said(phrase: str) -> str:
    """Return a phrase with the pronunciation by hand of what no dictionary has."""
    if not any(word in BY_HAND for word in phrase.split()):
        return phrase
    from training.keyword_data import pronounce

    return f"{phrase} /{' '.join(pronounce(phrase))}/"


def load(options: argparse.Namespace) -> NanoKeyword:
    """Return the model of the package, or one with the weights of a training run."""
    model = NanoKeyword(options.folder)
    if options.checkpoint:
        model.network = KeywordNetwork(model.config)
        model.network.load_state_dict(torch.load(options.checkpoint)["network"])
        model.network.eval().requires_grad_(False)
        model.network.fuse()
    if options.scoring:
        model.scoring = AlignmentScoring(**json.loads(options.scoring))
    return model


def log_odds(model: NanoKeyword, waves: list[np.ndarray], phrases: list[str]) -> np.ndarray:
    """Return the log-odds ``(clips, phrases)`` that each phrase is in a clip."""
    keywords = model.embed_labels(LabelSet([f"keyword: {said(phrase)}" for phrase in phrases])).keywords
    heard = (model.log_probs([np.pad(wave, (RATE // 10, RATE // 2))])[0] for wave in waves)
    return np.stack(
        [model.scoring.best(KeywordSpotter(keywords, model.scoring).push(log_probs)) for log_probs in heard]
    )


def clips(options: argparse.Namespace, phrases: tuple[str, ...]) -> tuple[list[np.ndarray], list[str]]:
    """Return the recordings of some phrases, at most ``--most`` of each, and what each says."""
    recordings = Recordings(options.data, options.work)
    chosen = []
    for phrase in phrases:
        chosen += [item for item in recordings.items if item.phrase == phrase][: options.most]
    return [recordings.wave(item) for item in chosen], [item.phrase for item in chosen]


def all_phrases(options: argparse.Namespace) -> list[str]:
    """Return the 21 recorded phrases."""
    return sorted({item.phrase for item in Recordings(options.data, options.work).items})


def naming(options: argparse.Namespace) -> None:
    """Classify recordings among the 21 recorded phrases and thirty others."""
    model, phrases = load(options), all_phrases(options) + list(OTHERS)
    tested = CHOOSING if options.choosing else HELD_OUT
    waves, truth = clips(options, tested)
    logits = log_odds(model, waves, phrases)
    named = [phrases[i] for i in logits.argmax(axis=1)]
    right = np.array([a == b for a, b in zip(named, truth, strict=True)])
    print(f"{right.mean():.1%} of {len(right)} recordings named right among {len(phrases)} phrases")
    for phrase in tested:
        own = np.array([t == phrase for t in truth])
        wrong = [n for n, t, r in zip(named, truth, right, strict=True) if t == phrase and not r]
        common = ", ".join(f"{name} {n}" for name, n in Counter(wrong).most_common(5))
        at = logits[own, phrases.index(phrase)]
        print(
            f"  {phrase:<15} {right[own].mean():.1%} of {own.sum()}; "
            f"score above 0.5: {(at > 0).mean():.1%}; {common}"
        )


def lengths(options: argparse.Namespace) -> None:
    """Classify synthetic held-out words, alone or inside sentences, by their number of phonemes."""
    from training.keyword_text import Utterance, Writer, bare, dictionary
    from training.keyword_voices import espeak, kokoro

    model = load(options)
    lines = (options.data / "keywords" / "heldout_words.txt").read_text(encoding="utf-8").splitlines()
    words = [line for line in lines if line and not line.startswith("#") and line not in HELD_OUT]
    words = [word for word in words if all(part in dictionary() for part in word.split())]
    rng = np.random.default_rng(0)
    speakers = [espeak(rng)] + ([kokoro(options.kokoro, rng)] if options.kokoro else [])
    writer, waves, truth = Writer(options.data, 0), [], []
    import soxr

    for word in words:
        for turn in range(20):
            text = writer.around(word.split(), words) if options.within else word.split()
            utterance = Utterance(tuple(text), tuple(dictionary()[part][0] for part in text))
            wave, rate, _ = speakers[turn % len(speakers)](utterance)
            wave = soxr.resample(wave, rate, RATE)
            waves.append(
                wave * (0.3 / np.abs(wave).max()) + rng.normal(0, 0.003, len(wave)).astype(np.float32)
            )
            truth.append(word)
    logits = log_odds(model, waves, words)
    size = np.array([sum(len(bare(dictionary()[p][0])) for p in word.split()) for word in truth])
    right = np.array([words[i] == t for i, t in zip(logits.argmax(axis=1), truth, strict=True)])
    own = np.array([row[words.index(t)] for row, t in zip(logits, truth, strict=True)])
    others = np.array([[t != word for word in words] for t in truth])
    for low, high in ((1, 3), (4, 5), (6, 20)):
        here = (size >= low) & (size <= high)
        sizes = np.array([sum(len(bare(dictionary()[p][0])) for p in word.split()) for word in words])
        false = (logits > 0) & others & ((sizes >= low) & (sizes <= high))[None]
        print(
            f"{low} to {high} phonemes: {len(set(np.array(truth)[here]))} words, {here.sum()} clips, "
            f"{right[here].mean():.1%} named right among {len(words)}, "
            f"{(own[here] > 0).mean():.1%} score above 0.5; "
            f"{false.sum() / len(truth):.2f} other words of this length do, per clip"
        )


def recorded_words(data: Path, digits: bool) -> list[tuple[Path, str, str]]:
    """Return file, word and speaker of the recorded words: the ten digits, or those that may be learned."""
    with (data / "words" / "words.csv").open(newline="", encoding="utf-8") as handle:
        rows = [
            (data / "words" / row["file"], row["word"], row["speaker"])
            for row in csv.DictReader(handle)
            if (row["word"] in DIGITS) is digits
        ]
    return rows


def words(options: argparse.Namespace) -> None:
    """Name recorded words of many people: the ten digits; with ``--choosing`` the fifteen others."""
    import soxr

    model, rows = load(options), recorded_words(options.data, not options.choosing)
    names = sorted({word for _, word, _ in rows})
    recognizer = Recognizer([f"keyword: {name}" for name in names], keyword_model=model)
    truth = [f"keyword: {word}" for _, word, _ in rows]
    for rate in (RATE, RATE // 2):
        clips = [zsaudio.load_audio(path, RATE)[0] for path, _, _ in rows]
        if rate != RATE:
            clips = [soxr.resample(clip, RATE, rate) for clip in clips]
        alone = [tags.tags for tags in recognizer.tag_batch(clips, rate)]
        exclusive = [tags.tags for tags in recognizer.tag_batch(clips, rate, exclusive=True)]
        named, best = (
            np.mean([tags[0].label == right for tags, right in zip(each, truth, strict=True)])
            for each in (exclusive, alone)
        )
        heard = np.mean(
            [any(t.label == w and t.score >= 0.5 for t in tags) for tags, w in zip(alone, truth, strict=True)]
        )
        print(
            f"{len(rows)} clips of {len(names)} words at {rate // 1000} kHz: {named:.1%} named right with "
            f"--exclusive, {best:.1%} by the best independent score; {heard:.1%} of the right words reach 0.5"
        )


def sequence(options: argparse.Namespace) -> None:
    """Detect recorded digits one after another, at several thresholds, where they compete and where not."""
    from training.keyword_stream import Target, hit  # which needs this module

    model, rows = load(options), recorded_words(options.data, not options.choosing)
    names, rng, at = sorted({word for _, word, _ in rows}), np.random.default_rng(0), 0.0
    stream, targets = [], []
    for i in rng.permutation(len(rows)):
        path, word, _ = rows[i]
        wave = zsaudio.load_audio(path, RATE)[0]
        pause = np.zeros(int(RATE * rng.uniform(0.05, 0.4)), np.float32)
        stream += [wave * np.float32(0.1 / np.sqrt(np.square(wave).mean())), pause]
        targets.append(Target(f"keyword: {word}", at, at + len(wave) / RATE))
        at += (len(wave) + len(pause)) / RATE
    noise = rng.normal(0, 0.001, sum(map(len, stream))).astype(np.float32)
    (heard,) = model.log_probs([np.concatenate(stream) + noise])
    labels = LabelSet([f"keyword: {name}" for name in names])
    spotted = KeywordSpotter(model.embed_labels(labels).keywords, model.scoring).push(heard)
    for threshold in (0.5, 0.3, 0.15, 0.05):
        for compete in (False, True):
            how = DetectionOptions(threshold=threshold)
            detector = KeywordDetector(list(labels), how, model.scoring, model.frame_s, compete)
            found, wrong = set(), 0
            for event in detector.push(spotted) + detector.flush():
                own = {t.onset for t in targets if t.phrase == event.label and hit(event, t)}
                found |= own
                wrong += not own
            print(
                f"threshold {threshold}, {'competing' if compete else 'alone'}: "
                f"{len(found) / len(targets):.1%} of {len(targets)} words detected, {wrong} wrong events"
            )


def few(options: argparse.Namespace) -> None:
    """Name digits of people who were not enrolled: from 1 to 20 recordings of each, from text, from both."""
    import soxr

    model, rows = load(options), recorded_words(options.data, not options.choosing)
    words = sorted({word for _, word, _ in rows})
    known = {word: model.symbols(word) for word in words}
    for rate in (RATE, RATE // 2):
        heard = []
        for path, _, _ in rows:
            wave = zsaudio.load_audio(path, RATE)[0]
            wave = wave if rate == RATE else soxr.resample(soxr.resample(wave, RATE, rate), rate, RATE)
            heard += model.log_probs([np.pad(wave, (RATE // 10, RATE // 2))])
        for size in (1, 5, 10, 20):
            found = []
            for seed in range(3):
                order, enrolled = np.random.default_rng(seed).permutation(len(rows)), []
                for word in words:
                    enrolled += [i for i in order if rows[i][1] == word][:size]
                people = {rows[i][2] for i in enrolled}
                own = {word: [heard[i] for i in enrolled if rows[i][1] == word] for word in words}
                silent = [(1,)]  # no word was heard in what was enrolled
                examples = {word: pronunciations(own[word], [], model) or silent for word in words}
                both = {word: pronunciations(own[word], known[word], model) for word in words}
                tested = [i for i in order if rows[i][2] not in people]
                for way in (known, examples, both):
                    level = ordinary_level(list(way.values()), model.cohort, model.scoring)
                    keywords = Keywords(list(way.values()), level)
                    named = []
                    for i in tested:
                        clip = WholeClip(keywords)
                        clip.push(heard[i])
                        named.append(words[int(clip.logits().argmax())] == rows[i][1])
                    found.append(np.mean(named))
            text, learned, together = np.reshape(found, (3, 3)).mean(axis=0)
            print(
                f"{rate // 1000} kHz, {size} recordings of each: {learned:.1%} named right from them, "
                f"{text:.1%} from text, {together:.1%} from both (last of 3 draws: {len(tested)} clips)",
                flush=True,
            )


def quiet(options: argparse.Namespace) -> None:
    """Detect ten keywords in sounds that are not speech."""
    model = load(options)
    import soundfile
    import soxr

    sounds = [noises(options.data, options.work, (5,), free=None).reshape(-1).astype(np.float32) / 32768]
    for path in sorted((options.data / "instruments" / "audio").iterdir()):
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
        sounds.append(soxr.resample(wave.mean(axis=1), rate, RATE))
    stream = np.concatenate(sounds)[: 3600 * RATE]
    labels = [f"keyword: {phrase}" for phrase in QUIET]
    events = Recognizer(labels, keyword_model=model).detect(stream, RATE)
    print(
        f"{len(events)} events of {len(labels)} keywords in {len(stream) / RATE / 3600:.2f} h "
        f"without speech: {events}"
    )


def delay(options: argparse.Namespace) -> None:
    """Stream synthetic keywords whose ends are known, in blocks of 20 ms; one thread, as in ``listen``."""
    import soxr

    from training.keyword_text import Utterance, dictionary
    from training.keyword_voices import espeak, trim

    torch.set_num_threads(1)
    rng, every = np.random.default_rng(0), 5 * RATE
    speak = espeak(rng)
    stream = rng.normal(0, 0.002, 100 * every).astype(np.float32)
    truth = []
    for number, phrase in enumerate(QUIET * 10):
        phones = tuple(dictionary()[word][0] for word in phrase.split())
        wave, rate, _ = speak(Utterance(tuple(phrase.split()), phones))
        wave = trim(soxr.resample(wave, rate, RATE))[: 3 * RATE]
        start = number * every + RATE
        stream[start : start + len(wave)] += wave * np.float32(0.3 / np.abs(wave).max())
        margin = RATE // 20  # what trim leaves on either side
        truth.append((f"keyword: {phrase}", (start + margin) / RATE, (start + len(wave) - margin) / RATE))
    now = 0.0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal now
        for start in range(0, len(stream), RATE // 50):
            now = (start + RATE // 50) / RATE
            yield stream[start : start + RATE // 50]

    labels = [f"keyword: {phrase}" for phrase in QUIET]
    started, found = time.perf_counter(), []
    for event in Recognizer(labels, keyword_model=load(options)).stream(blocks(), RATE):
        found.append((event, now))
    spent = time.perf_counter() - started
    rows = [
        (at - offset, event.onset - onset, event.offset - offset)
        for label, onset, offset in truth
        for event, at in found
        if event.label == label and abs(event.offset - offset) < 0.5
    ]
    late, onsets, offsets = np.array(rows).T
    print(f"{len(rows)} of {len(truth)} heard; {spent / len(stream) * RATE:.2%} of one core's time")
    print(
        f"from a word's end to its event: median {np.median(late):.2f} s, "
        f"95 % below {np.quantile(late, 0.95):.2f} s"
    )
    for name, errors in (("onset", onsets), ("offset", offsets)):
        low, middle, high = np.quantile(errors, [0.1, 0.5, 0.9])
        print(f"error of the {name}: median {middle:+.2f} s, 80 % within {low:+.2f} to {high:+.2f} s")


def speed(options: argparse.Namespace) -> None:
    """Time ten minutes of audio on one core: the network, and 1, 10, 20 and 110 keywords."""
    torch.set_num_threads(1)
    model, rng = load(options), np.random.default_rng(0)
    stream = rng.normal(0, 0.05, 600 * RATE).astype(np.float32)
    windows = np.split(stream, 20)

    def best(run, times: int = 3) -> float:  # type: ignore[no-untyped-def]
        spent = []
        for _ in range(times):
            started = time.perf_counter()
            run()
            spent.append(time.perf_counter() - started)
        return min(spent)

    network = best(lambda: [model.log_probs([window]) for window in windows])
    print(f"network: {600 / network:.0f} times real time")
    heard = model.log_probs([stream[: 60 * RATE]])[0]
    for n in (1, 10, 20, 110):
        bank = model.embed_labels(
            LabelSet(
                [f"keyword: {w}" for w in (QUIET + list(OTHERS) * 4)[:n]][:n]
                if n <= 40
                else [f"keyword: number {i} please" for i in range(n)]
            )
        ).keywords
        spent = 10 * best(lambda bank=bank: KeywordSpotter(bank, model.scoring).push(heard))
        print(
            f"{n} keywords: {600 / (network + spent):.0f} times real time in all, "
            f"alignment {spent / network:.2%} of the network"
        )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", choices=["naming", "lengths", "words", "sequence", "few", "quiet", "delay", "speed"]
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--folder", type=Path, help="of a model, in place of the package's")
    parser.add_argument("--checkpoint", type=Path, help="weights of a training run")
    parser.add_argument("--scoring", help="constants as JSON, in place of the model's")
    parser.add_argument(
        "--choosing", action="store_true", help="test on the phrases that settings are chosen on"
    )
    parser.add_argument("--most", type=int, default=10_000, help="recordings of a phrase")
    parser.add_argument("--kokoro", type=Path, help="as for keyword_voices")
    parser.add_argument("--within", action="store_true", help="words inside sentences")
    options = parser.parse_args()
    globals()[options.what](options)


if __name__ == "__main__":
    main()
