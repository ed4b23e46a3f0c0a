"""Peaks of a keyword's score become events."""

import numpy as np
import pytest
from conftest import approx

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.keyword_peaks import SETTLE_S, KeywordDetector
from zsaudio.labels import Label
from zsaudio.models.speech.alignment import AlignmentScoring, Spotted
from zsaudio.results import Event

FRAME_S = 0.03
SETTLE = round(SETTLE_S / FRAME_S)
HOW = AlignmentScoring(bias=0.0, ratio=1.0, symbols=0.0, lead_s=0.06, tail_s=0.03)


def detector(*labels: str | Label, **options: float) -> KeywordDetector:
    named = [label if isinstance(label, Label) else Label(label) for label in labels]
    return KeywordDetector(named, DetectionOptions(**options), HOW, FRAME_S)


def spotted(logits: list[float], start: int = 2, blank: list[float] | None = None) -> Spotted:
    column = np.array(logits, float)[:, None]
    return Spotted(column, np.full(column.shape, start), np.array(blank or [0.0] * len(logits)))


def test_a_peak_is_an_event_with_its_alignment() -> None:
    found = detector("keyword: a").push(spotted([-5.0] * 10 + [0.5, 2.0, 1.0] + [-5.0] * 5))
    assert found == [Event(approx(0.0), approx(12 * 0.03 + 0.03), "keyword: a", approx(0.880797))]


def test_it_is_told_once_the_score_settles() -> None:
    keyword = detector("keyword: a")
    assert keyword.push(spotted([-5.0] * 10 + [2.0] + [-5.0] * (SETTLE - 1))) == []
    (event,) = keyword.push(spotted([-5.0]))
    assert event.offset == pytest.approx(11 * 0.03 + 0.03)


def test_the_end_settles_it() -> None:
    keyword = detector("keyword: a")
    assert keyword.push(spotted([-5.0, -5.0, 2.0])) == []
    assert [event.label for event in keyword.flush()] == ["keyword: a"]
    assert keyword.flush() == []


@pytest.mark.parametrize(
    ("label", "options", "n_events"),
    [
        (Label("a"), {}, 1),  # 0.62
        (Label("a"), {"threshold": 0.65}, 0),
        (Label("a", threshold=0.65), {}, 0),
        (Label("a"), {"sensitivity": -1.0}, 0),
        (Label("a", threshold=0.65), {"sensitivity": 1.0}, 1),
        (Label("a"), {"min_duration_s": 1.0}, 0),
    ],
)
def test_options(label: Label, options: dict[str, float], n_events: int) -> None:
    found = detector(label, **options)
    assert len(found.push(spotted([-9.0] * 4 + [0.5] + [-9.0] * 9))) == n_events


def test_again_only_from_where_it_ended() -> None:
    quiet = [-9.0] * 6
    keyword = detector("keyword: a")
    assert len(keyword.push(spotted([*quiet, 2.0, *quiet], start=2))) == 1
    assert keyword.push(spotted([*quiet, 2.0, *quiet], start=6)) == []  # shares its last frame
    assert len(keyword.push(spotted([*quiet, 2.0, *quiet], start=7))) == 1


def test_keywords_do_not_compete() -> None:
    both = detector("keyword: archie", "keyword: hey archie")
    logits = np.full((12, 2), -9.0)
    logits[5] = [3.0, 2.0]
    found = both.push(Spotted(logits, np.array([[4, 1]] * 12), np.zeros(12)))
    assert [(event.label, round(event.onset, 2)) for event in found] == [
        ("keyword: archie", 0.06),
        ("keyword: hey archie", 0.0),
    ]


def test_a_part_that_was_told_does_not_hide_the_whole() -> None:
    quiet = [-9.0] * 6
    keyword = detector("keyword: a", threshold=0.1)
    assert len(keyword.push(spotted([*quiet, -1.0, *quiet], start=2))) == 1
    (event,) = keyword.push(spotted([2.0, *quiet], start=2))
    assert event.score == pytest.approx(0.880797)


