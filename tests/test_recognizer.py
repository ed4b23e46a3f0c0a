import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from conftest import ToneModel, approx, tone
from tone_encoder import ToneEncoder
from tone_speech import ToneSpeech

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import AudioError, ModelError, OptionError
from zsaudio.labels import Label, LabelSet
from zsaudio.recognizer import Recognizer
from zsaudio.results import Event, Tag

LABELS = ["440", "1000"]
SURE, ABSENT = approx(1.0, abs=1e-4), approx(0.0, abs=1e-4)


@pytest.fixture
def recognizer() -> Recognizer:
    return Recognizer(LABELS, ToneModel())


def test_tags_are_sorted_and_scored(recognizer: Recognizer) -> None:
    tags = recognizer.tag(tone(1000, 1.0), sample_rate=16_000)
    assert [(tag.label, tag.score) for tag in tags] == [("1000", SURE), ("440", ABSENT)]


def test_embeddings_are_what_labels_are_compared_with() -> None:
    model = ToneEncoder()
    recognizer = Recognizer(["400 Hz", "keyword: abc", "1600 Hz"], model, keyword_model=ToneSpeech())
    sound = np.concatenate([tone(400, 2.0), tone(1600, 1.0)])
    embedded = recognizer.embed(sound, 16_000)
    assert embedded.vectors.shape == (12, model.dim) and embedded.vectors.dtype == np.float16
    assert embedded.onsets.tolist() == [0.25 * number for number in range(12)]
    assert embedded.offsets.tolist() == [0.25 * number for number in range(1, 13)]
    assert embedded.loudness == approx(np.full(12, -9.03), abs=0.01)  # a sine of 0.5
    labels = recognizer.embed_labels()  # of the sounds, in order
    assert labels.shape == (2, model.dim)
    nearest = (embedded.vectors.astype(np.float32) @ labels.T).argmax(axis=1)
    assert nearest.tolist() == [0] * 8 + [1] * 4
    # a longer hop gives means
    assert recognizer.embed(sound, 16_000, hop_s=1.0).offsets.tolist() == [1.0, 2.0, 3.0]


def test_embeddings_need_a_model_that_has_them(recognizer: Recognizer) -> None:
    for ask in (lambda: recognizer.embed(tone(440, 1.0), 16_000), recognizer.embed_labels):
        with pytest.raises(OptionError, match="gives no embeddings"):
            ask()
    words = Recognizer(["keyword: abc"], keyword_model=ToneSpeech())
    with pytest.raises(OptionError, match="tone-speech gives no embeddings"):
        words.embed_labels()
    with pytest.raises(OptionError, match="hop must be above 0"):
        Recognizer(["400 Hz"], ToneEncoder()).embed(tone(400, 1.0), 16_000, hop_s=0.0)
    with pytest.raises(AudioError):
        Recognizer(["400 Hz"], ToneEncoder()).embed("nowhere.wav")


def test_both_sounds_can_be_there(recognizer: Recognizer) -> None:
    tags = recognizer.tag(tone(1000, 1.0) + tone(440, 1.0), sample_rate=16_000)
    assert [tag.score for tag in tags] == [SURE, SURE]


def test_any_rate_and_kind_of_source(recognizer: Recognizer, write_wav: Callable[..., Path]) -> None:
    path = write_wav("a.wav", tone(440, 3.0, 44_100), 44_100)
    for tags in (
        recognizer.tag(path),
        recognizer.tag(str(path)),
        recognizer.tag(io.BytesIO(path.read_bytes())),
        recognizer.tag(tone(440, 3.0, 48_000), sample_rate=48_000),
    ):
        assert (tags[0].label, tags[0].score) == ("440", SURE)


def test_pools() -> None:
    clip = np.concatenate([tone(440, 2.0), tone(1000, 6.0)])
    pools: list[tuple[Literal["max", "mean"], object]] = [("max", SURE), ("mean", approx(0.25, abs=1e-3))]
    for pool, score in pools:
        tags = Recognizer(LABELS, ToneModel()).tag(clip, 16_000, pool=pool)
        assert dict((t.label, t.score) for t in tags)["440"] == score


def test_exclusive_scores_sum_to_one() -> None:
    clip = np.concatenate([tone(440, 2.0), tone(1000, 2.0)])
    for pool in ("max", "mean"):
        tags = Recognizer(LABELS, ToneModel()).tag(clip, 16_000, exclusive=True, pool=pool)
        assert [tag.score for tag in tags] == [pytest.approx(0.5), pytest.approx(0.5)]


