"""PE audio against transformers' own forward pass, on small random checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tone
from pe_checkpoint import SAMPLE_RATE, save_pe_checkpoint

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.listeners import plan_windows
from zsaudio.errors import ModelError, OptionError
from zsaudio.labels import Label, LabelSet
from zsaudio.models.pe_audio import PeAudio
from zsaudio.recognizer import Recognizer
from zsaudio.results import FrameScores

KINDS = ("frame", "clip", "video")
pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = LabelSet(["dog barking", "rain on a tin roof", "a siren"])


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    folders = {kind: tmp_path_factory.mktemp(f"pe-{kind}") for kind in KINDS}
    return {kind: (folder, save_pe_checkpoint(folder, kind)) for kind, folder in folders.items()}


def clips() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    noises = [0.1 * random.standard_normal(n).astype(np.float32) for n in (1, 1920, 30_001, 48_000)]
    return [*noises, tone(440, 3.3, SAMPLE_RATE), np.zeros(4800, np.float32)]


def reference(folder: Path, model: Any, clip: np.ndarray) -> np.ndarray:
    """Return the logits ``(n_frames, n_labels)`` of transformers' forward pass."""
    import torch
    from transformers import AutoTokenizer, PeAudioFeatureExtractor

    texts = AutoTokenizer.from_pretrained(folder)(list(LABELS.names), padding=True, return_tensors="pt")
    # PeAudioVideoModel wants as many clips as texts
    n_clips = len(LABELS) if type(model).__name__ == "PeAudioVideoModel" else 1
    audio = PeAudioFeatureExtractor()([clip] * n_clips, sampling_rate=SAMPLE_RATE, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**texts, **audio).logits_audio_text[0].numpy()
    return np.asarray(logits.T if logits.ndim == 2 else logits[None])


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_forward_pass(kind: str, checkpoints: dict[str, tuple[Path, Any]]) -> None:
    folder, model = checkpoints[kind]
    pe = PeAudio(str(folder), dtype="float32")
    assert pe.is_frame_level == (kind == "frame")
    bank = pe.embed_labels(LABELS)
    together = pe.logits(clips(), bank)
    for clip, logits in zip(clips(), together, strict=True):
        assert logits.shape == ((-(-len(clip) // 1920) if kind == "frame" else 1), 3)
        assert logits == pytest.approx(reference(folder, model, clip), rel=1e-5, abs=1e-5)
        assert np.array_equal(pe.logits([clip], bank)[0], logits)


def test_windows_of_one_length_can_share_a_batch(checkpoints: dict[str, tuple[Path, Any]]) -> None:
    pe = PeAudio(str(checkpoints["frame"][0]), dtype="float32")
    windows = [clip[:30_001] for clip in clips()[2:5]]
    for one, batched in zip(pe.encode_audio(windows), pe._encode(windows), strict=True):
        assert batched == pytest.approx(one, abs=1e-5)


def test_text_is_embedded_once(
    checkpoints: dict[str, tuple[Path, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(checkpoints["frame"][0])
    first = PeAudio(folder).encode_text(["rain", "snow", "rain"])
    assert np.array_equal(first[0], first[2])
    monkeypatch.setattr(PeAudio, "_embed_text", None)  # would fail if it were called
    assert np.array_equal(PeAudio(folder).encode_text(["snow", "rain"]), first[[1, 0]])


def test_several_prompts_are_averaged(checkpoints: dict[str, tuple[Path, Any]]) -> None:
    pe = PeAudio(str(checkpoints["frame"][0]))
    bank = pe.embed_labels(LabelSet([Label("dog", ("barks", "a dog barks"))]))
    assert bank.embeddings[0] == pytest.approx(
        pe.encode_text(["barks", "a dog barks"]).mean(axis=0), abs=1e-6
    )


def test_long_recordings_are_cut_with_context(checkpoints: dict[str, tuple[Path, Any]]) -> None:
    pe = PeAudio(str(checkpoints["frame"][0]))
    plan = plan_windows(pe, DetectionOptions(), 30.0)
    assert (plan.window, plan.hop, plan.grid) == (30 * SAMPLE_RATE, 26 * SAMPLE_RATE, 1920)
    frames: list[FrameScores] = []
    recognizer = Recognizer(LABELS, pe)
    list(recognizer.detect_batch([tone(440, 40.0, SAMPLE_RATE)], SAMPLE_RATE, on_scores=frames.append))
    assert len(frames) == 1000
    assert {round(frame.offset - frame.onset, 6) for frame in frames} == {0.04}


def test_tags_have_scores_of_the_best_window(checkpoints: dict[str, tuple[Path, Any]]) -> None:
    tags = Recognizer(LABELS, PeAudio(str(checkpoints["clip"][0]), dtype="float32")).tag(
        clips()[3], SAMPLE_RATE
    )
    expected = 1 / (1 + np.exp(-reference(*checkpoints["clip"], clips()[3])[0]))
    assert {tag.label: tag.score for tag in tags} == pytest.approx(
        dict(zip(LABELS.names, expected, strict=True)), abs=1e-5
    )


def test_bfloat16_is_close(checkpoints: dict[str, tuple[Path, Any]]) -> None:
    folder = str(checkpoints["frame"][0])
    exact, close = (
        PeAudio(folder, dtype=dtype).encode_audio(clips())[4] for dtype in ("float32", "bfloat16")
    )
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(close, axis=1)
    assert close.dtype == np.float32 and ((exact * close).sum(axis=1) / lengths).min() > 0.99


def test_wrong_use(checkpoints: dict[str, tuple[Path, Any]], tmp_path: Path, clap_slaney: Path) -> None:
    folder = str(checkpoints["frame"][0])
    with pytest.raises(OptionError, match="dtype 'float16' needs a GPU"):
        PeAudio(folder, dtype="float16")
    with pytest.raises(OptionError, match="unknown dtype 'int8'"):
        PeAudio(folder, dtype="int8")
    with pytest.raises(ModelError, match=r"its config.json is of model type 'clap'"):
        PeAudio(str(clap_slaney))
