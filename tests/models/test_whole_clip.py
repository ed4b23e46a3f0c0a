"""The likelihood of a whole clip is the sum over all ways to explain it."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from tone_speech import RATE, ToneSpeech, speak

from zsaudio.models.speech.alignment import Keywords
from zsaudio.models.speech.whole_clip import _OTHER, _SCALE, _SYMBOL, WholeClip
from zsaudio.recognizer import Recognizer


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    kept = [symbol for i, symbol in enumerate(path) if i == 0 or symbol != path[i - 1]]
    return tuple(symbol for symbol in kept if symbol)


def by_force(log_probs: np.ndarray, keyword: tuple[int, ...]) -> float:
    """The sum over all stretches and paths that begin and end in the keyword's symbols, others around."""
    n = len(log_probs)
    other = np.maximum(log_probs[:, 0], log_probs.max(axis=1) - _OTHER)
    total = -np.inf
    for first in range(n):
        for end in range(first + 1, n + 1):
            for path in product(range(log_probs.shape[1]), repeat=end - first):
                if path[0] and path[-1] and collapsed(path) == keyword:
                    inside = sum(log_probs[first + i, symbol] for i, symbol in enumerate(path))
                    total = np.logaddexp(total, inside + other[:first].sum() + other[end:].sum())
    return float(total)


@pytest.mark.parametrize("keyword", [(1,), (1, 2), (2, 2), (2, 1, 2)])
def test_the_sum_over_all_paths(keyword: tuple[int, ...]) -> None:
    log_probs = np.log(np.random.default_rng(0).dirichlet([0.5, 0.5, 0.5], 5) + 1e-4)
    clip = WholeClip(Keywords([[keyword]], np.zeros(1)))
    clip.push(log_probs[:2])
    clip.push(log_probs[2:])
    expected = _SCALE * (by_force(log_probs, keyword) + _SYMBOL * len(keyword))
    assert clip.logits() == pytest.approx([expected])


def test_a_short_word_does_not_win_inside_a_long_one() -> None:
    """Independent scores find both; the clip as a whole is the longer, wherever the short one stands."""
    recognizer = Recognizer(["keyword: bc", "keyword: abcd", "keyword: de"], keyword_model=ToneSpeech())
    for said, right in (("abcd", "abcd"), ("bc", "bc"), ("bc h", "bc")):
        clip = speak(f"  {said}  ")
        first, second, *_ = recognizer.tag(clip, RATE, exclusive=True)
        assert first.label == f"keyword: {right}" and first.score > 0.9
        assert second.score < 0.1


def test_pieces_do_not_matter_and_nothing_is_no_keyword() -> None:
    recognizer = Recognizer(["keyword: bc", "keyword: abcd"], keyword_model=ToneSpeech())
    tags = recognizer.tag(np.zeros(RATE, np.float32), RATE, exclusive=True)
    assert sum(tag.score for tag in tags) == pytest.approx(1.0)
    assert all(np.isfinite(tag.score) for tag in tags)


def test_a_clip_that_is_nothing_but_the_keyword_needs_less_of_a_sign() -> None:
    """The model's constant for whole clips counts where the keyword is alone, and never in silence."""
    model = ToneSpeech()
    recognizer = Recognizer(["keyword: bc", "keyword: abcd"], keyword_model=model)
    alone, silence = speak("  bc  "), np.zeros(RATE, np.float32)
    model.scoring = replace(model.scoring, bias=-20.0)
    assert all(tag.score < 0.01 for tag in recognizer.tag(alone, RATE))
    model.scoring = replace(model.scoring, whole=10.0)
    first, second = recognizer.tag(alone, RATE)
    assert first.label == "keyword: bc" and first.score > 0.99
    assert second.score < 0.5
    assert all(tag.score < 0.01 for tag in recognizer.tag(silence, RATE))
    assert all(tag.score < 0.01 for tag in recognizer.tag(speak("efgh bc efgh"), RATE))
    # nor in long recordings, which are not asked
    long = np.concatenate([np.zeros(40 * RATE, np.float32), alone])
    assert all(tag.score < 0.01 for tag in recognizer.tag(long, RATE))