def test_top_k_min_score_thresholds_and_background(recognizer: Recognizer) -> None:
    clip = tone(1000, 1.0)
    assert [t.label for t in recognizer.tag(clip, 16_000, top_k=1)] == ["1000"]
    assert recognizer.tag(clip, 16_000, top_k=0) == recognizer.tag(clip, 16_000)
    assert [t.label for t in recognizer.tag(clip, 16_000, min_score=0.5)] == ["1000"]
    labels = LabelSet([Label("440", threshold=0.5), "1000", Label("2000", background=True)])
    recognizer = Recognizer(labels, ToneModel())
    assert [t.label for t in recognizer.tag(clip, 16_000)] == ["1000"]
    assert [t.label for t in recognizer.tag(tone(1000, 1.0) + tone(2000, 1.0), 16_000)] == ["1000"]
    assert recognizer.tag(tone(1000, 1.0) + tone(2000, 1.0), 16_000)[0].score == pytest.approx(0.5, abs=1e-3)


def test_a_batch_gives_what_its_clips_give_alone(recognizer: Recognizer) -> None:
    rng = np.random.default_rng(3)
    clips = [
        tone(rng.choice([440, 1000]), seconds) for seconds in (0.01, 1.0, 2.0, 2.001, 5.0, 0.3, 7.7, 4.0)
    ]
    batch = list(recognizer.tag_batch(clips, 16_000))
    assert [list(clip.tags) for clip in batch] == [recognizer.tag(clip, 16_000) for clip in clips]
    assert [clip.duration_s for clip in batch] == pytest.approx([len(clip) / 16_000 for clip in clips])


def test_batches_are_filled_across_clips() -> None:
    model = ToneModel()
    recognizer = Recognizer(LABELS, model, batch_size=4)
    assert len(list(recognizer.tag_batch([tone(440, 1.0)] * 10, 16_000))) == 10
    assert model.batches == [4, 4, 2]


def test_bad_clips_cost_only_themselves(recognizer: Recognizer, write_wav: Callable[..., Path]) -> None:
    good = write_wav("good.wav", tone(440, 1.0))
    bad = write_wav("bad.wav", np.zeros(0))
    late = np.r_[tone(440, 5.0), np.nan]
    clips = list(recognizer.tag_batch([good, bad, "none.wav", good]))
    assert [clip.error is None for clip in clips] == [True, False, False, True]
    assert [str(clip.error) for clip in clips[1:3]] == [f"{bad}: holds no samples", "none.wav: no such file"]
    assert clips[0].tags == clips[3].tags
    clips = list(recognizer.tag_batch([tone(440, 1.0), late, tone(440, 1.0)], 16_000))
    assert "NaN" in str(clips[1].error)
    assert clips[0].tags == clips[2].tags != ()
    with pytest.raises(AudioError, match="no such file"):
        recognizer.tag("none.wav")


def test_results_are_lazy(recognizer: Recognizer) -> None:
    def forever() -> object:
        while True:
            yield tone(440, 1.0)

    clips = recognizer.tag_batch(forever(), 16_000)  # type: ignore[arg-type]
    assert [next(clips).tags[0].label for _ in range(40)] == ["440"] * 40
    clips.close()  # type: ignore[attr-defined]


def test_wrong_options(recognizer: Recognizer) -> None:
    with pytest.raises(OptionError, match="pool must be 'max' or 'mean', not 'median'"):
        recognizer.tag_batch([], pool="median")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="batch_size must be at least 1"):
        Recognizer(LABELS, ToneModel(), batch_size=0)
    with pytest.raises(OptionError, match="top_k"):
        recognizer.tag_batch([], top_k=-1)
    with pytest.raises(OptionError, match="min_score"):
        recognizer.tag_batch([], min_score=50)
    with pytest.raises(
        ModelError, match="unknown model 'nope'; known are nano, nano-keyword, clap, clap-small"
    ):
        Recognizer(LABELS, "nope")


def test_an_error_of_the_model_is_no_error_of_the_clip() -> None:
    class Broken(ToneModel):
        def logits(self, windows, bank):  # type: ignore[no-untyped-def]
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(Recognizer(LABELS, Broken()).tag_batch([tone(440, 1.0)], 16_000))


def test_clap_through_the_recognizer(clap_slaney: Path, write_wav: Callable[..., Path]) -> None:
    path = write_wav("a.wav", tone(440, 12.0, 44_100), 44_100)
    first, second = (Recognizer(LABELS, str(clap_slaney)).tag(path, exclusive=True) for _ in range(2))
    assert first == second
    assert sum(tag.score for tag in first) == pytest.approx(1.0)


