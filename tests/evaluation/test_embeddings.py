import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import ToneModel, tone
from tone_encoder import ToneEncoder

from zsaudio.errors import ModelError, OptionError
from zsaudio.evaluation.embeddings import as_encoder, embed_clips
from zsaudio.labels import LabelSet
from zsaudio.models.base import Encoder
from zsaudio.models.clap.clap import Clap
from zsaudio.models.identity import encoder_id
from zsaudio.models.nano.nano import WEIGHTS, Nano


def test_frames_are_those_of_the_model(write_wav: Callable[..., Path]) -> None:
    samples = tone(440, 1.5)
    (clip,) = embed_clips(ToneEncoder(), [write_wav("a.wav", samples)], cache=False)
    assert clip.windows[0] == pytest.approx(ToneEncoder().encode_audio([samples])[0], abs=1e-3)
    assert clip.durations_s == [1.5]


def test_long_clips_are_cut_and_weighted(write_wav: Callable[..., Path]) -> None:
    samples = np.concatenate([tone(440, 2.0), tone(3000, 1.0)])
    (clip,) = embed_clips(ToneEncoder(), [write_wav("a.wav", samples)])
    assert [len(window) for window in clip.windows] == [8, 4]
    assert clip.durations_s == [2.0, 1.0]
    expected = (2 * clip.windows[0].mean(axis=0) + clip.windows[1].mean(axis=0)) / 3
    assert clip.mean() == pytest.approx(expected)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_second_time_nothing_is_encoded(write_wav: Callable[..., Path], batch_size: int) -> None:
    paths = [write_wav(f"{f}.wav", tone(f, 0.5 + f / 300)) for f in (200, 400, 800, 1600)]
    first = list(embed_clips(ToneEncoder(), paths, batch_size))
    model = ToneEncoder()
    again = list(embed_clips(model, paths, batch_size))
    assert model.n_encoded == 1  # the probe
    for one, other in zip(first, again, strict=True):
        assert one.clip == other.clip and one.durations_s == other.durations_s
        for a, b in zip(one.windows, other.windows, strict=True):
            assert np.array_equal(a, b)


def test_a_changed_file_is_encoded_again(write_wav: Callable[..., Path]) -> None:
    path = write_wav("a.wav", tone(300, 1.0))
    (before,) = embed_clips(ToneEncoder(), [path])
    write_wav("a.wav", tone(3000, 1.0))
    os.utime(path, ns=(1, 1))
    (after,) = embed_clips(ToneEncoder(), [path])
    assert before.mean().argmax() != after.mean().argmax()


def test_a_damaged_cache_is_as_good_as_none(write_wav: Callable[..., Path]) -> None:
    path = write_wav("a.wav", tone(300, 1.0))
    (before,) = embed_clips(ToneEncoder(), [path])
    files = list(Path(os.environ["ZSAUDIO_CACHE"]).rglob("*.npz"))
    assert len(files) == 1
    content = files[0].read_bytes()
    flipped = [content[:i] + bytes([content[i] ^ 0x41]) + content[i + 1 :] for i in (6, 8, 130, 200)]
    for damaged in (content[:-200], *flipped):
        files[0].write_bytes(damaged)
        (after,) = embed_clips(ToneEncoder(), [path])
        assert np.array_equal(before.windows[0], after.windows[0])


def test_a_bad_clip_costs_only_itself(write_wav: Callable[..., Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("no audio")
    paths = [write_wav("a.wav", tone(300, 5.0)), broken, write_wav("b.wav", tone(300, 1.0))]
    first, bad, last = embed_clips(ToneEncoder(), paths, batch_size=2)
    assert "it holds text" in str(bad.error)
    assert len(first.windows) == 3 and len(last.windows) == 1 and last.error is None


def test_an_encoder_that_fails_is_not_the_recordings_fault(write_wav: Callable[..., Path]) -> None:
    class Full(ToneEncoder):
        def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
            raise ModelError("the memory of device 'cuda' is full")

    paths = [write_wav(f"{f}.wav", tone(f, 1.0)) for f in (200, 400, 800)]
    with pytest.raises(ModelError, match="is full"):
        next(embed_clips(Full(), paths, batch_size=1, cache=False))


def test_another_model_is_another_identity() -> None:
    class Deaf(ToneEncoder):
        def _window(self, samples: np.ndarray) -> np.ndarray:
            return np.roll(super()._window(samples), 1, axis=1)

    assert encoder_id(ToneEncoder()) == encoder_id(ToneEncoder()) != encoder_id(Deaf())


def encoders(clap_slaney: Path) -> list[Encoder]:
    found: list[Encoder] = [ToneEncoder(), Clap(str(clap_slaney))]
    if (WEIGHTS / "model.safetensors").exists():
        found.append(Nano())
    return found


def test_logits_without_audio_equal_those_of_the_model(
    write_wav: Callable[..., Path], clap_slaney: Path
) -> None:
    for model in encoders(clap_slaney):
        samples = tone(440, 1.0, model.sample_rate)
        bank = model.embed_labels(LabelSet(["440", "a dog"]))
        (clip,) = embed_clips(model, [write_wav("a.wav", samples, model.sample_rate)], cache=False)
        (expected,) = model.logits([np.asarray(samples)], bank)
        assert model.compare(clip.windows, bank)[0] == pytest.approx(expected, abs=0.05), model.name
        # and the model itself is as before
        assert model.logits([samples], bank)[0] == pytest.approx(expected)


def test_models_without_embeddings_are_refused() -> None:
    with pytest.raises(OptionError, match="training needs a model with audio embeddings, which 'tones'"):
        as_encoder(ToneModel(), "training")
