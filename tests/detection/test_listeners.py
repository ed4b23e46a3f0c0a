"""Sounds and keywords are heard in one pass, and alike in files and streams."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ToneModel, tone
from tone_speech import LETTER_S, RATE, ToneSpeech, speak

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.listeners import plan_keyword_windows
from zsaudio.errors import OptionError
from zsaudio.labels import Label
from zsaudio.recognizer import Recognizer
from zsaudio.results import Event, FrameScores

LABELS = ["1000", "keyword: abc", "keyword: bc", "keyword: face"]


def pieces(samples: np.ndarray, *sizes: int) -> Iterator[np.ndarray]:
    at, turn = 0, 0
    while at < len(samples):
        yield samples[at : at + sizes[turn % len(sizes)]]
        at += sizes[turn % len(sizes)]
        turn += 1


def recognizer(*labels: str | Label, **options: object) -> Recognizer:
    return Recognizer(labels or LABELS, ToneModel(), keyword_model=ToneSpeech(), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """Twenty seconds: abc at 2 s, a tone from 6 to 8 s, abc twice from 12 s, and noise throughout."""
    samples = np.random.default_rng(0).normal(0, 0.002, 20 * RATE).astype(np.float32)
    for at, what in ((2, speak("abc")), (6, tone(1000, 2.0)), (12, speak("abc abc"))):
        samples[at * RATE : at * RATE + len(what)] += what
    return samples


def keywords(events: list[Event]) -> list[tuple[str, float]]:
    return [
        (event.label, round(event.onset)) for event in sorted(events) if event.label.startswith("keyword")
    ]


def test_both_kinds_of_events(scene: np.ndarray) -> None:
    events = recognizer().detect(scene, RATE)
    assert [(e.label, round(e.onset)) for e in events if e.label == "1000"] == [("1000", 6)]
    said = [e for e in events if e.label == "keyword: abc"]
    for event, onset in zip(said, (2.0, 12.0, 12.0 + 4 * LETTER_S), strict=True):
        assert event.onset == pytest.approx(onset, abs=LETTER_S)
        assert event.offset == pytest.approx(onset + 3 * LETTER_S, abs=0.09)
        assert event.score > 0.9
    assert len([e for e in events if e.label == "keyword: bc"]) == 3  # contained, and not hidden
    assert not [e for e in events if e.label == "keyword: face"]


@pytest.mark.parametrize("sizes", [(160,), (1, 4001, 77), (50_000,)])
def test_streams_in_odd_blocks(scene: np.ndarray, sizes: tuple[int, ...]) -> None:
    whole = recognizer().detect(scene, RATE)
    streamed = sorted(recognizer().stream(pieces(scene, *sizes), RATE))
    assert [(e.label, e.onset, e.offset) for e in streamed] == [(e.label, e.onset, e.offset) for e in whole]
    assert [e.score for e in streamed] == pytest.approx([e.score for e in whole], abs=1e-5)


def test_a_keyword_is_told_within_half_a_second() -> None:
    samples = np.concatenate([np.zeros(3 * RATE, np.float32), speak("abc"), np.zeros(2 * RATE, np.float32)])
    end = 3 * RATE + len(speak("abc"))
    heard_at = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal heard_at
        for block in pieces(samples, 320):
            heard_at += len(block)
            yield block

    for options in (None, DetectionOptions.live(None)):
        heard_at = 0
        next(iter(recognizer("keyword: abc").stream(blocks(), RATE, options=options)))
        assert end < heard_at <= end + 0.5 * RATE


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("sizes", [(160,), (1, 4001, 77), (20 * RATE,)])
def test_a_session_gives_what_a_stream_gives(scene: np.ndarray, sizes: tuple[int, ...], live: bool) -> None:
    both = recognizer()
    options = DetectionOptions.live(both.model) if live else None
    streamed: list[FrameScores] = []
    expected = list(both.stream([scene], RATE, options=options, on_scores=streamed.append))
    assert {event.label for event in expected} == {"1000", "keyword: abc", "keyword: bc"}

    pushed: list[FrameScores] = []
    session = both.session(RATE, options=options, on_scores=pushed.append)
    events, n_pushed = [], []
    for block in pieces(scene, *sizes):
        events += session.push(block)
        n_pushed.append(len(events))
    assert events + session.flush() == expected
    assert [(frame.onset, frame.offset) for frame in pushed] == [(f.onset, f.offset) for f in streamed]
    assert np.array_equal([frame.scores for frame in pushed], [frame.scores for frame in streamed])
    if len(n_pushed) > 1:  # the first keyword is reported long before the end
        assert n_pushed[len(n_pushed) // 5] >= 1
    with pytest.raises(OptionError, match="the session is over"):
        session.push(scene)
    with pytest.raises(OptionError, match="the session is over"):
        session.flush()


def test_other_rates(scene: np.ndarray, write_wav: Callable[..., Path]) -> None:
    import soxr

    at_44 = soxr.resample(scene, RATE, 44_100).astype(np.float32)
    found = recognizer().detect(write_wav("scene.wav", at_44, 44_100))
    assert keywords(found) == keywords(recognizer().detect(scene, RATE))


def test_tags_of_both(scene: np.ndarray) -> None:
    tags = {tag.label: tag.score for tag in recognizer().tag(scene, RATE)}
    assert tags["keyword: abc"] > 0.9
    assert tags["keyword: face"] < 0.1
    alone = {tag.label: tag.score for tag in recognizer("keyword: abc", "keyword: face").tag(scene, RATE)}
    assert alone == {name: tags[name] for name in alone}
    sounds = {tag.label: tag.score for tag in recognizer("1000").tag(scene, RATE)}
    assert sounds["1000"] == tags["1000"]


def test_exclusive_tags_share_one(scene: np.ndarray) -> None:
    tags = recognizer().tag(scene[: 4 * RATE], RATE, exclusive=True)
    assert tags[0].label == "keyword: abc"
    assert sum(tag.score for tag in tags) == pytest.approx(1.0)


def test_a_batch_is_as_one_by_one(scene: np.ndarray) -> None:
    clips = [scene[: 5 * RATE], scene[5 * RATE : 6 * RATE], scene[11 * RATE :], scene[:RATE]]
    together = recognizer(batch_size=3).tag_batch(clips, RATE)
    for clip, tagged in zip(clips, together, strict=True):
        assert list(tagged.tags) == recognizer().tag(clip, RATE)


def test_a_bad_clip_costs_only_itself(scene: np.ndarray, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"not audio")
    first, second = recognizer("keyword: abc").tag_batch([str(bad), scene], RATE)
    assert first.error is not None and second.tags[0].score > 0.9


def test_scores_of_frames_are_of_all_labels(scene: np.ndarray) -> None:
    frames: list[FrameScores] = []
    list(recognizer().detect_batch([scene], RATE, on_scores=frames.append))
    assert [frame.offset for frame in frames[:-1]] == [frame.onset for frame in frames[1:]]
    scores = np.stack([frame.scores for frame in frames])
    assert scores.shape[1] == len(LABELS)
    ends = [start + 3 * LETTER_S for start in (2.0, 12.0, 12.0 + 4 * LETTER_S)]  # where "abc" has been said
    said = [frame for frame, score in zip(frames, scores[:, 1], strict=True) if score > 0.5]
    assert said and all(min(abs(frame.offset - end) for end in ends) < 0.5 for frame in said)
    assert all(min(abs(frame.offset - end) for frame in said) < 0.5 for end in ends)
    assert (scores[:, 3] < 0.5).all()


def test_models_are_loaded_where_they_are_needed() -> None:
    only_words = Recognizer(["keyword: abc"], "no-such-model", keyword_model=ToneSpeech())
    assert only_words.model is None and only_words.model_name == "tone-speech"
    only_sounds = Recognizer(["1000"], ToneModel(), keyword_model="no-such-model")
    assert only_sounds.keyword_model is None


def test_background_does_not_touch_keywords(scene: np.ndarray) -> None:
    labels: list[str | Label] = [Label("2000", background=True), "keyword: abc"]
    assert recognizer(*labels).tag(scene, RATE) == recognizer("keyword: abc").tag(scene, RATE)


def test_a_model_of_speech_refuses_sounds() -> None:
    with pytest.raises(
        OptionError, match="tone-speech listens for keywords, not for 'dog': choose another model"
    ):
        Recognizer(["dog"], ToneSpeech())


def test_windows_hold_the_context() -> None:
    plan = plan_keyword_windows(ToneSpeech(), 0.12)
    assert (plan.window, plan.hop, plan.after, plan.grid) == (3360, 1920, 480, 480)


def test_short_keywords_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "zsaudio"):  # another test may have asked for silence
        recognizer("keyword: abc", "keyword: abcd")
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "of 3 sounds or fewer, so often missed or detected in other words: 'keyword: abc'"
    ]


def test_options_of_keywords(scene: np.ndarray) -> None:
    assert recognizer(Label("keyword: abc", threshold=0.99999)).detect(scene, RATE) == []
    strict = DetectionOptions(threshold=0.999999)
    assert recognizer("keyword: abc").detect(scene, RATE, options=strict) == []