def test_a_channel_can_be_tagged(recognizer: Recognizer) -> None:
    stereo = np.stack([tone(440, 1.0), tone(1000, 1.0)], axis=1)
    for channel, label in ((0, "440"), (1, "1000")):
        (first, second) = recognizer.tag(stereo, 16_000, channel=channel)
        assert (first.label, first.score, second.score) == (label, SURE, ABSENT)
    assert [tag.score for tag in recognizer.tag(stereo, 16_000)] == [SURE, SURE]
    with pytest.raises(AudioError, match="has no channel 2"):
        recognizer.tag(stereo, 16_000, channel=2)


def test_other_labels_share_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(kind: str, model: object) -> Callable[..., object]:
        def loading(name: str, **_: object) -> object:
            loaded.append(f"{kind} {name}")
            return model

        return loading

    monkeypatch.setattr("zsaudio.recognizer.load_model", load("sounds", ToneModel()))
    monkeypatch.setattr("zsaudio.recognizer.load_keyword_model", load("keywords", ToneSpeech()))
    first = Recognizer("440, 1000", "tones", keyword_model="letters", batch_size=3)
    assert (loaded, first.model_name) == (["sounds tones"], "tones")
    second = first.with_labels(["2000"])
    assert second.model is first.model and second.batch_size == 3
    assert second.tag(tone(2000, 1.0), 16_000)[0].score == SURE
    assert [tag.label for tag in first.tag(tone(1000, 1.0), 16_000)] == ["1000", "440"]  # as before
    both = second.with_labels(["440", "keyword: abc"])
    assert both.model is first.model and loaded == ["sounds tones", "keywords letters"]
    assert (
        both.with_labels("keyword: face").with_labels("440, keyword: abc").keyword_model is both.keyword_model
    )
    assert len(loaded) == 2


def test_recognizers_are_shown_by_their_labels_and_models(recognizer: Recognizer) -> None:
    assert repr(recognizer) == "Recognizer(LabelSet(['440', '1000']), model='tones')"


def test_a_plot_shows_events_and_scores_of_any_source(write_wav: Callable[..., Path]) -> None:
    pytest.importorskip("matplotlib")
    samples = np.concatenate([tone(100, 1.0), tone(440, 2.0), tone(100, 1.0)])
    path = write_wav("a.wav", samples)
    recognizer = Recognizer(LabelSet([*LABELS, Label("100", background=True)]), ToneModel())
    for source, rate in ((path, None), (path.open("rb"), None), (path.read_bytes(), None), (samples, 16_000)):
        figure = recognizer.plot(source, rate, options=DetectionOptions(smooth_s=0.0))
        spectrogram, *lanes = figure.axes
        assert spectrogram.get_xlim() == (0.0, 4.0) and len(spectrogram.images) == 1
        assert [lane.get_ylabel() for lane in lanes] == LABELS
        assert "1 event" in spectrogram.get_title(loc="left")
        (bar,) = lanes[0].collections[-1].get_paths()
        assert bar.get_extents().intervalx.tolist() == [1.0, 3.0]
    png = figure._repr_png_()  # type: ignore[attr-defined]
    assert png.startswith(b"\x89PNG")
    with pytest.raises(AudioError, match="no such file"):
        recognizer.plot("none.wav")


def test_threads_share_a_recognizer() -> None:
    """The bundled models: sounds and keywords, tags and events, of clips of different lengths."""
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.1, round(seconds * 16_000)) for seconds in (0.4, 2.5, 1.3, 4.0)]
    recognizer = Recognizer(["rain", "siren", "keyword: good evening"])
    expected = [(recognizer.tag(clip, 16_000), recognizer.detect(clip, 16_000)) for clip in clips]

    def work(number: int) -> list[tuple[int, list[Tag], list[Event]]]:
        order = rng.permutation(len(clips)) if number == 0 else np.roll(range(len(clips)), number)
        other = recognizer.with_labels(["rain", "siren", "keyword: good evening"])
        return [
            (index, used.tag(clips[index], 16_000), used.detect(clips[index], 16_000))
            for index in order
            for used in (recognizer, other)
        ]

    with ThreadPoolExecutor(4) as pool:
        found = [result for results in pool.map(work, range(4)) for result in results]
    assert len(found) == 4 * 4 * 2
    for index, tags, events in found:
        assert (tags, events) == expected[index]
