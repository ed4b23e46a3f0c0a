"""CLAP gives transformers' own embeddings and scores, loads only what it needs, and explains failures."""

import json
import logging
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clap_checkpoint import SAMPLE_RATE, made_clips, save_clap_checkpoint
from safetensors.torch import load_file, save_file

from zsaudio.errors import AudioError, ModelError, OptionError
from zsaudio.labels import Label, LabelSet
from zsaudio.models.checkpoint import load_part
from zsaudio.models.clap import audio as clap_audio
from zsaudio.models.clap import cpu as htsat
from zsaudio.models.clap.clap import BACKGROUND, Clap, _audio_tower_class
from zsaudio.models.device import has_bfloat16, resolve_device
from zsaudio.models.threads import start_threads

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPTS = ["This is a sound of dog barking.", "a cat", "This is a sound of rain on a tin roof."]


@pytest.fixture(scope="module", params=["rand_trunc", "fusion"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random checkpoint: Slaney mel and unfused, or HTK mel and fused."""
    return save_clap_checkpoint(tmp_path_factory.mktemp("clap"), request.param)


@pytest.fixture(scope="module")
def unfused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one random checkpoint, where the kind does not matter."""
    return save_clap_checkpoint(tmp_path_factory.mktemp("unfused"), "rand_trunc")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty cache."""
    monkeypatch.setenv("ZSAUDIO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def transformers_says(checkpoint: Path, clips: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return transformers' audio embeddings, text embeddings of ``PROMPTS``, and logits."""
    from transformers import ClapModel, ClapProcessor

    model, processor = ClapModel.from_pretrained(checkpoint).eval(), ClapProcessor.from_pretrained(checkpoint)
    inputs = processor(
        text=PROMPTS, audio=clips, sampling_rate=SAMPLE_RATE, padding=True, return_tensors="pt"
    )
    inputs["is_longer"] = torch.zeros(len(clips), 1, dtype=torch.bool)  # else a random clip is flagged
    with torch.inference_mode():
        outputs = model(**inputs)
    return outputs.audio_embeds.numpy(), outputs.text_embeds.numpy(), outputs.logits_per_audio.numpy()


def test_embeddings_and_scores_are_those_of_transformers(checkpoint: Path) -> None:
    clips = made_clips()
    audio, text, logits = transformers_says(checkpoint, clips)
    assert (audio @ audio.T).min() < 0.9  # or else equal embeddings would prove nothing
    model = Clap(str(checkpoint), dtype="float32")
    ours = model.encode_audio(clips)
    assert [embedding.shape for embedding in ours] == [(1, model.dim)] * len(clips)
    np.testing.assert_allclose(np.concatenate(ours), audio, atol=1e-5)
    assert (np.concatenate(ours) * audio).sum(axis=1).min() > 0.9999
    np.testing.assert_allclose(model.encode_text(PROMPTS), text, atol=1e-5)
    bank = model.embed_labels(LabelSet([Label(prompt, prompts=(prompt,)) for prompt in PROMPTS]))
    exclusive = torch.from_numpy(np.concatenate(model.logits(clips, bank))).softmax(dim=1)
    np.testing.assert_allclose(exclusive, torch.from_numpy(logits).softmax(dim=1), atol=1e-4)


def test_a_batch_equals_its_windows_one_by_one_and_two_runs_are_equal(checkpoint: Path) -> None:
    torch.set_num_threads(2)
    model, clips = Clap(str(checkpoint)), made_clips() * 2
    batch = np.concatenate(model.encode_audio(clips))
    single = np.concatenate([model.encode_audio([clip])[0] for clip in clips])
    np.testing.assert_array_equal(batch, single)
    again = np.concatenate(Clap(str(checkpoint)).encode_audio(clips))
    np.testing.assert_array_equal(batch, again)


def test_facts_about_the_model(checkpoint: Path) -> None:
    model = Clap(str(checkpoint))
    assert (model.name, model.sample_rate, model.dim) == (str(checkpoint), 48_000, 24)
    assert (model.window_s, model.context_s, model.frame_s) == (10.0, 0.0, 10.0)


def test_a_logit_compares_a_label_with_the_background(unfused: Path) -> None:
    model, clips = Clap(str(unfused), dtype="float32"), made_clips()[:2]
    bank = model.embed_labels(LabelSet(["dog"]))
    assert bank.names == ("dog",)
    assert bank.embeddings.shape == (1, model.dim)
    for clip, logits in zip(clips, model.logits(clips, bank), strict=True):
        scale = 1 / 0.07  # the checkpoint's initial value, never trained
        (embedding,) = model.encode_audio([clip])[0]
        likelihood = np.exp(scale * model.encode_text(["This is a sound of dog."])[0] @ embedding)
        background = np.exp(scale * model.encode_text(BACKGROUND) @ embedding).mean()
        assert logits.shape == (1, 1)
        assert logits.dtype == np.float32
        assert 1 / (1 + np.exp(-logits.item())) == pytest.approx(
            likelihood / (likelihood + background), abs=1e-4
        )


def test_a_label_is_the_mean_of_its_prompts(unfused: Path) -> None:
    model = Clap(str(unfused))
    labels = LabelSet(
        [Label("dog", prompts=("a dog", "a dog barks")), Label("cat")], templates=["the sound of {}"]
    )
    bank = model.embed_labels(labels)
    mean = model.encode_text(["a dog", "a dog barks"]).mean(axis=0)
    np.testing.assert_allclose(bank.embeddings[0], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(bank.embeddings[1], model.encode_text(["the sound of cat"])[0], atol=1e-6)


def test_known_labels_need_no_text_tower(unfused: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = LabelSet(["dog", "cat"])
    cold = Clap(str(unfused)).embed_labels(labels)
    monkeypatch.setattr("transformers.ClapTextModelWithProjection.__init__", lambda *_: pytest.fail("loaded"))
    warm_model = Clap(str(unfused))
    warm = warm_model.embed_labels(labels)
    np.testing.assert_array_equal(cold.embeddings, warm.embeddings)
    assert warm_model.logits(made_clips()[:1], warm)[0].shape == (1, 2)


def test_changed_weights_are_not_served_from_the_cache(tmp_path: Path, unfused: Path) -> None:
    copy = Path(shutil.copytree(unfused, tmp_path / "copy"))
    before = Clap(str(copy)).encode_text(["dog"])
    weights = load_file(copy / "model.safetensors")
    weights["text_projection.linear2.bias"] += 1
    save_file(weights, copy / "model.safetensors")
    assert not np.allclose(Clap(str(copy)).encode_text(["dog"]), before, atol=1e-3)


def test_a_long_prompt_is_cut_and_no_prompts_are_no_error(unfused: Path) -> None:
    model = Clap(str(unfused))
    assert np.linalg.norm(model.encode_text(["a very long sentence " * 100])) == pytest.approx(1, abs=1e-5)
    assert model.encode_text([]).shape == (0, 24)
    assert model.encode_audio([]) == []


@pytest.mark.parametrize("n_samples", [0, 480_001])
def test_a_window_of_the_wrong_length_is_refused(unfused: Path, n_samples: int) -> None:
    with pytest.raises(AudioError, match=f"{n_samples} samples.* 1 to 480000"):
        Clap(str(unfused)).encode_audio([np.zeros(n_samples, np.float32)])


def test_loading_is_silent_and_leaves_settings_alone(
    unfused: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled
    from transformers.utils import logging

    def settings() -> tuple[int, bool, bool]:
        return logging.get_verbosity(), logging.is_progress_bar_enabled(), are_progress_bars_disabled()

    before = settings()
    model = Clap(str(unfused))
    model.logits(made_clips()[:1], model.embed_labels(LabelSet(["dog"])))
    assert settings() == before
    assert capfd.readouterr() == ("", "")


# --- What goes wrong ------------------------------------------------------------------------------------


def copy_without(checkpoint: Path, folder: Path, *names: str) -> Path:
    return Path(shutil.copytree(checkpoint, folder / "copy", ignore=shutil.ignore_patterns(*names)))


@pytest.mark.parametrize(
    "missing, message",
    [
        ("config.json", "no config.json"),
        ("model.safetensors", r"no model\*.safetensors or pytorch_model\*.bin"),
        ("processor_config.json", "no preprocessor_config.json or processor_config.json"),
        ("tokenizer.json", "no tokenizer.json or vocab.json"),
    ],
)
def test_an_incomplete_folder(unfused: Path, tmp_path: Path, missing: str, message: str) -> None:
    with pytest.raises(ModelError, match=f"copy: not a.* checkpoint, it has {message}$"):
        Clap(str(copy_without(unfused, tmp_path, missing)))


def test_a_folder_of_another_model(unfused: Path, tmp_path: Path) -> None:
    folder = copy_without(unfused, tmp_path)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError, match=r"not a CLAP checkpoint, its config\.json is of model type 'bert'"):
        Clap(str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        Clap(str(folder))


def test_damaged_weights(unfused: Path, tmp_path: Path) -> None:
    folder = copy_without(unfused, tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    model = Clap(str(folder))
    with pytest.raises(ModelError, match="copy: cannot be loaded, its weights are damaged") as caught:
        model.encode_audio(made_clips()[:1])
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_not_filled_up_with_random_numbers(
    unfused: Path, tmp_path: Path
) -> None:
    folder = copy_without(unfused, tmp_path)
    weights = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "audio_proj" not in k}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="its weights lack audio_projection"):
        Clap(str(folder)).encode_audio(made_clips()[:1])


def test_a_hub_model_that_is_not_here(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"neither a folder.*cannot be downloaded.*--model nano") as caught:
        # An address where nothing answers: the same error as without a network, and at once.
        run_python(tmp_path, "Clap('laion/no-such-clap')", {"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", ["OSError", "RuntimeError"])
def test_a_broken_torchaudio(unfused: Path, tmp_path: Path, error: str) -> None:
    package = tmp_path / "torchaudio"
    package.mkdir()
    (package / "__init__.py").write_text(f"raise {error}('undefined symbol')")
    (tmp_path / "torchaudio-2.13.0.dist-info").mkdir()
    (tmp_path / "torchaudio-2.13.0.dist-info" / "METADATA").write_text("Name: torchaudio\nVersion: 2.13.0\n")
    with pytest.raises(ModelError, match=r"pip uninstall torchaudio.*torch==2\.11\.0 torchaudio==2\.11\.0"):
        run_python(tmp_path, f"Clap({str(unfused)!r})", {})


def run_python(folder: Path, code: str, environment: dict[str, str]) -> None:
    """Run code in a new process with modules from ``folder``, and raise here the ``ModelError`` it raises."""
    script = (
        "from zsaudio.errors import ModelError\nfrom zsaudio.models.clap.clap import Clap\n"
        f"try:\n    {code}\nexcept ModelError as error:\n    print(error, end='')"
    )
    root = Path(__file__).parents[2]
    environment = (
        os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{root}", "HF_HOME": str(folder)} | environment
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    if done.stdout:
        raise ModelError(done.stdout)


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for unknown in ("gpu", "cpu:1", "cuda:x", ""):
        with pytest.raises(
            OptionError, match=f"unknown device '{unknown}': choose one of auto, cpu, cuda, mps"
        ):
            resolve_device(unknown)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(OptionError, match="device 'cuda' is not available"):
        resolve_device("cuda")


def test_bfloat16_is_close(checkpoint: Path) -> None:
    clips = made_clips()
    exact, model = Clap(str(checkpoint), dtype="float32"), Clap(str(checkpoint), dtype="bfloat16")
    assert (exact.dtype, model.dtype) == (torch.float32, torch.bfloat16)
    cosines = (np.concatenate(exact.encode_audio(clips)) * np.concatenate(model.encode_audio(clips))).sum(
        axis=1
    )
    assert 0.999 < cosines.min() < cosines.max() < 0.9999999  # no more than close: it is another precision


def test_auto_takes_bfloat16_only_where_it_is_native_and_close(
    unfused: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clap_audio, "has_bfloat16", lambda _: True)
    assert Clap(str(unfused)).dtype == torch.bfloat16
    monkeypatch.setattr(clap_audio, "_MIN_COSINE", 0.9999999)
    assert Clap(str(unfused)).dtype == torch.float32
    monkeypatch.setattr(clap_audio, "_MIN_COSINE", 0.0)
    monkeypatch.setattr(clap_audio, "has_bfloat16", lambda _: False)
    assert Clap(str(unfused)).dtype == torch.float32


def test_a_processor_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": True}, raising=False)
    assert not has_bfloat16(torch.device("cpu"))


def test_a_torch_without_onednn_gives_the_same(unfused: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = made_clips()[:2]
    expected = Clap(str(unfused), dtype="float32").encode_audio(clips)
    monkeypatch.setattr("zsaudio.models.packed.has_onednn", lambda _: False)
    np.testing.assert_allclose(Clap(str(unfused), dtype="float32").encode_audio(clips), expected, atol=1e-5)


def test_threads_keep_to_themselves() -> None:
    torch.set_num_threads(2)
    ours = start_threads()
    with ThreadPoolExecutor(1) as others:
        assert others.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
    assert list(ours.map(lambda _: torch.get_num_threads(), range(4))) == [1, 1, 1, 1]


def test_a_dtype_that_cannot_be_had(unfused: Path) -> None:
    with pytest.raises(OptionError, match="'float16' needs a GPU"):
        Clap(str(unfused), dtype="float16")
    with pytest.raises(
        OptionError, match="unknown dtype 'int8': choose one of auto, float32, bfloat16, float16"
    ):
        Clap(str(unfused), dtype="int8")


# --- Another version of transformers, another process ------------------------------------------------------


class PlainNorm(torch.nn.Module):
    """A layer normalisation with the same weights that is no ``torch.nn.LayerNorm``."""

    def __init__(self, norm: torch.nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


def load_tower(checkpoint: Path) -> Any:
    model = Clap(str(checkpoint))
    return load_part(_audio_tower_class(), checkpoint, config=model._config.audio_config)


def test_a_tower_as_expected_is_the_fast_one(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(htsat.cpu_tower(load_tower(checkpoint), torch.float32), htsat.HtsatOnCpu)
    assert not caplog.records


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("change", ["a new weight", "another attribute"])
def test_a_tower_that_is_built_differently_runs_by_transformers(
    checkpoint: Path, caplog: pytest.LogCaptureFixture, change: str, dtype: torch.dtype
) -> None:
    tower = load_tower(checkpoint)
    mel = torch.from_numpy(np.random.default_rng(0).uniform(-80, 0, (1001, 64)).astype(np.float32))
    expected = htsat.cpu_tower(tower, dtype)(mel)
    encoder = tower.audio_model.audio_encoder
    if change == "a new weight":
        encoder.layers[1].gate = torch.nn.Parameter(torch.ones(3))
        reason = "it has a weight audio_model.audio_encoder.layers.1.gate"
    else:
        block = encoder.layers[0].blocks[1]
        block.layernorm_after = PlainNorm(block.layernorm_after)
        reason = "'PlainNorm' object has no attribute 'normalized_shape'"
    with caplog.at_level(logging.WARNING, "zsaudio"):
        own = htsat.cpu_tower(tower, dtype)
    assert not isinstance(own, htsat.HtsatOnCpu)
    assert [record.getMessage() for record in caplog.records] == [
        f"the fast audio tower does not fit the installed transformers ({reason}): "
        "its own tower is used, which is two to three times as slow"
    ]
    found = own(mel)
    assert found.dtype == torch.float32 and found.shape == expected.shape
    assert torch.cosine_similarity(found, expected, dim=0) > (0.99999 if dtype == torch.float32 else 0.999)
    assert next(tower.parameters()).dtype == torch.float32  # bfloat16 is for a copy


def encode_in_another_process(model: Clap, clip: np.ndarray, how: str) -> np.ndarray:
    with ProcessPoolExecutor(1, multiprocessing.get_context(how)) as processes:
        (found,) = processes.submit(model.encode_audio, [clip]).result(timeout=100)
    return found


@pytest.mark.parametrize("how", ["spawn", "fork"])
@pytest.mark.skipif(sys.platform != "linux", reason="fork is not safe elsewhere")
def test_it_works_in_another_process_after_use(unfused: Path, how: str) -> None:
    model, clip = Clap(str(unfused), dtype="float32"), made_clips()[1]
    (expected,) = model.encode_audio([clip])
    bank = model.embed_labels(LabelSet(["dog"]))
    np.testing.assert_allclose(encode_in_another_process(model, clip, how), expected, atol=1e-6)
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_allclose(copied.logits([clip], bank)[0], model.logits([clip], bank)[0], atol=1e-5)
    np.testing.assert_array_equal(copied.encode_text(["dog"]), model.encode_text(["dog"]))


def test_a_process_that_was_forked_off_has_its_own_threads(unfused: Path) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("has no fork")
    model, clip = Clap(str(unfused), dtype="float32"), made_clips()[1]
    (expected,) = model.encode_audio([clip])
    process = os.fork()
    if process == 0:  # the model itself, not a pickled copy
        found = model.encode_audio([clip])[0]
        os._exit(0 if np.allclose(found, expected, atol=1e-6) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
