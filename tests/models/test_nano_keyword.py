"""The bundled keyword spotter: what it is, and that it hears words nobody recorded for it."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run, tone

import zsaudio
from zsaudio.audio.log_mel import mel_filters
from zsaudio.errors import LabelError, ModelError
from zsaudio.labels import Label, LabelSet
from zsaudio.models.speech.nano_keyword import NanoKeyword
from zsaudio.models.speech.network import KeywordConfig, KeywordNetwork, warp
from zsaudio.models.speech.phonemes import PHONEMES
from zsaudio.models.speech.pronunciation import WEIGHTS
from zsaudio.recognizer import Recognizer

SPEECH = Path(__file__).parents[2] / "examples" / "audio" / "speech.flac"
# "Good evening. The parcel is beside the gate, and the neighbours said hello."
SAID = ["good evening", "the parcel is beside the gate", "neighbours", "said hello"]
NOT_SAID = ["good morning", "hey computer", "the parking lot", "labourers", "elephant", "view glass"]


@pytest.fixture(scope="module")
def model() -> NanoKeyword:
    return NanoKeyword()


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return zsaudio.load_audio(SPEECH, 16_000)[0]


def test_the_bundle_is_small() -> None:
    size = sum(path.stat().st_size for path in WEIGHTS.iterdir())
    assert size < 8e6
    both = sum(path.stat().st_size for path in WEIGHTS.parent.rglob("*") if path.is_file())
    assert both < 40e6


def test_facts(model: NanoKeyword) -> None:
    assert (model.name, model.sample_rate, model.frame_s) == ("nano-keyword", 16_000, 0.03)
    assert model.after_s < 0.25
    assert model.config == KeywordConfig()


def test_frames_say_phonemes(model: NanoKeyword, speech: np.ndarray) -> None:
    (log_probs,) = model.log_probs([speech])
    assert log_probs.shape == (-(-len(speech) // 480), 40)
    assert np.exp(log_probs).sum(axis=1) == pytest.approx(1.0, abs=1e-4)
    best = log_probs.argmax(axis=1)
    heard = [PHONEMES[s - 1] for i, s in enumerate(best) if s and (i == 0 or s != best[i - 1])]
    assert 25 < len(heard) < 75  # it was 55 phonemes


def test_a_frame_sees_its_context_and_no_more(model: NanoKeyword, speech: np.ndarray) -> None:
    stride, before, after = model.config.stride, model.config.before, model.config.after
    frame = len(speech) // 2 // stride
    (whole,) = model.log_probs([speech])
    start = (frame * stride - before) // stride * stride
    (part,) = model.log_probs([speech[start : (frame + 1) * stride + after]])
    assert part[frame - start // stride] == pytest.approx(whole[frame], abs=2e-3)
    other = speech.copy()
    other[: start - stride] = 0.3
    other[(frame + 2) * stride + after :] = -0.3
    assert model.log_probs([other])[0][frame] == pytest.approx(whole[frame], abs=2e-3)


def test_fused_is_as_trained(model: NanoKeyword, speech: np.ndarray) -> None:
    from safetensors.torch import load_file

    network = KeywordNetwork(model.config)
    weights = {name: value.float() for name, value in load_file(WEIGHTS / "model.safetensors").items()}
    network.load_state_dict(weights, strict=False)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(speech)[None])[0].numpy()
    assert model.log_probs([speech])[0] == pytest.approx(expected, abs=2e-3)


def test_what_was_said_is_heard(speech: np.ndarray) -> None:
    labels = [f"keyword: {text}" for text in SAID + NOT_SAID]
    events = Recognizer(labels).detect(speech, 16_000)
    heard = [event.label.removeprefix("keyword: ") for event in events]
    assert set(heard) == set(SAID)
    assert len(heard) <= len(SAID) + 1  # the long one may be told before its last word, and again with it
    assert heard[0] == "good evening" and heard.count("good evening") == 1
    ends = len(speech) / 16_000
    assert all(0 <= event.onset < event.offset <= ends + 0.1 for event in events)
    tags = Recognizer(labels).tag(speech, 16_000)
    assert {tag.label.removeprefix("keyword: ") for tag in tags[: len(SAID)]} == set(SAID)


def test_the_same_answer_alone_or_among_others(speech: np.ndarray) -> None:
    recognizer = Recognizer([f"keyword: {text}" for text in SAID])
    first, second, third = recognizer.tag_batch([speech[: 2 * 16_000], speech, speech[: 2 * 16_000]], 16_000)
    assert first.tags == third.tags
    assert list(second.tags) == recognizer.tag(speech, 16_000)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(5 * 16_000, np.float32),
        np.random.default_rng(0).normal(0, 0.1, 5 * 16_000).astype(np.float32),
        tone(440, 5.0),
        np.zeros(160, np.float32),
    ],
    ids=["silence", "noise", "tone", "hardly anything"],
)
def test_where_nobody_speaks(samples: np.ndarray) -> None:
    tags = Recognizer([f"keyword: {text}" for text in SAID + NOT_SAID]).tag(samples, 16_000)
    assert tags[0].score < 0.1


def test_a_keyword_inside_another(speech: np.ndarray) -> None:
    events = Recognizer(["keyword: evening", "keyword: good evening"]).detect(speech, 16_000)
    assert [event.label for event in events] == ["keyword: good evening", "keyword: evening"]


def test_other_ways_to_say_it(speech: np.ndarray) -> None:
    labels: list[str | Label] = [
        Label("keyword: greeting", prompts=("good morning", "good evening")),
        "keyword: nebbers /n eɪ b ə z/",
    ]
    tags = Recognizer(labels).tag(speech, 16_000)
    assert [tag.label for tag in tags] == ["keyword: greeting", "keyword: nebbers"]
    assert tags[1].score > 0.5


def test_one_warning_for_all_short_keywords(model: NanoKeyword, caplog: pytest.LogCaptureFixture) -> None:
    words = LabelSet.builtin("speech-commands")
    with caplog.at_level(logging.WARNING):
        bank = model.embed_labels(words)
    assert len(bank.keywords.pronunciations) == 35 and all(bank.keywords.pronunciations)
    assert bank.keywords.level.shape == (35,)
    (record,) = caplog.records
    assert "'keyword: yes'" in record.getMessage() and record.getMessage().endswith("more")


class TestCommandLine:
    def test_words_and_sounds(self, zs: Run) -> None:
        ran = zs("detect", SPEECH, "--labels", "keyword: good evening, keyword: good morning", "-f", "jsonl")
        assert ran.code == 0 and [line.split(",")[0] for line in ran.err] == [
            "zsaudio: 1 event in 1 recording"
        ]
        (event,) = [json.loads(line) for line in ran.out.splitlines()]
        assert event["label"] == "keyword: good evening"

    def test_a_label_file(self, zs: Run, tmp_path: Path) -> None:
        path = tmp_path / "labels.yaml"
        path.write_text(
            "labels: ['1000']\nkeywords:\n  - good evening\n  - {name: hello, threshold: 0.99999}\n"
        )
        ran = zs("tag", SPEECH, "--labels-file", path, "-f", "csv")
        assert ran.code == 0
        assert "keyword: good evening" in ran.out and "hello" not in ran.out
        assert [line.split(",")[0] for line in ran.err] == ["zsaudio: 2 tags in 1 recording"]

    def test_short_words_are_warned_of_unless_quiet(self, zs: Run) -> None:
        ran = zs("tag", SPEECH, "--labels", "keyword: go")
        assert (ran.code, len(ran.err)) == (0, 2)
        assert ran.err[0].startswith("zsaudio: of 3 sounds or fewer, so often missed")
        assert zs("tag", SPEECH, "--labels", "keyword: go", "-q").err == []

    @pytest.mark.parametrize(
        ("label", "message"),
        [
            ("keyword:", "label 1 is an empty keyword"),
            ("keyword: ?!", "it has no word to listen for"),
            ("keyword: привет", "say how it sounds, as in: keyword: привет /h aɪ/"),
            ("keyword: zs /z", "a pronunciation stands between two slashes"),
        ],
    )
    def test_wrong_keywords(self, zs: Run, label: str, message: str) -> None:
        ran = zs("tag", SPEECH, "--labels", label)
        assert (ran.code, len(ran.err)) == (2, 1)
        assert message in ran.err[0]

    def test_live(self, zs: Run, tmp_path: Path) -> None:
        how = ("--labels", "keyword: good evening", "--jsonl", "-q", "--early", "--exec")
        ran = zs("listen", "--simulate", SPEECH, *how, f"touch {tmp_path / 'heard'}")
        assert ran.code == 0
        (event,) = [json.loads(line) for line in ran.out.splitlines()]
        assert event["label"] == "keyword: good evening"
        assert (tmp_path / "heard").exists()


def test_background_labels_cannot_be_keywords() -> None:
    with pytest.raises(LabelError, match="cannot be background"):
        LabelSet(["dog", Label("keyword: hey", background=True)])


def test_the_mel_axis_is_stretched() -> None:
    ramp = torch.arange(8.0).expand(2, 3, 8)
    assert torch.equal(warp(ramp, 1.0), ramp)
    stretched = warp(ramp, torch.tensor([[1.0], [0.5]]))
    assert torch.equal(stretched[0], ramp[0])
    assert stretched[1, 0].tolist() == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5])
    assert warp(ramp, 2.0)[0, 0].tolist() == pytest.approx([0.0, 2.0, 4.0, 6.0, 7.0, 7.0, 7.0, 7.0])


def test_the_output_is_the_mean_over_stretches() -> None:
    torch.manual_seed(0)
    network = KeywordNetwork(KeywordConfig(width=16, ahead=(1, 0), warps=(1.0, 0.9))).eval()
    mel = torch.randn(1, 30, 64) - 20
    with torch.inference_mode():
        averaged, plain, stretched = (
            network.averaged_log_probs(mel),
            network.frame_log_probs(mel),
            network.frame_log_probs(warp(mel, 0.9)),
        )
    mean = (plain + stretched) / 2
    assert torch.allclose(averaged, mean - mean.logsumexp(dim=-1, keepdim=True), atol=1e-5)
    assert not torch.allclose(averaged, plain, atol=1e-3)


def test_the_front_end_follows_the_config() -> None:
    network = KeywordNetwork(KeywordConfig(sample_rate=8_000, n_fft=256, n_mels=32, hop_length=80))
    assert torch.equal(network.mel.filters, mel_filters(8_000, 256, 32))
    assert network.mel.filters.shape == (129, 32)
    assert network.config.stride == 240
    with torch.inference_mode():
        assert network.eval()(torch.zeros(1, 8_000)).shape == (1, 34, 40)


def test_weights_that_do_not_fit_the_config(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(WEIGHTS, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"width": 128}))
    with pytest.raises(ModelError, match="do not fit their config"):
        NanoKeyword(folder)
