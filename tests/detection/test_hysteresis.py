from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import ToneModel, approx
from hypothesis import given
from hypothesis import strategies as st

from zsaudio.detection.hysteresis import DetectionOptions, EventDetector
from zsaudio.errors import OptionError
from zsaudio.labels import Label
from zsaudio.results import Event

SHARP = DetectionOptions(smooth_s=0.0, merge_gap_s=0.0, min_duration_s=0.0, median_s=0.0)


def detect(
    scores: list[float], options: DetectionOptions = SHARP, threshold: float | None = None
) -> list[tuple[float, float, float]]:
    """Events of one label whose frames last a second, as (onset, offset, score)."""
    detector = EventDetector([Label("a", threshold=threshold)], options, frame_s=1.0)
    events = []
    for second, score in enumerate(scores):
        events += detector.push(second, second + 1, [score])
    return [(event.onset, event.offset, event.score) for event in events + detector.flush()]


def test_opens_at_on_lasts_until_below_off() -> None:
    assert detect([0.4, 0.6, 0.3, 0.9, 0.2, 0.4]) == [(1.0, 4.0, 0.9)]


def test_a_score_between_the_thresholds_opens_nothing() -> None:
    assert detect([0.4, 0.49, 0.3]) == []


def test_thresholds_themselves_count() -> None:
    assert detect([0.5, 0.25, 0.2]) == [(0.0, 2.0, 0.5)]


def test_what_is_open_at_the_end_is_flushed() -> None:
    assert detect([0.0, 0.9]) == [(1.0, 2.0, 0.9)]


def test_a_label_has_its_own_threshold() -> None:
    assert detect([0.3, 0.6], threshold=0.2) == [(0.0, 2.0, 0.6)]
    assert detect([0.3, 0.6], threshold=0.7) == []


def test_labels_do_not_disturb_each_other() -> None:
    detector = EventDetector([Label("a"), Label("b", threshold=0.1)], SHARP, frame_s=1.0)
    frames = [[0.9, 0.0], [0.9, 0.2], [0.0, 0.2], [0.0, 0.0]]
    closed = [detector.push(second, second + 1, scores) for second, scores in enumerate(frames)]
    assert closed == [[], [], [Event(0.0, 2.0, "a", 0.9)], [Event(1.0, 3.0, "b", 0.2)]]


def test_events_close_as_early_as_they_can() -> None:
    options = replace(SHARP, merge_gap_s=2.0)
    detector = EventDetector([Label("a")], options, frame_s=1.0)
    closed = [detector.push(t, t + 1, [score]) for t, score in enumerate([0.9, 0.0, 0.0, 0.0, 0.0])]
    assert [len(events) for events in closed] == [0, 0, 0, 1, 0]


@pytest.mark.parametrize(("gap_s", "n_events"), [(0.0, 2), (0.9, 2), (1.0, 1), (5.0, 1)])
def test_near_events_are_joined(gap_s: float, n_events: int) -> None:
    assert len(detect([0.9, 0.0, 0.8], replace(SHARP, merge_gap_s=gap_s))) == n_events


def test_a_joined_event_keeps_its_peak_and_its_ends() -> None:
    assert detect([0.0, 0.9, 0.0, 0.8, 0.0], replace(SHARP, merge_gap_s=1.0)) == [(1.0, 4.0, 0.9)]


def test_a_gap_is_bridged_by_the_upper_threshold_only() -> None:
    assert detect([0.9, 0.0, 0.4, 0.4], replace(SHARP, merge_gap_s=3.0)) == [(0.0, 1.0, 0.9)]


def test_short_events_are_dropped_after_joining() -> None:
    options = replace(SHARP, min_duration_s=2.0)
    assert detect([0.9, 0.0, 0.0, 0.9, 0.9], options) == [(3.0, 5.0, 0.9)]
    assert detect([0.9, 0.0, 0.9, 0.0, 0.0], replace(options, merge_gap_s=1.0)) == [(0.0, 3.0, 0.9)]


def test_median_filter_drops_a_lone_peak_and_fills_a_lone_dip() -> None:
    options = replace(SHARP, median_s=3.0)
    assert detect([0, 0, 0.9, 0, 0, 0.9, 0.9, 0, 0.9, 0.9], options) == [(5.0, 10.0, 0.9)]


def test_median_filter_loses_no_frame_at_the_ends() -> None:
    for n_frames in (1, 2, 3, 10):
        assert detect([0.9] * n_frames, replace(SHARP, median_s=5.0)) == [(0.0, float(n_frames), 0.9)]


def test_smoothing_judges_a_frame_by_those_about_it() -> None:
    options = replace(SHARP, smooth_s=3.0)
    assert detect([0.2, 0.2, 0.8, 0.2, 0.2], options) == [
        (1.0, 4.0, approx(0.6))
    ]  # odds of 1/4, 4 and 1/4: 3/2
    assert detect([0.2, 0.2, 0.6, 0.2, 0.2], options) == []


def test_smoothing_does_not_stretch_events_over_frames_that_hear_nothing() -> None:
    options = replace(SHARP, smooth_s=5.0)
    ((onset, offset, score),) = detect([0.0, 0.01, 0.02, 0.95, 0.98, 0.0, 0.02, 0.0], options)
    assert (onset, offset) == (3.0, 5.0)
    assert 0.9 < score < 0.98


def test_smoothing_and_median_work_together_and_lose_no_frame() -> None:
    for n_frames in (1, 2, 3, 10):
        found = detect([0.9] * n_frames, replace(SHARP, smooth_s=5.0, median_s=3.0))
        assert found == [(0.0, float(n_frames), approx(0.9))]


