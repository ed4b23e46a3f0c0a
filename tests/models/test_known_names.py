import logging
from collections.abc import Sequence

import numpy as np
import pytest
from conftest import Run, ToneModel
from tone_encoder import ToneEncoder

from zsaudio.labels import Label, LabelSet
from zsaudio.models.base import Model
from zsaudio.models.known_names import Placed, place_labels, warn_of_guesses
from zsaudio.models.learned.adapted import Adapted
from zsaudio.recognizer import Recognizer


class Knowing(ToneEncoder):
    """Knows two names; a text is as near to one as the share of letters that they have in common."""

    name = "knowing"
    known_names = ("Dog", "Rain")
    guess_below = 0.5

    def nearest(self, texts: Sequence[str], k: int = 3) -> list[list[tuple[str, float]]]:
        def near(text: str, name: str) -> float:
            one, other = set(text.casefold()), set(name.casefold())
            return len(one & other) / len(one | other)

        return [
            sorted(((name, near(text, name)) for name in self.known_names), key=lambda pair: -pair[1])[:k]
            for text in texts
        ]


def test_labels_are_known_or_guesses() -> None:
    labels = [Label("dog"), Label("xqzzy"), Label("keyword: dog"), Label("wet", ("snow", "rain"))]
    assert place_labels(Knowing(), labels, k=1) == [
        Placed("dog", (("Dog", 1.0),), is_guess=False),
        Placed("xqzzy", (("Dog", 0.0),), is_guess=True),
        Placed("wet", (("Rain", 1.0),), is_guess=False),
    ]


def test_learned_labels_are_known() -> None:
    adapted = Adapted(Knowing(), "knowing", np.eye(1, 13, dtype=np.float32), ("Xqzzy",))
    assert place_labels(adapted, [Label("xqzzy")], k=2) == [
        Placed("xqzzy", (("Xqzzy", 1.0), ("Dog", 0.0)), is_guess=False)
    ]


@pytest.mark.parametrize("model", [ToneModel(), ToneEncoder()])
def test_a_model_of_any_text_has_no_guesses(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    assert place_labels(model, [Label("xqzzy")]) is None
    warn_of_guesses(model, [Label("xqzzy")])
    assert not caplog.records


def test_one_warning_names_the_guesses(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Recognizer(LabelSet(["dog", "xqzzy", *(f"w{n}w" for n in range(6))]), Knowing())
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "knowing knows no sound named like 'xqzzy' (nearest: 'Dog'), 'w0w' (nearest: 'Dog')"
    )
    assert " and 2 more: the scores are guesses" in record.getMessage()


def test_the_command(zs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zsaudio.models.registry.load_model", lambda name, **_: Knowing())
    done = zs("labels", "--check", "dog, xqzzy, keyword: help")
    assert done.code == 0
    assert done.out.splitlines() == [
        "dog    known  Dog 1.00, Rain 0.00",
        "xqzzy  guess  Dog 0.00, Rain 0.00",
    ]
    assert done.err[0].endswith("1 keywords are not checked: any English words can be one")
    assert "1 of 2 labels are guesses: nano knows no sound with such a name" in done.err[1]


def test_the_command_needs_names(zs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zsaudio.models.registry.load_model", lambda name, **_: ToneEncoder())
    done = zs("labels", "--check", "dog", "--model", "clap")
    assert done.code == 2 and "--check needs a model that learned classes with names" in done.err[-1]
    assert zs("labels", "@home", "--check", "dog").code == 2
