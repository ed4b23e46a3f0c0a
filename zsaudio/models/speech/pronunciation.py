"""The pronunciation of English texts: from words to phonemes.

A word is looked up in the CMU Pronouncing Dictionary (134,000 English words and names, bundled). A word that
is not there is guessed from its letters by a small network (``letter_to_sound.py``). A pronunciation can also
be given by hand, between slashes: ``zsaudio /z iː ɛ s ɔː d i oʊ/``.

Conventions: phonemes are ARPAbet without stress (``phonemes.PHONEMES``). A text has one or more
*pronunciations*; a keyword is detected when any of them is spoken.
"""

import gzip
import itertools
import re
import string
import unicodedata
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from zsaudio.errors import LabelError, ModelError
from zsaudio.models.speech.letter_to_sound import Letters
from zsaudio.models.speech.phonemes import PHONEMES

Pronunciation = tuple[str, ...]

WEIGHTS = Path(__file__).parents[1] / "weights" / "nano-keyword"

MOST = 12  # pronunciations of a text, at most; those of its words multiply
_SAID = {
    "&": "and",
    "%": "percent",
    "+": "plus",
    "@": "at",
    "=": "equals",
    "$": "dollar",
    "€": "euro",
    "£": "pound",
}
_LETTERS = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        "EY|B IY|S IY|D IY|IY|EH F|JH IY|EY CH|AY|JH EY|K EY|EH L|EH M|EH N|OW|P IY|K Y UW|AA R|EH S|T IY|"
        "Y UW|V IY|D AH B AH L Y UW|EH K S|W AY|Z IY".split("|"),
        strict=True,
    )
)

# The International Phonetic Alphabet, as dictionaries write English; longer symbols are matched first.
IPA = {
    "tʃ": "CH", "t͡ʃ": "CH", "ʧ": "CH", "dʒ": "JH", "d͡ʒ": "JH", "ʤ": "JH",
    "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY",
    "ɪə": "IH R", "eə": "EH R", "ɛə": "EH R", "ʊə": "UH R", "ɜɹ": "ER", "ɜr": "ER", "əɹ": "ER", "ər": "ER",
    "ɜ": "ER", "ɝ": "ER", "ɚ": "ER",
    "ɑ": "AA", "ɒ": "AA", "a": "AA", "æ": "AE", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɔ": "AO",
    "e": "EH", "ɛ": "EH", "ɪ": "IH", "ɨ": "IH", "i": "IY", "o": "OW", "ʊ": "UH", "u": "UW",
    "b": "B", "d": "D", "ð": "DH", "f": "F", "ɡ": "G", "g": "G", "h": "HH", "k": "K", "l": "L", "ɫ": "L",
    "m": "M", "n": "N", "ŋ": "NG", "p": "P", "r": "R", "ɹ": "R", "s": "S", "ʃ": "SH", "t": "T", "ɾ": "T",
    "ʔ": "T", "θ": "TH", "v": "V", "w": "W", "j": "Y", "z": "Z", "ʒ": "ZH",
}  # fmt: skip
_IPA_SYMBOL = re.compile("|".join(sorted(map(re.escape, IPA), key=len, reverse=True)))
_IPA_MARKS = re.compile("[ˈˌːˑ.'̩̯̃‿()]")


class Pronouncer:
    """Gives the pronunciations of texts.

    Parameters
    ----------
    folder
        Where ``dictionary.gz`` is: lines of a word, a tab, and phonemes.
    guess
        Guesses the pronunciations of a word of the letters a to z that is not in the dictionary, most likely
        first.

    Examples
    --------
    >>> pronouncer()("Hey, computer!")
    [('HH', 'EY', 'K', 'AH', 'M', 'P', 'Y', 'UW', 'T', 'ER')]
    """

    def __init__(self, folder: Path, guess: Callable[[str], Sequence[Pronunciation]]) -> None:
        self._folder, self._guess = folder, guess

    def __call__(self, text: str) -> list[Pronunciation]:
        """Return the pronunciations of a text, the usual one first, at most ``MOST``.

        Raises
        ------
        LabelError
            If the text has no words, or a letter that English does not have.
        """
        said, by_hand = split_pronunciation(text)
        if by_hand:
            return [read_pronunciation(each, text) for each in by_hand]
        found: list[Pronunciation] = []
        for words in spoken_words(said):
            for parts in itertools.islice(itertools.product(*map(self.word, words)), MOST):
                whole = tuple(phoneme for part in parts for phoneme in part)
                if whole not in found:
                    found.append(whole)
        return found[:MOST]

    def word(self, word: str) -> list[Pronunciation]:
        """Return the pronunciations of one word: of letters, with or without apostrophes."""
        key = word.casefold()
        for spelling in (key, key.replace("'", "")):
            if known := self._look_up(spelling):
                return known
        if key.endswith("'s"):
            return [(*stem, "Z") for stem in self.word(word[:-2])]
        letters = key.replace("'", "")
        spelled = tuple(" ".join(_LETTERS[letter] for letter in letters).split())
        if not re.search("[aeiouy]", letters):
            return [spelled]
        guessed = list(self._guess(letters))
        return [*guessed, spelled] if word.isupper() and len(letters) <= 5 else guessed

    def knows(self, text: str) -> bool:
        """Whether all words of a text are in the dictionary, so that nothing is guessed."""
        try:
            ways = spoken_words(text)
        except LabelError:  # letters that English does not have
            return False
        return all(self._look_up(word.casefold()) for words in ways for word in words)

    def _look_up(self, word: str) -> list[Pronunciation]:
        found, entry, at = [], f"\n{word}\t", 0
        while word and (at := self._dictionary.find(entry, at)) >= 0:
            at += len(entry)
            found.append(tuple(self._dictionary[at : self._dictionary.index("\n", at)].split()))
        return found

    @cached_property
    def _dictionary(self) -> str:
        path = self._folder / "dictionary.gz"
        try:
            text = gzip.decompress(path.read_bytes()).decode("ascii")
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise ModelError(f"{path}: damaged ({error})") from error
        return f"\n{text.strip()}\n"  # each line between two breaks


