"""One pass for tags, events and embeddings: full batches, order, and whose error it is."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import ToneModel, tone
from tone_encoder import ToneEncoder

from zsaudio.audio.windows import Windower
from zsaudio.detection.clips import embed_sources
from zsaudio.detection.engine import Stage, batched_pass
from zsaudio.errors import ModelError
from zsaudio.models.base import LabelBank
from zsaudio.recognizer import Recognizer
from zsaudio.results import FrameScores

RATE = 16_000


def test_detect_fills_batches_across_recordings() -> None:
    model = ToneModel()
    recognizer = Recognizer(["440"], model, batch_size=4)
    found = list(recognizer.detect_batch([tone(440, 1.0)] * 10, RATE))
    assert model.batches == [4, 4, 2]
    assert [len(clip.events) for clip in found] == [1] * 10


def test_embedding_fills_batches_across_recordings() -> None:
    sizes: list[int] = []

    class Counting(ToneEncoder):
        def encode_audio(self, windows):  # type: ignore[no-untyped-def]
            sizes.append(len(windows))
            return super().encode_audio(windows)

    clips = list(embed_sources(Counting(), [tone(440, 1.0)] * 10, 4, sample_rate=RATE))
    assert sizes == [4, 4, 2]
    assert [clip.durations_s for clip in clips] == [[1.0]] * 10


def test_results_leave_in_order_and_are_those_of_one_by_one() -> None:
    clips = [tone(440, seconds) for seconds in (0.5, 7.0, 1.0, 3.3, 0.2, 12.0, 2.0)]
    recognizer = Recognizer(["440", "1000"], ToneModel(), batch_size=3)
    together = list(recognizer.detect_batch(clips, RATE))
    assert [clip.duration_s for clip in together] == pytest.approx([len(clip) / RATE for clip in clips])
    assert [list(clip.events) for clip in together] == [recognizer.detect(clip, RATE) for clip in clips]


def test_frames_come_before_their_recording_and_after_the_one_before() -> None:
    frames: list[FrameScores] = []
    lengths = (0.5, 6.0, 1.0, 2.5)
    recognizer = Recognizer(["440"], ToneModel(), batch_size=3)
    clips = [tone(440, seconds) for seconds in lengths]
    for seconds, _ in zip(
        lengths, recognizer.detect_batch(clips, RATE, on_scores=frames.append), strict=True
    ):
        assert frames[0].onset == 0 and frames[-1].offset == pytest.approx(seconds)
        frames.clear()


def test_whatever_reading_raises_is_kept_to_the_recording(
    tmp_path: Path, write_wav: Callable[..., Path]
) -> None:
    class Odd:
        def read(self, *_: object) -> bytes:
            raise RuntimeError("the disk is on fire")

        seek = tell = read

    broken = tmp_path / "broken.wav"
    broken.write_text("no audio")
    good = write_wav("good.wav", tone(440, 1.0))
    sources = [good, broken, Odd(), good]
    encoder, recognizer = ToneEncoder(), Recognizer(["440"], ToneModel())
    for results in (
        recognizer.tag_batch(sources),  # type: ignore[arg-type]
        recognizer.detect_batch(sources),  # type: ignore[arg-type]
        embed_sources(encoder, sources, 2),  # type: ignore[arg-type]
    ):
        errors = [clip.error for clip in results]
        assert errors[0] is None and errors[3] is None
        assert "it holds text" in str(errors[1]) and "the disk is on fire" in str(errors[2])


@pytest.mark.parametrize("verb", ["tag_batch", "detect_batch"])
def test_a_failing_model_ends_the_pass(verb: str) -> None:
    class Broken(ToneModel):
        def logits(self, windows, bank):  # type: ignore[no-untyped-def]
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(getattr(Recognizer(["440"], Broken()), verb)([tone(440, 1.0)] * 3, RATE))


def test_readers_end_with_the_pass(write_wav: Callable[..., Path]) -> None:
    def forever() -> Iterator[Path]:
        path = write_wav("a.wav", tone(440, 30.0))
        while True:
            yield path

    results = Recognizer(["440"], ToneModel()).detect_batch(forever())
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("zsaudio-read")]


def test_two_stages_share_one_reading() -> None:
    reads: list[int] = []

    class Pair:
        def __init__(self) -> None:
            self.outputs: list[tuple[int, float]] = []

        def push(self, stage: int, window, output) -> None:  # type: ignore[no-untyped-def]
            self.outputs.append((stage, float(output)))

        def finish(self, clip):  # type: ignore[no-untyped-def]
            reads.append(clip.sample_rate)
            return self.outputs

    stages = [
        Stage("sums", lambda rate: (rate, Windower(8, 8)), lambda samples: [s.sum() for s in samples]),
        Stage("peaks", lambda rate: (rate, Windower(4, 4)), lambda samples: [s.max() for s in samples]),
    ]
    samples = np.arange(8, dtype=np.float32) / 8
    (outputs,) = batched_pass([samples], stages, Pair, 16, sample_rate=RATE)
    assert [value for stage, value in outputs if stage == 0] == [3.5]
    assert [value for stage, value in outputs if stage == 1] == [0.375, 0.875]
    assert reads == [RATE]


def test_a_model_that_returns_nan_ends_the_pass() -> None:
    class Damaged(ToneModel):
        def logits(self, windows: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
            return [np.full_like(output, np.nan) for output in super().logits(windows, bank)]

    recognizer = Recognizer(["440"], Damaged())
    samples = tone(440, 1.0)
    for run in (
        lambda: recognizer.tag(samples, RATE),
        lambda: recognizer.detect(samples, RATE),
        lambda: list(recognizer.stream([samples], RATE)),
    ):
        with pytest.raises(ModelError, match="tones: returned NaN; its files may be damaged"):
            run()