@pytest.mark.parametrize(
    ("after", "log_odds"),
    [
        ([0.0, 0.0, 0.0, -12.0], 4.0),  # a pause of 0.09 s is enough
        ([np.log(0.5), 0.0, 0.0, 0.0], 4.0 - 0.5 * 3.0 * 0.5),  # as likely as not
        ([-12.0, -12.0, -12.0, 0.0], 4.0 - 0.5 * 3.0),
        ([], 4.0),  # the stream ends
    ],
)
def test_the_lack_of_a_pause_after_it_costs(after: list[float], log_odds: float) -> None:
    how = AlignmentScoring(bias=0.0, ratio=0.5, symbols=0.0, pause=3.0)
    keyword = KeywordDetector([Label("keyword: a")], DetectionOptions(), how, FRAME_S)
    n = len(after)
    found = keyword.push(spotted([-9.0, -9.0, 4.0] + [-9.0] * n, blank=[-12.0, -12.0, -12.0, *after]))
    (event,) = found + keyword.flush()
    assert event.score == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-4)


def test_what_runs_on_does_not_hide_what_follows() -> None:
    how = AlignmentScoring(bias=0.0, ratio=1.0, symbols=0.0, pause=3.0)
    keyword = KeywordDetector([Label("keyword: a")], DetectionOptions(), how, FRAME_S)
    (event,) = keyword.push(
        spotted([-9.0, -9.0, 2.0, -9.0, -9.0, -9.0, 1.0] + [-9.0] * 5, start=1, blank=[-12.0] * 7 + [0.0] * 5)
    )
    assert event.offset == pytest.approx(7 * FRAME_S)
    assert event.score == pytest.approx(0.731059)


def two(
    first: float, second: float, starts: tuple[int, int], *labels: str, compete: bool = True
) -> list[str]:
    """Return which of two keywords are reported, with peaks at frames 12 and 14."""
    logits = np.full((20, 2), -9.0)
    logits[12, 0], logits[14, 1] = first, second
    both = Spotted(logits, np.tile(np.array(starts), (20, 1)), np.zeros(20))
    found = KeywordDetector([Label(label) for label in labels], DetectionOptions(), HOW, FRAME_S, compete)
    return [event.label for event in found.push(both) + found.flush()]


@pytest.mark.parametrize(
    ("scores", "starts", "labels", "reported"),
    [
        ((1.0, 3.0), (4, 4), ("keyword: two", "keyword: zero"), [1]),  # the better one was heard later
        ((3.0, 1.0), (4, 4), ("keyword: two", "keyword: zero"), [0]),  # or earlier
        ((3.0, 1.0), (4, 10), ("keyword: two", "keyword: zero"), [0]),  # three of five frames are shared
        ((3.0, 1.0), (4, 11), ("keyword: two", "keyword: zero"), [0]),  # two of four
        ((3.0, 1.0), (4, 12), ("keyword: two", "keyword: zero"), [0, 1]),  # one of three
        ((1.0, 3.0), (4, 4), ("keyword: two", "Keyword: two zero"), [0, 1]),  # its words are in the other
        ((1.0, 3.0), (4, 4), ("keyword: for", "keyword: forward"), [1]),  # a part of a word is not a word
        ((3.0, -1.0), (4, 4), ("keyword: zero", "keyword: two"), [0]),
    ],
)
def test_keywords_compete(
    scores: tuple[float, float], starts: tuple[int, int], labels: tuple[str, str], reported: list[int]
) -> None:
    assert two(*scores, starts, *labels) == [labels[i] for i in reported]


def test_they_do_not_where_each_is_asked_for_by_itself() -> None:
    labels = ("keyword: two", "keyword: zero")
    assert two(1.0, 3.0, (4, 4), *labels, compete=False) == list(labels)
