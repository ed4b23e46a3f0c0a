"""One engine: whatever the blocks, windows and hops, the events are the same."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import ToneModel, tone

from zsaudio.audio.windows import Window
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.listeners import frames_kept, plan_windows
from zsaudio.errors import AudioError, OptionError
from zsaudio.labels import Label, LabelSet
from zsaudio.models.base import EmbeddingBank, LabelBank, Model, own_bank
from zsaudio.recognizer import Recognizer
from zsaudio.results import Event, FrameScores


class BandModel:
    """Hears tones in noise through a smooth filter: bounded context, and scores that take every value.

    Its logits are convolutions of the level of a band, as those of a convolutional network are.
    """

    name = "bands"
    sample_rate = 8_000
    window_s = 4.0
    frame_s = 0.1
    context_s = 0.35  # three and a half frames

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def embed_labels(self, labels: LabelSet) -> LabelBank:
        return EmbeddingBank(labels.names, np.array([float(name) for name in labels.names]))

    def logits(self, windows: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        self.lengths += [len(window) for window in windows]
        return [self._window(window, own_bank(bank, EmbeddingBank).embeddings) for window in windows]

    def _window(self, samples: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
        size = 800
        n_frames = -(-len(samples) // size)
        frames = np.pad(samples, (0, n_frames * size - len(samples))).reshape(n_frames, size)
        power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 / size**2
        bins = np.rint(frequencies * self.frame_s).astype(int)
        padded = np.pad(power[:, bins], ((3, 3), (0, 0)))
        smooth = np.stack([np.convolve(band, [1, 2, 3, 4, 3, 2, 1], "valid") for band in padded.T], axis=1)
        return (4 + np.log10(smooth + 1e-9) * 2).astype(np.float32)


class WholeWindowModel(ToneModel):
    """One frame a window, as CLAP has it: how much of the window is the tone, in log-odds."""

    name = "whole"
    frame_s = 2.0

    def _window(self, samples: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft(samples)) ** 2
        bins = np.rint(frequencies * len(samples) / self.sample_rate).astype(int)
        share = np.array([power[max(0, b - 8) : b + 8].sum() for b in bins]) / (power.sum() + 1e-9)
        return (20 * (share - 0.5)).astype(np.float32)[None]


LABELS = LabelSet(["440", "1000", Label("2000", background=True)])
MODELS: list[Callable[[], Model]] = [BandModel, ToneModel, WholeWindowModel]


def scene(rate: int, seconds: float = 13.7) -> np.ndarray:
    """Noise with tones that come and go."""
    random = np.random.default_rng(1)
    samples = (0.02 * random.standard_normal(round(seconds * rate))).astype(np.float32)
    for start, length, frequency, level in [
        (0.0, 0.6, 440, 0.3),
        (1.3, 2.0, 1000, 0.1),
        (2.1, 3.3, 440, 0.2),
        (7.77, 0.4, 1000, 0.3),
        (9.0, 0.3, 2000, 0.3),
        (12.4, 1.3, 440, 0.05),
    ]:
        if start < seconds:
            sound = tone(frequency, length, rate, level)
            at = round(start * rate)
            samples[at : at + len(sound)] += sound[: len(samples) - at]
    return samples


def cut(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (samples[start : start + size] for start in range(0, len(samples), size))


def assert_same(found: list[Event], expected: list[Event], tolerance: float = 1e-4) -> None:
    assert [(e.onset, e.offset, e.label) for e in found] == [(e.onset, e.offset, e.label) for e in expected]
    assert [e.score for e in found] == pytest.approx([e.score for e in expected], abs=tolerance)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("rate", [16_000, 44_100, 8_000])
def test_blocks_of_any_size_give_the_same_events(model: Callable[[], BandModel], rate: int) -> None:
    samples = scene(rate)
    recognizer = Recognizer(LABELS, model())
    expected = recognizer.detect(samples, rate)
    assert len(expected) >= 3
    for size in (17, 509, 44_100, len(samples)):
        assert_same(sorted(recognizer.stream(cut(samples, size), rate)), expected)


@pytest.mark.parametrize("model", MODELS)
def test_blocks_of_one_sample(model: Callable[[], BandModel]) -> None:
    samples = scene(44_100, 3.0)
    recognizer = Recognizer(LABELS, model())
    expected = recognizer.detect(samples, 44_100)
    assert expected
    assert_same(sorted(recognizer.stream(cut(samples, 1), 44_100)), expected)


def test_hops_do_not_matter_to_a_model_of_bounded_context() -> None:
    samples = scene(8_000, 41.3)
    recognizer = Recognizer(LABELS, BandModel())
    expected = recognizer.detect(samples, 8_000)
    assert len(expected) >= 3
    for hop_s in (0.1, 0.5, 0.7, 5.0, 100.0):
        options = DetectionOptions(hop_s=hop_s)
        assert_same(recognizer.detect(samples, 8_000, options=options), expected, 1e-6)
        assert_same(sorted(recognizer.stream(cut(samples, 509), 8_000, options=options)), expected, 1e-6)


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.85, 1.2, 3.99, 4.0, 4.01, 30.7, 31.4])
def test_frames_fill_the_whole_time_once(seconds: float) -> None:
    samples = scene(8_000, seconds)
    for model in MODELS:
        for hop_s in (None, 0.3, 1.9):
            frames: list[FrameScores] = []
            stream = Recognizer(LABELS, model()).stream(
                [samples], 8_000, options=DetectionOptions(hop_s=hop_s), on_scores=frames.append
            )
            list(stream)
            assert frames[0].onset == 0
            assert frames[-1].offset == pytest.approx(seconds, abs=1e-3)
            assert all(before.offset == after.onset for before, after in pairwise(frames))
            assert all(frame.scores.shape == (2,) and frame.offset > frame.onset for frame in frames)


def test_frames_are_as_long_as_the_model_has_them() -> None:
    frames: list[FrameScores] = []
    recognizer = Recognizer(LABELS, BandModel())
    list(recognizer.stream([scene(8_000)], 8_000, on_scores=frames.append))
    assert {round(frame.offset - frame.onset, 6) for frame in frames} == {0.1}


def test_times_are_right() -> None:
    recognizer = Recognizer(["440"], ToneModel())
    silence = np.zeros(16_000, np.float32)
    (event,) = recognizer.detect(np.concatenate([silence, tone(440, 2.5), silence]), 16_000)
    assert (event.onset, event.offset, event.label) == (1.0, 3.5, "440")
    assert event.score == pytest.approx(1.0, abs=1e-3)


def test_background_labels_compete_and_are_not_reported() -> None:
    both = tone(440, 1.0, 8_000) + tone(2000, 1.0, 8_000, 0.2)
    (alone,) = Recognizer(["440"], BandModel()).detect(both, 8_000)
    (beside,) = Recognizer(LABELS, BandModel()).detect(both, 8_000)
    assert beside.label == "440"
    assert beside.score < alone.score


def test_streaming_is_lazy_and_events_come_as_they_close() -> None:
    samples = np.concatenate([np.zeros(8_000), tone(440, 1.0, 8_000), np.zeros(80_000)]).astype(np.float32)
    taken = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal taken
        for block in cut(samples, 800):
            taken += 1
            yield block

    options = DetectionOptions(smooth_s=1.1, merge_gap_s=0.3)
    events = Recognizer(["440"], BandModel()).stream(blocks(), 8_000, options=options)
    assert taken == 0
    event = next(events)
    assert event.offset == pytest.approx(2.3, abs=0.3)
    assert taken / 10 < event.offset + 0.3 + 0.5 + 0.5 + 0.4 + 0.2  # gap, smoothing, hop, context, frames


def test_live_scores_are_early() -> None:
    taken, delays = 0, []

    def blocks() -> Iterator[np.ndarray]:
        nonlocal taken
        for block in cut(scene(8_000), 80):
            taken += 1
            yield block

    def note(frame: FrameScores) -> None:
        delays.append(taken / 100 - frame.onset)

    options = DetectionOptions.live(BandModel())
    list(Recognizer(LABELS, BandModel()).stream(blocks(), 8_000, options=options, on_scores=note))
    assert max(delays[10:-10]) < 0.8  # once the first window has filled


def test_file_array_and_channels(write_wav: Callable[..., Path]) -> None:
    left, right = scene(16_000), tone(1000, 13.7)
    path = write_wav("stereo.wav", np.stack([left, right], axis=1))
    recognizer = Recognizer(LABELS, ToneModel())
    assert recognizer.detect(path, channel=0) == recognizer.detect(path.open("rb"), channel=0)
    assert {event.label for event in recognizer.detect(path, channel=1)} == {"1000"}
    assert recognizer.detect(path) != recognizer.detect(path, channel=0)
    with pytest.raises(AudioError, match="no channel 2"):
        recognizer.detect(path, channel=2)


def test_a_batch_keeps_order_and_errors_to_their_own(write_wav: Callable[..., Path], tmp_path: Path) -> None:
    good = [write_wav(f"{frequency}.wav", tone(frequency, 3.0)) for frequency in (440, 1000, 440)]
    bad = tmp_path / "bad.wav"
    bad.write_text("not audio")
    clips = list(Recognizer(LABELS, ToneModel()).detect_batch([good[0], bad, good[1], good[2]]))
    assert [clip.clip for clip in clips] == [str(good[0]), str(bad), str(good[1]), str(good[2])]
    assert [[event.label for event in clip.events] for clip in clips] == [["440"], [], ["1000"], ["440"]]
    assert isinstance(clips[1].error, AudioError)
    assert [clip.error for clip in clips[2:]] == [None, None]
    assert (clips[0].duration_s, clips[0].sample_rate) == (3.0, 16_000)


def test_files_go_through_a_bounded_model_in_long_stretches() -> None:
    model = BandModel()
    Recognizer(LABELS, model).detect(scene(8_000, 95.0), 8_000)
    assert len(model.lengths) == 4  # hops of 30 s


def test_windows_of_a_single_frame_go_in_batches() -> None:
    model = WholeWindowModel()
    Recognizer(LABELS, model, batch_size=4).detect(scene(16_000, 10.0), 16_000)
    assert model.batches == [4, 4, 1]


@pytest.mark.parametrize(
    ("options", "window", "hop", "after"),
    [
        (DetectionOptions(), 38, 30, 4),  # in frames; the context rounds up to 4
        (DetectionOptions(hop_s=1.0), 18, 10, 4),
        (DetectionOptions(window_s=2.0), 20, 12, 4),
        (DetectionOptions(window_s=2.0, hop_s=1.0), 20, 10, 4),
        (DetectionOptions(window_s=2.0, hop_s=1.8), 20, 18, 1),
        (DetectionOptions(overlap_s=1.0), 40, 30, 4),
        (DetectionOptions(hop_s=1.0, lookahead_s=0.2), 16, 10, 2),
    ],
)
def test_windows_of_a_bounded_model(options: DetectionOptions, window: int, hop: int, after: int) -> None:
    plan = plan_windows(BandModel(), options, usual_hop_s=3.0)
    assert (plan.window, plan.hop, plan.after) == (800 * window, 800 * hop, 800 * after)


@pytest.mark.parametrize(
    ("options", "window", "hop"),
    [
        (DetectionOptions(), 2.0, 1.0),
        (DetectionOptions(window_s=1.0), 1.0, 0.5),
        (DetectionOptions(hop_s=0.1), 2.0, 0.1),
        (DetectionOptions(overlap_s=0.5), 2.0, 1.5),
    ],
)
def test_windows_of_a_whole_window_model(options: DetectionOptions, window: float, hop: float) -> None:
    plan = plan_windows(WholeWindowModel(), options, usual_hop_s=3.0)
    assert (plan.window, plan.hop) == (16_000 * window, 16_000 * hop)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (WholeWindowModel(), DetectionOptions(window_s=3.0), "too long"),
        (WholeWindowModel(), DetectionOptions(overlap_s=2.0), "leaves nothing"),
        (WholeWindowModel(), DetectionOptions(hop_s=2.5), "leaves gaps"),
        (BandModel(), DetectionOptions(window_s=0.5), "leaves nothing"),
    ],
)
def test_windows_that_cannot_be(model: BandModel, options: DetectionOptions, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Recognizer(LABELS, model).stream([], 16_000, options=options)


def test_a_frame_longer_than_the_part_it_speaks_for() -> None:
    window = Window(0, np.zeros(100, np.float32), keep_from=95, keep_to=100)
    assert list(frames_kept(window, 1, 100)) == [(0, 95, 100)]


@pytest.mark.parametrize("rate", [0, -1, 3_999, 384_001])
def test_the_rate_of_a_session_is_checked(rate: int) -> None:
    with pytest.raises(OptionError, match=f"sample rate {rate} Hz is outside 4000 to 384000 Hz"):
        Recognizer(LABELS, BandModel()).session(rate)


def test_blocks_are_checked_and_an_empty_stream_has_no_events() -> None:
    recognizer = Recognizer(LABELS, BandModel())
    assert list(recognizer.stream([], 16_000)) == []
    assert list(recognizer.stream([np.zeros(0)], 16_000)) == []
    with pytest.raises(AudioError, match="mono"):
        list(recognizer.stream([np.zeros((10, 2))], 16_000))
    with pytest.raises(AudioError, match="NaN"):
        list(recognizer.stream([np.array([0.0, np.nan])], 16_000))