def test_sensitivity_shifts_the_odds() -> None:
    labels = [Label("a"), Label("b", threshold=0.9), Label("c", threshold=0.0), Label("d", threshold=1.0)]
    on, off = replace(SHARP, sensitivity=1.0).thresholds(labels)
    assert on == pytest.approx([0.25, 0.75, 0.0, 1.0])
    assert off == pytest.approx(on / 2)
    assert replace(SHARP, sensitivity=-1.0).thresholds(labels)[0] == pytest.approx([0.75, 27 / 28, 0, 1])


def test_frames_may_differ_in_length() -> None:
    detector = EventDetector([Label("a")], SHARP, frame_s=1.0)
    assert not detector.push(0.0, 7.5, [0.9])
    assert detector.push(7.5, 9.0, [0.0]) == [Event(0.0, 7.5, "a", 0.9)]


def test_heard_tells_what_is_going_on() -> None:
    detector = EventDetector([Label("a"), Label("b")], replace(SHARP, min_duration_s=2.0), frame_s=1.0)
    heard = []
    for second, scores in enumerate([[0.0, 0.9], [0.9, 0.9], [0.9, 0.0]]):
        detector.push(second, second + 1, scores)
        heard.append(detector.heard.tolist())
    assert heard == [[False, False], [False, True], [True, False]]


def test_a_detector_agrees_with_a_plain_one_on_random_scores() -> None:
    """Against hysteresis, joining and dropping written as three passes over the whole."""
    random = np.random.default_rng(0)
    options = replace(SHARP, merge_gap_s=2.0, min_duration_s=3.0)
    for _ in range(200):
        scores = random.random(60) * random.choice([0.6, 1.0], 60)
        on, raw = False, []
        for second, score in enumerate(scores):
            if score >= 0.5 and not on:
                raw.append([second, second + 1])
            on = score >= 0.5 or (on and score >= 0.25)
            if on:
                raw[-1][1] = second + 1
        joined: list[list[int]] = []
        for onset, offset in raw:
            if joined and onset - joined[-1][1] <= 2:
                joined[-1][1] = offset
            else:
                joined.append([onset, offset])
        expected = [(a, b) for a, b in joined if b - a >= 3]
        assert [(a, b) for a, b, _ in detect(list(scores), options)] == expected


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"off_ratio": 1.1}, "off_ratio"),
        ({"hop_s": 0.0}, "hop_s"),
        ({"window_s": -1.0}, "window_s"),
        ({"smooth_s": -1.0}, "smooth_s"),
        ({"median_s": -1.0}, "median_s"),
        ({"merge_gap_s": float("inf")}, "merge_gap_s"),
        ({"sensitivity": 99.0}, "sensitivity"),
        ({"hop_s": 1.0, "overlap_s": 1.0}, "overlap_s"),
    ],
)
def test_options_are_checked(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(OptionError, match=named):
        DetectionOptions(**wrong)


@given(
    scores=st.lists(st.sampled_from([0.0, 0.1, 0.24, 0.25, 0.3, 0.49, 0.5, 0.7, 0.99]), max_size=60),
    gap=st.integers(0, 4),
    shortest=st.integers(0, 4),
)
def test_events_are_those_found_by_looking_at_the_whole(scores: list[float], gap: int, shortest: int) -> None:
    """Runs from the first score of 0.5 to the last of 0.25, joined over gaps, without the short ones."""
    runs: list[tuple[float, float, float]] = []
    inside = False
    for second, score in enumerate(scores):
        if inside and score >= 0.25:
            runs[-1] = (runs[-1][0], second + 1.0, max(runs[-1][2], score))
        elif inside := score >= 0.5:
            if runs and second - runs[-1][1] <= gap:
                runs[-1] = (runs[-1][0], second + 1.0, max(runs[-1][2], score))
            else:
                runs.append((float(second), second + 1.0, score))
    expected = [run for run in runs if run[1] - run[0] >= shortest]
    assert detect(scores, replace(SHARP, merge_gap_s=gap, min_duration_s=shortest)) == expected


@given(
    scores=st.lists(st.floats(0.0, 1.0), max_size=60),
    smooth_s=st.floats(0.0, 9.0),
    median_s=st.floats(0.0, 9.0),
    gap=st.integers(0, 3),
)
def test_events_are_apart_and_within_the_recording(
    scores: list[float], smooth_s: float, median_s: float, gap: int
) -> None:
    events = detect(scores, DetectionOptions(smooth_s=smooth_s, median_s=median_s, merge_gap_s=gap))
    assert all(0 <= onset < offset <= len(scores) and 0.5 <= score <= 1 for onset, offset, score in events)
    assert all(later[0] - earlier[1] > gap for earlier, later in pairwise(events))


def test_live_options_suit_the_model() -> None:
    bounded, whole, short = ToneModel(), ToneModel(), ToneModel()
    bounded.context_s, whole.window_s, short.window_s = 0.5, 10.0, 1.5
    early = DetectionOptions(hop_s=0.16, lookahead_s=0.32, smooth_s=0.48)
    assert DetectionOptions.live(bounded) == early == DetectionOptions.live(None)
    assert DetectionOptions.live(whole) == DetectionOptions(window_s=3.0, hop_s=1.0, smooth_s=0.0)
    assert DetectionOptions.live(short) == DetectionOptions(window_s=1.5, hop_s=0.5, smooth_s=0.0)
    assert DetectionOptions.live(None, hop_s=0.5, threshold=0.7) == replace(early, hop_s=0.5, threshold=0.7)
    with pytest.raises(OptionError, match="threshold must be above 0"):
        DetectionOptions.live(None, threshold=2.0)
