"""Collect single words and phrases of many people: recorded words, and what is known to be said in commands.

    python -m training.keyword_people --data DATA --work WORK

Writes ``speech-people-0.raw`` and ``.csv`` into the work folder, in the form of ``keyword_voices``: the
fifteen recorded words that may be learned, and from every second spoken command the phrases that are known to
be in it, found by the model in the package. The other commands remain for testing. Nothing with a held-out
word is taken.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import zsaudio
from training.keyword_data import RATE
from training.keyword_evaluate import recorded_words
from training.keyword_statistics import heard, rows, said_in
from training.keyword_text import Banned
from zsaudio.labels import LabelSet
from zsaudio.models.speech.alignment import KeywordSpotter
from zsaudio.models.speech.nano_keyword import NanoKeyword
from zsaudio.models.speech.phonemes import PHONEMES

LEAST = 0.0  # log-odds that a phrase is where it was found
SILENCE_S = 0.1  # that ``heard`` puts in front
AROUND_S = 0.03  # kept before and after a phrase

Found = tuple[np.ndarray, str, tuple[int, ...], str]  # waveform, words, symbols, voice


def best_way(model: NanoKeyword, text: str, log_probs: np.ndarray, ends: slice) -> tuple[int, ...]:
    """Return the pronunciation that fits best of those that end in some frames."""
    ways = model.symbols(text)
    ratios = model.scoring.aligner([[way] for way in ways]).push(log_probs).ratio[ends]
    return ways[int(ratios.max(axis=0).argmax())]


def words(data: Path) -> Iterator[Found]:
    """Yield the recorded words, each with the pronunciation that fits best."""
    model = NanoKeyword()
    for path, word, speaker in recorded_words(data, digits=False):
        (log_probs,) = heard(model, [path])
        symbols = best_way(model, word, log_probs, slice(None))
        yield zsaudio.load_audio(path, RATE)[0], word, symbols, f"{speaker}/{path.name}"


def phrases(data: Path) -> Iterator[Found]:
    """Yield the phrases that are found in every second command."""
    model, banned = NanoKeyword(), Banned(data / "keywords" / "heldout_words.txt")
    commands = rows(data, "commands")[::2]
    known = {phrase for row in commands for phrase in said_in(row)}
    known = {phrase for phrase in known if not set(phrase.split()) & banned.words}
    texts = sorted(known)
    bank = model.embed_labels(LabelSet([f"keyword: {text}" for text in texts])).keywords
    for row in commands:
        path = data / "commands" / row["file"]
        wave, (log_probs,) = zsaudio.load_audio(path, RATE)[0], heard(model, [path])
        spotted = KeywordSpotter(bank, model.scoring).push(log_probs)
        for phrase in dict.fromkeys(said_in(row)):
            if phrase not in known:
                continue
            k = texts.index(phrase)
            end = int(spotted.logits[:, k].argmax())
            if spotted.logits[end, k] < LEAST:
                continue
            symbols, how = best_way(model, phrase, log_probs, slice(end, end + 1)), model.scoring
            start_s = float(spotted.start[end, k]) * model.frame_s - how.lead_s - SILENCE_S - AROUND_S
            end_s = (end + 1) * model.frame_s + how.tail_s - SILENCE_S + AROUND_S
            piece = wave[max(0, int(start_s * RATE)) : int(end_s * RATE)]
            yield piece, phrase, symbols, f"{row['file']} {phrase}"


def main() -> None:
    """Write the table and the audio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    name, position = options.work / "speech-people-0", 0
    with (
        name.with_suffix(".csv").open("w", newline="") as table,
        name.with_suffix(".raw").open("wb") as audio,
    ):
        writer = csv.writer(table)
        writer.writerow(["start", "samples", "words", "phones", "voice"])
        for part in (words, phrases):
            count = 0
            for found, text, symbols, voice in part(options.data):
                wave = np.round(found * (20000 / max(np.abs(found).max(), 1e-6))).astype("<i2")
                audio.write(wave.tobytes())
                phones = " ".join(PHONEMES[symbol - 1] for symbol in symbols)
                writer.writerow([position, len(wave), text, phones, voice])
                position += len(wave)
                count += 1
            print(f"{part.__name__}: {count}, {position / RATE / 60:.1f} minutes in all")


if __name__ == "__main__":
    main()
