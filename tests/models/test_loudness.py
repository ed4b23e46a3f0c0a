import numpy as np
import pytest
from conftest import tone
from tone_encoder import ToneEncoder

from zsaudio.labels import LabelSet
from zsaudio.models.learned.adapted import Adapted
from zsaudio.models.learned.loudness import Levelled, loud, loud_mean, loud_means, pooled


def test_embeddings_carry_the_level_and_the_base_model_hears_what_it_heard() -> None:
    base, levelled = ToneEncoder(), Levelled(ToneEncoder())
    sound = np.concatenate([tone(800, 0.5), np.zeros(4000, np.float32), 0.001 * tone(800, 0.25)])
    (frames,) = levelled.encode_audio([sound])
    assert levelled.dim == base.dim + 1 and frames.dtype == np.float32
    vectors, levels, embeddings = levelled.split(frames)
    assert np.array_equal(vectors, base.encode_audio([sound])[0]) and embeddings is vectors
    loudness = 20 * np.log10(np.sqrt(np.mean(np.square(sound[:4000]))))
    assert levels == pytest.approx([loudness, loudness, -120, loudness - 60], abs=0.1)
    assert loud(levels).tolist() == [True, True, False, False]
    labels = LabelSet(["800", "an owl"])
    assert np.array_equal(
        levelled.logits([sound], levelled.embed_labels(labels))[0],
        base.logits([sound], base.embed_labels(labels))[0],
    )
    assert np.array_equal(levelled.encode_text(["800"])[:, :-1], base.encode_text(["800"]))


def test_a_model_on_a_learned_model_takes_its_levels() -> None:
    inner = Adapted(ToneEncoder(), "tones", np.eye(1, ToneEncoder.dim), ("a",))
    outer = Adapted(inner, "inner", np.eye(1, ToneEncoder.dim), ("b",))
    assert outer.dim == inner.dim == ToneEncoder.dim + 1
    sound = [tone(800, 1.0)]
    assert np.array_equal(outer.encode_audio(sound)[0], inner.encode_audio(sound)[0])
    bank = outer.embed_labels(LabelSet(["a", "c"]))
    inner_logits = inner.logits(sound, inner.embed_labels(LabelSet(["a", "c"])))[0]
    assert np.array_equal(outer.logits(sound, bank)[0], inner_logits)


def test_means_leave_quiet_frames_out() -> None:
    frames = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    levels = np.array([-20.0, -51.0, -120.0])
    assert loud_mean(frames, levels).tolist() == [1.0, 0.0]
    assert loud_mean(frames, np.full(3, -81.0)).tolist() == [0.0, 0.0]
    means, counts = loud_means(frames, levels, reach=1)
    # the second frame is far below the first, the third is silence; within reach of the third is the second
    assert means.tolist() == [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]] and counts.tolist() == [True, False, False]


def test_pooled_odds_are_the_mean_of_the_odds() -> None:
    assert pooled(np.log(np.array([[1.0, 2.0], [3.0, 2.0]]))) == pytest.approx(np.log([2.0, 2.0]))
