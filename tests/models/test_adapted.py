from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import tone
from tone_encoder import ToneCommand, ToneEncoder

from zsaudio.errors import ModelError
from zsaudio.labels import LabelSet
from zsaudio.models.learned.adapted import Adapted
from zsaudio.recognizer import Recognizer

LABELS = LabelSet(["my machine", "900", "3000", "an owl"])
STRENGTH = 20.0


def key(frequency: float) -> np.ndarray:
    mean = ToneEncoder().encode_audio([tone(frequency, 1.0)])[0].mean(axis=0)
    return mean / np.linalg.norm(mean)


@pytest.fixture
def adapted() -> Adapted:
    keys = np.stack([key(800), key(5000)])
    return Adapted(ToneEncoder(), "tones", keys, ("My machine", "my machine"), STRENGTH)


def logits(model: object, sound: np.ndarray, labels: LabelSet = LABELS) -> np.ndarray:
    return model.logits([sound], model.embed_labels(labels))[0]  # type: ignore[attr-defined]


def test_other_labels_keep_exactly_their_logits(adapted: Adapted) -> None:
    rng = np.random.default_rng(0)
    for sound in (tone(800, 1.0), tone(440, 2.0), rng.normal(size=20_000).astype(np.float32)):
        before, after = logits(ToneEncoder(), sound), logits(adapted, sound)
        assert np.array_equal(before[:, 1:], after[:, 1:])
        assert not np.array_equal(before[:, 0], after[:, 0])


def test_a_match_adds_the_strength_and_others_little(adapted: Adapted) -> None:
    def gain(frequency: float) -> float:
        sound = tone(frequency, 1.0)
        return float((logits(adapted, sound) - logits(ToneEncoder(), sound))[:, 0].mean())

    assert gain(800) == pytest.approx(STRENGTH, abs=0.02)
    assert gain(5000) == pytest.approx(STRENGTH, abs=0.02)
    assert gain(820) > 0.8 * STRENGTH and gain(200) < 0.02 * STRENGTH


def test_it_is_recognised_now(adapted: Adapted) -> None:
    sound = tone(800, 1.0)
    assert Recognizer(LABELS, ToneEncoder()).tag(sound, 16_000)[0].label != "my machine"
    assert Recognizer(LABELS, adapted).tag(sound, 16_000)[0].label == "my machine"


def test_events_have_their_times(adapted: Adapted) -> None:
    sound = np.concatenate([tone(200, 4.0), tone(800, 3.0), tone(200, 4.0)])
    (event,) = Recognizer(["my machine"], adapted).detect(sound, 16_000)
    assert event.onset == pytest.approx(4.0, abs=1.1) and event.offset == pytest.approx(7.0, abs=1.1)


def test_a_folder_holds_all_of_it(adapted: Adapted, tmp_path: Path) -> None:
    adapted.save(tmp_path / "model")
    loaded = Adapted.load(tmp_path / "model", lambda name: ToneEncoder())
    assert loaded.labels == adapted.labels
    assert logits(loaded, tone(800, 1.0)) == pytest.approx(logits(adapted, tone(800, 1.0)), abs=1e-4)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="damaged"):
        Adapted.load(tmp_path / "model", lambda name: ToneEncoder())


class TestCommand(ToneCommand):
    def test_adapt_then_tag(self, write_wav: Callable[..., Path], tmp_path: Path) -> None:
        for i in range(3):
            write_wav(f"data/my_machine/{i}.wav", tone(790 + 10 * i, 1.0))
        code, out, err = self.run(
            "adapt", "nano", tmp_path / "data", "-o", tmp_path / "model", "--strength", 20
        )
        assert code == 0 and "nano with examples of my machine (3)" in out, err
        sound = write_wav("new.wav", tone(805, 1.0))
        how = ["tag", sound, "--labels", "an owl, my machine, 900", "-f", "csv"]
        assert ",my machine," not in self.run(*how)[1].splitlines()[1]
        assert ",my machine," in self.run(*how, "--model", tmp_path / "model")[1].splitlines()[1]
        # a model that was adapted can be adapted again
        write_wav("more/an owl/0.wav", tone(1500, 1.0))
        code, _, err = self.run(
            "adapt", tmp_path / "model", tmp_path / "more", "-o", tmp_path / "twice", "--strength", 20
        )
        assert code == 0, err
        sound = write_wav("owl.wav", tone(1500, 1.0))
        how[1] = sound
        assert ",an owl," in self.run(*how, "--model", tmp_path / "twice")[1].splitlines()[1]

    def test_more_than_32_examples(self, write_wav: Callable[..., Path], tmp_path: Path) -> None:
        for i in range(34):
            write_wav(f"data/hum/{i}.wav", tone(300 + i, 0.3))
        code, out, err = self.run("adapt", "nano", tmp_path / "data", "-o", tmp_path / "model")
        assert code == 0 and "hum (32)" in out and "'hum' has 34 examples: 32 of them are used" in err

    def test_bad_examples_are_named(self, write_wav: Callable[..., Path], tmp_path: Path) -> None:
        write_wav("data/hum/1.wav", tone(300, 0.3))
        (tmp_path / "data/hum/2.wav").write_text("no audio")
        code, out, err = self.run("adapt", "nano", tmp_path / "data", "-o", tmp_path / "model")
        assert code == 1 and "hum (1)" in out and "2.wav: not a recording" in err
