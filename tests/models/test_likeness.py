"""How like two sounds are."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from zsaudio import load_audio
from zsaudio.models.likeness import directions
from zsaudio.models.nano.nano import Nano

AUDIO = Path(__file__).parents[2] / "examples" / "audio"


def test_without_parts_it_is_the_cosine() -> None:
    vectors = np.array([[3.0, 4.0], [0.0, -2.0], [0.0, 0.0]])
    expected = [[0.6, 0.8], [0.0, -1.0], [0.0, 0.0]]
    np.testing.assert_allclose(directions(vectors, SimpleNamespace()), expected, rtol=1e-6)


def test_each_part_is_taken_less_its_mean() -> None:
    vectors, model = np.array([[5.0, 7.0, 1.0, 1.0, 4.0, 0.5]]), SimpleNamespace(parts=(2, 3))
    expected = np.array([[-1.0, 1.0, -1.0, -1.0, 2.0, 0.5]])  # what is behind the parts stays
    np.testing.assert_allclose(directions(vectors, model), expected / np.sqrt(8.25), rtol=1e-6)
    shifted = vectors + np.array([[9.0, 9.0, -3.0, -3.0, -3.0, 0.0]])
    np.testing.assert_allclose(directions(shifted, model), directions(vectors, model), atol=1e-6)
    assert vectors[0, 0] == 5.0  # the caller's are left alone


def test_unlike_sounds_are_not_alike_to_nano() -> None:
    nano = Nano()
    assert sum(nano.parts) == nano.dim
    waves = [load_audio(AUDIO / name, 16_000)[0] for name in ("speech.flac", "piano.ogg", "trumpet.ogg")]
    means = np.array([frames.mean(axis=0) for frames in nano.encode_audio(waves)])
    unit = directions(means, nano)
    # plain cosines: 0.78, 0.79 and 0.96
    assert (unit @ unit.T)[np.triu_indices(3, 1)] == pytest.approx([0.05, 0.07, 0.77], abs=0.02)