def pronouncer(folder: Path = WEIGHTS) -> Pronouncer:
    """Return what gives the pronunciations of English texts, from the files of nano-keyword."""
    return Pronouncer(folder, Letters(folder / "letters.safetensors"))


def split_pronunciation(text: str) -> tuple[str, list[str]]:
    """Split ``"zsaudio /z iː/ /z aʊ/"`` into what is written and what stands between slashes."""
    if "/" not in text:
        return text, []
    written, *rest = text.split("/")
    if len(rest) % 2:  # a slash without a second one
        raise LabelError(f"keyword '{text}': a pronunciation stands between two slashes, as in /h aɪ/")
    return written.strip(), [part.strip() for part in rest[::2]]


def read_pronunciation(written: str, where: str) -> Pronunciation:
    """Read phonemes, in ARPAbet with spaces between or in the International Phonetic Alphabet.

    Examples
    --------
    >>> read_pronunciation("z iː ɛ s ɔː d i oʊ", "")
    ('Z', 'IY', 'EH', 'S', 'AO', 'D', 'IY', 'OW')
    >>> read_pronunciation("HH AH0 L OW1", "")
    ('HH', 'AH', 'L', 'OW')
    """
    parts = [part.rstrip("012") for part in written.split()]
    if parts and all(part in PHONEMES for part in parts):
        return tuple(parts)
    found: list[str] = []
    for part in _IPA_MARKS.sub("", unicodedata.normalize("NFC", written)).split():
        at = 0
        while at < len(part):
            match = _IPA_SYMBOL.match(part, at)
            if not match:
                raise LabelError(
                    f"keyword '{where}': '{part[at:]}' is no phoneme of English; known are the IPA symbols "
                    f"{' '.join(IPA)} and the ARPAbet symbols {' '.join(PHONEMES)}"
                )
            found += IPA[match.group()].split()
            at = match.end()
    if not found:
        raise LabelError(f"keyword '{where}': nothing stands between the slashes")
    return tuple(found)


def spoken_words(text: str, alphabet: Collection[str] = string.ascii_letters) -> list[list[str]]:
    """Return the words of a text as they are spoken, in all readings of its numbers.

    Case is kept; punctuation is dropped; accents are, too ("café"), where the alphabet lacks the letter.
    Numbers are read in English.

    Examples
    --------
    >>> spoken_words("route 66!")
    [['route', 'sixty', 'six'], ['route', 'six', 'six']]
    >>> spoken_words("Café & bar")
    [['Cafe', 'and', 'bar']]

    Raises
    ------
    LabelError
        If no word is left, or a letter is not in the alphabet.
    """
    plain = "".join(
        c
        if c in alphabet
        else "".join(d for d in unicodedata.normalize("NFKD", c) if not unicodedata.combining(d))
        for c in unicodedata.normalize("NFC", text)
    )
    for sign, word in _SAID.items():
        plain = plain.replace(sign, f" {word} ")
    plain = plain.replace("’", "'")
    strange = sorted({c for c in plain if c.isalpha() and c not in alphabet})
    if strange:
        raise LabelError(
            f"keyword '{text}': the model has no letter '{''.join(strange)}'; say how it sounds, "
            f"as in: keyword: {text} /h aɪ/"
        )
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", plain)  # thousands
    tokens = re.findall(r"\d+(?:\.\d+)?(?:st|nd|rd|th)?(?![a-z])|\d+|[^\W\d_]+(?:'[^\W\d_]+)*", plain)
    if not tokens:
        raise LabelError(f"keyword '{text}': it has no word to listen for")
    ways: Iterable[tuple[list[str], ...]] = itertools.product(
        *(_figures(token) if token[0].isdigit() else [[token]] for token in tokens)
    )
    return [[word for part in way for word in part] for way in itertools.islice(ways, MOST)]


@cache
def _number_reader() -> Any:
    import inflect  # slow to import, and few keywords have numbers

    return inflect.engine()


def _figures(token: str) -> list[list[str]]:
    """Return the readings of a number: as a whole, in pairs if it may be a year, digit by digit."""
    engine = _number_reader()
    readings = [engine.number_to_words(token, andword="")]
    if token.isdigit() and len(token) > 1:
        if len(token) == 4 and token[0] in "12" and token[1:3] != "00":
            readings.insert(0, engine.number_to_words(token, group=2, zero="oh"))
        readings.append(engine.number_to_words(token, group=1))
    found: list[list[str]] = []
    for reading in readings:
        words = re.findall("[a-z]+", str(reading))
        if words not in found:
            found.append(words)
    return found
