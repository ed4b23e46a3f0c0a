"""How texts are said."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from zsaudio.errors import LabelError
from zsaudio.models.speech.phonemes import PHONEMES
from zsaudio.models.speech.pronunciation import (
    IPA,
    MOST,
    Pronouncer,
    pronouncer,
    read_pronunciation,
    spoken_words,
)

SAY = pronouncer()


def said(text: str) -> list[str]:
    return [" ".join(way) for way in SAY(text)]


@pytest.fixture
def small(tmp_path: Path) -> Pronouncer:
    lines = "hey\tHH EY\ntomato\tT AH M EY T OW\ntomato\tT AH M AA T OW\nusa\tY UW EH S EY\n"
    (tmp_path / "dictionary.gz").write_bytes(gzip.compress(lines.encode()))
    return Pronouncer(tmp_path, lambda letters: [("K",) * len(letters)])


@pytest.mark.parametrize("text", ["hey computer", "Hey, Computer!", "  HEY - computer?!", "hey_computer"])
def test_case_and_punctuation_do_not_matter(text: str) -> None:
    assert said(text)[0] == "HH EY K AH M P Y UW T ER"


def test_words_with_several_pronunciations(small: Pronouncer) -> None:
    assert small("tomato tomato") == [
        tuple(f"T AH M {a} T OW T AH M {b} T OW".split()) for a in ("EY", "AA") for b in ("EY", "AA")
    ]
    assert len(small("tomato " * 6)) == MOST


def test_what_the_dictionary_lacks(small: Pronouncer) -> None:
    assert small("hey kkk") == [tuple("HH EY K EY K EY K EY".split())]  # no vowel: letter by letter
    assert small("abc") == [("K", "K", "K")]
    assert small("AEC") == [("K", "K", "K"), tuple("EY IY S IY".split())]  # perhaps an abbreviation
    assert small("hey's") == [tuple("HH EY Z".split())]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("route 66", [["route", "sixty", "six"], ["route", "six", "six"]]),
        ("007", [["seven"], ["zero", "zero", "seven"]]),
        ("1984", [["nineteen", "eighty", "four"], ["one", "thousand", "nine", "hundred", "eighty", "four"],
                  ["one", "nine", "eight", "four"]]),
        ("2nd", [["second"]]),
        ("3.5", [["three", "point", "five"]]),
        ("10,000", [["ten", "thousand"], ["one", "zero", "zero", "zero", "zero"]]),
        ("R2D2", [["R", "two", "D", "two"]]),
        ("rock & roll", [["rock", "and", "roll"]]),
        ("Zoë's café", [["Zoe's", "cafe"]]),
        ("don’t", [["don't"]]),
    ],
)  # fmt: skip
def test_spoken_words(text: str, words: list[list[str]]) -> None:
    assert spoken_words(text) == words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("?!", "it has no word"),
        ("привет", "has no letter 'веипрт'; say how it sounds, as in: keyword: привет /h aɪ/"),
        ("straße", "has no letter 'ß'"),
        ("zs /z iː", "stands between two slashes"),
        ("zs //", "nothing stands between the slashes"),
        ("zs /z ʘ/", "'ʘ' is no phoneme of English; known are"),
    ],
)
def test_what_cannot_be_said(text: str, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        SAY(text)


def test_a_sentence() -> None:
    (first, *_) = SAY("please open the window before the rain begins and call the neighbours")
    assert len(first) > 40 and set(first) <= set(PHONEMES)


def test_by_hand() -> None:
    assert said("zsaudio /z iː ɛ s ɔː d i oʊ/ /z-aʊ/".replace("-", "")) == ["Z IY EH S AO D IY OW", "Z AW"]
    assert said("/HH AH0 L OW1/") == ["HH AH L OW"]
    assert said("привет /p ɹ i v j ɛ t/") == ["P R IY V Y EH T"]


@pytest.mark.parametrize(
    ("ipa", "phonemes"),
    [
        ("ˈtʃɜːtʃ", "CH ER CH"),
        ("ˈwɔːtə", "W AO T AH"),
        ("həˈləʊ", "HH AH L OW"),
        ("dʒ ʌ dʒ", "JH AH JH"),
        ("ˈfaɪ.ɚ", "F AY ER"),
        ("bɪə", "B IH R"),
    ],
)
def test_ipa(ipa: str, phonemes: str) -> None:
    assert " ".join(read_pronunciation(ipa, "")) == phonemes


def test_ipa_covers_the_phonemes() -> None:
    assert {phoneme for name in IPA.values() for phoneme in name.split()} == set(PHONEMES)


def test_words_of_the_dictionary_need_no_torch() -> None:
    code = """
import sys
from zsaudio.models.speech.pronunciation import pronouncer
print(pronouncer()("hey computer")[0], "torch" in sys.modules)
print(len(pronouncer()("fenstermanic")), "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = "('HH', 'EY', 'K', 'AH', 'M', 'P', 'Y', 'UW', 'T', 'ER')"
    first, second = done.stdout.splitlines()
    assert first == f"{said} False"
    assert second.split()[1] == "True"  # guessed by the network
