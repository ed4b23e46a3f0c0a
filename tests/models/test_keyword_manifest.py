"""Nothing that nano-keyword is tested on was ever spoken to it."""

import csv
import gzip
from pathlib import Path

import pytest

from zsaudio.models.speech.pronunciation import pronouncer

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "training" / "keyword_manifest.csv.gz"
# Put on the list after the network was trained: it has heard these, as its model card says.
HEARD = {"wildfire", "operator"}
HELD_OUT = ROOT.parent / "shared" / "data" / "keywords" / "heldout_words.txt"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with gzip.open(MANIFEST, "rt", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def held_out() -> list[str]:
    if not HELD_OUT.exists():
        pytest.skip("needs ../shared")
    lines = [line.strip().casefold() for line in HELD_OUT.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("#") and line not in HEARD]


def test_it_lists_all_sources(rows: list[dict[str, str]]) -> None:
    assert {row["source"] for row in rows} == {"espeak", "flite", "kokoro", "people", "recorded"}
    assert len(rows) > 10_000 and all(row["words"] and row["voice"] for row in rows)


def test_no_held_out_word_was_spoken(rows: list[dict[str, str]]) -> None:
    words = held_out()
    assert len(words) > 40
    spoken = {f" {row['words'].casefold()} " for row in rows}
    assert [w for w in words if any(f" {w} " in utterance for utterance in spoken)] == []


def test_no_word_that_sounds_like_one_was_spoken(rows: list[dict[str, str]]) -> None:
    say = pronouncer()
    sounds = {way for words in held_out() for word in words.split() for way in say.word(word)}
    spoken = {word for row in rows for word in row["words"].split() if word != "*"}
    assert len(spoken) > 5_000
    for word in sorted(spoken)[:: max(1, len(spoken) // 400)]:  # a look-up takes a moment
        assert not sounds & set(say.word(word)), word
    made_up = {tuple(row["phonemes"].split()) for row in rows if row["phonemes"]}
    assert made_up and not sounds & made_up


def test_recorded_phrases_are_the_others(rows: list[dict[str, str]]) -> None:
    phrases = {row["words"] for row in rows if row["source"] == "recorded"}
    assert phrases and not phrases & {"jarvis", "alexa", "view glass", "snowboy", "amelia", "trick or treat"}
