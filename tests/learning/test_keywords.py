"""Keywords learned from recordings of words: their pronunciations are what the network writes."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from conftest import Run

from zsaudio.errors import DataError
from zsaudio.evaluation.datasets import read_dataset
from zsaudio.labels import LabelSet
from zsaudio.learning.keywords import _written, learn_keywords, pronunciations
from zsaudio.models.speech.nano_keyword import NanoKeyword
from zsaudio.recognizer import Recognizer

SPEECH = Path(__file__).parents[2] / "examples" / "audio" / "speech.flac"


@pytest.fixture(scope="module")
def model() -> NanoKeyword:
    return NanoKeyword()


def says(symbols: tuple[int, ...]) -> np.ndarray:
    """What a network that is nearly certain of these symbols returns."""
    frames = [0] * 5 + [s for symbol in symbols for s in (symbol, 0)] + [0] * 5
    probabilities = np.full((len(frames), 40), 0.001)
    probabilities[np.arange(len(frames)), frames] = 1 - 0.039
    return np.log(probabilities).astype(np.float32)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two copies of "good evening", of which one is fainter, under a name that no dictionary has."""
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    evening = samples[: round(1.1 * rate)]
    for number, gain in enumerate((1.0, 0.5)):
        path = tmp_path / "words" / "dobar večer" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, gain * evening, rate)
    return tmp_path / "words"


def test_what_a_network_writes() -> None:
    assert _written(says((3, 3, 7))) == (3, 3, 7)


def test_of_several_the_one_that_others_say(model: NanoKeyword) -> None:
    heard = [says((3, 7, 9)), says((3, 7, 9)), says((20, 21, 22, 23))]
    first, *others = pronunciations(heard, [], model)
    assert first == (3, 7, 9) and (20, 21, 22, 23) not in others


def test_the_dictionary_stays(model: NanoKeyword) -> None:
    known = [(3, 7, 9)]
    assert pronunciations([says((20, 21, 22))], known, model) == known  # one recording is no majority
    assert pronunciations([says((3, 7, 9))] * 3, known, model) == known  # nothing to add
    said = [says((20, 21, 22)), says((20, 21, 22)), says((20, 21, 23))]
    assert pronunciations(said, known, model)[:2] == [(3, 7, 9), (20, 21, 22)]


def test_a_word_of_another_language(data: Path, model: NanoKeyword) -> None:
    learned = learn_keywords(read_dataset(data), model)
    assert learned.examples == {"keyword: dobar večer": 2}
    recognizer = Recognizer(learned.labels, keyword_model=model)
    events = recognizer.detect(SPEECH)
    assert [event.label for event in events] == ["keyword: dobar večer"]
    assert events[0].onset < 1.0 and events[0].score > 0.5


def test_silence_is_no_word(tmp_path: Path, model: NanoKeyword) -> None:
    (tmp_path / "data" / "nothing").mkdir(parents=True)
    soundfile.write(tmp_path / "data" / "nothing" / "0.wav", np.zeros(16_000, np.float32), 16_000)
    with pytest.raises(DataError, match="no word is heard"):
        learn_keywords(read_dataset(tmp_path / "data"), model)


def test_on_the_command_line(zs: Run, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "words.yaml"
    ran = zs("adapt", "nano-keyword", data, "-o", target)
    assert (ran.code, ran.err) == (0, [])
    assert "keyword: dobar večer (2)" in ran.out
    (entry,) = yaml.safe_load(target.read_text(encoding="utf-8"))["labels"]
    assert entry["name"] == "keyword: dobar večer" and "/" in entry["prompts"][0]
    assert LabelSet.from_file(target).names == ("keyword: dobar večer",)
    assert "--overwrite replaces it" in zs("adapt", "nano-keyword", data, "-o", target).err[0]
    assert "ends in .yaml" in zs("adapt", "nano-keyword", data, "-o", tmp_path / "model").err[0]
