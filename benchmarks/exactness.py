"""Compare zsaudio with the reference implementation of each model family, on real audio.

    python benchmarks/exactness.py                     # the table of docs/models.md; an hour
    python benchmarks/exactness.py --only nano ast     # some families
    python benchmarks/exactness.py --longest 30        # without the clips of ten minutes

The recordings of examples/audio, one after another and repeated, become clips of 0.1 to 600 s, mono and
stereo, at 8 to 96 kHz (600 s: stereo at 96 kHz only). zsaudio reads each from a file, mixes, resamples and
cuts it as ``zsaudio tag`` does (nano, keywords: as ``zsaudio detect``). The reference gets the whole clip by
soundfile, the mean of its channels, soxr, and transformers' own extractor and forward pass by hand, window
by window. For nano and nano-keyword the reference is their network in float64, layer by layer as it was
trained, in one pass over the whole clip.

Each figure is the largest difference of an output, divided by the standard deviation that the output has over
all clips (the mean over its dimensions); the last one the largest difference of a score between 0 and 1.

Weights that are not bundled are random: arithmetic is compared, not quality. CLAP is of full size, all other
networks are small.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import soxr
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # where small checkpoints are made

from clap_vs_transformers import SIZES, save_checkpoint  # noqa: E402
from classifier_checkpoint import FAMILIES as CLASSIFIERS  # noqa: E402
from classifier_checkpoint import save as save_classifier  # noqa: E402
from ctc_checkpoint import FRAMES_S, make  # noqa: E402
from pe_checkpoint import save_pe_checkpoint  # noqa: E402

from zsaudio.audio.windows import Window, clip_windower  # noqa: E402
from zsaudio.detection.engine import Clip, Stage, batched_pass  # noqa: E402
from zsaudio.detection.hysteresis import DetectionOptions  # noqa: E402
from zsaudio.detection.listeners import FILE_HOP_S, SoundListener, frames_kept, keyword_stage  # noqa: E402
from zsaudio.labels import LabelSet  # noqa: E402
from zsaudio.models.bundled import ConvBlock  # noqa: E402

LENGTHS_S = (0.1, 1.0, 5.0, 10.0, 30.0, 600.0)
RATES = (8_000, 16_000, 22_050, 44_100, 48_000, 96_000)
LABELS = LabelSet(["speech", "a siren", "smoke alarm", "trumpet", "piano", "rain on a tin roof"])
FUSED = {"enable_fusion": True, "fusion_type": "aff_2d"}
CLAPS = {
    "clap-htsat-unfused": SIZES["small"],
    "clap-htsat-fused": SIZES["small"] | FUSED,
    "larger_clap_general, larger_clap_music_and_speech": SIZES["large"],  # one shape
}

Pair = tuple[np.ndarray, np.ndarray]  # an output (n_frames, dim), and scores (n_frames, n_labels)


@dataclass
class Subject:
    """A model, and the reference that it is compared with.

    ``output`` names what is compared; ``score`` turns zsaudio's outputs into scores; ``reference`` takes the
    samples of a window, or with ``whole`` of a clip, at ``rate`` and returns both.
    """

    output: str
    rate: int
    stage: Stage
    score: Callable[[np.ndarray], np.ndarray]
    reference: Callable[[np.ndarray], Pair]
    whole: int = 0  # samples of a frame, where the reference hears the whole clip at once


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).double().softmax(dim=1).numpy()


def clip_stage(model: Any) -> Stage:
    return Stage(model.name, lambda rate: clip_windower(model, rate), model.encode_audio)


def clap(folder: Path, audio_config: dict[str, Any]) -> Subject:
    from transformers import ClapModel, ClapProcessor

    from zsaudio.models.clap.clap import Clap

    save_checkpoint(folder, audio_config)
    model = Clap(str(folder), dtype="float32")
    bank = model.embed_labels(LABELS)
    whole, processor = ClapModel.from_pretrained(folder).eval(), ClapProcessor.from_pretrained(folder)
    prompts = [f"This is a sound of {name}." for name in LABELS.names]

    @torch.inference_mode()
    def reference(samples: np.ndarray) -> Pair:
        inputs = processor(
            text=prompts, audio=[samples], sampling_rate=48_000, padding=True, return_tensors="pt"
        )
        inputs["is_longer"] = torch.zeros(1, 1, dtype=torch.bool)  # else a random clip is flagged
        outputs = whole(**inputs)
        return outputs.audio_embeds.numpy(), softmax(outputs.logits_per_audio.numpy())

    return Subject(
        "embedding of unit length",
        48_000,
        clip_stage(model),
        lambda frames: softmax(model.compare([frames], bank)[0]),
        reference,
    )


def pe_audio(folder: Path, kind: str) -> Subject:
    from transformers import AutoTokenizer, PeAudioFeatureExtractor

    from zsaudio.models.pe_audio import PeAudio

    whole = save_pe_checkpoint(folder, kind)
    model = PeAudio(str(folder), dtype="float32")
    labels = LabelSet(LABELS.names[:1]) if kind == "video" else LABELS  # it wants as many clips as texts
    bank = model.embed_labels(labels)
    texts = AutoTokenizer.from_pretrained(folder)(list(labels.names), padding=True, return_tensors="pt")

    @torch.inference_mode()
    def reference(samples: np.ndarray) -> Pair:
        audio = PeAudioFeatureExtractor()([samples], sampling_rate=48_000, return_tensors="pt")
        logits = whole(**texts, **audio).logits_audio_text[0].numpy()
        logits = logits.T if logits.ndim == 2 else logits[None]
        return logits, sigmoid(logits)

    stage = Stage(
        model.name, lambda rate: clip_windower(model, rate), lambda windows: model.logits(windows, bank)
    )
    return Subject("log-odds", 48_000, stage, sigmoid, reference)


def classifier(folder: Path, family: str) -> Subject:
    from transformers import AutoFeatureExtractor

    from zsaudio.models.classifier import Classifier

    whole = save_classifier(folder, family)
    model, extractor = Classifier(str(folder)), AutoFeatureExtractor.from_pretrained(folder)

    @torch.inference_mode()
    def reference(samples: np.ndarray) -> Pair:
        logits = whole(**extractor(samples, sampling_rate=16_000, return_tensors="pt")).logits.numpy()
        return logits, sigmoid(logits)

    return Subject("log-odds", model.sample_rate, clip_stage(model), sigmoid, reference)


def ctc(folder: Path, family: str) -> Subject:
    from zsaudio.models.speech.ctc import CtcCheckpoint

    whole, processor = make(folder, family)
    model, blank = CtcCheckpoint(str(folder)), whole.config.pad_token_id

    @torch.inference_mode()
    def reference(samples: np.ndarray) -> Pair:
        samples = np.pad(
            samples, (0, max(0, 8_000 - len(samples)))
        )  # as zsaudio: networks need half a second
        inputs = processor(audio=samples, sampling_rate=16_000, return_tensors="pt")
        log_probs = torch.log_softmax(whole(**inputs).logits[0], dim=-1).numpy()
        log_probs = np.hstack([log_probs[:, [blank]], np.delete(log_probs, blank, axis=1)])
        return log_probs, np.exp(log_probs)

    return Subject("log-probabilities", 16_000, keyword_stage(model, FILE_HOP_S), np.exp, reference)


def in_float64(network: Any, samples: np.ndarray) -> np.ndarray:
    """Return what a network of zsaudio gives for a clip, without its own casts to float32."""
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        return np.asarray(network(torch.from_numpy(samples)[None].double())[0])


def nano(_: Path) -> Subject:
    from zsaudio.models.nano.nano import Nano

    model = Nano()
    with mock.patch.object(ConvBlock, "fuse"), mock.patch("zsaudio.models.nano.nano.pack"):
        trained = Nano().audio.double()
    bank = model.embed_labels(LABELS)

    @torch.inference_mode()
    def reference(samples: np.ndarray) -> Pair:
        frames = in_float64(trained, samples)
        return frames, sigmoid(model.scale * frames @ bank.embeddings.T + model.bias)

    listener = SoundListener(model, bank, list(LABELS), DetectionOptions(), FILE_HOP_S)
    return Subject(
        "log-odds of known sounds",
        model.sample_rate,
        listener.kept_stage,
        lambda frames: sigmoid(model.compare([frames], bank)[0]),
        reference,
        round(model.frame_s * model.sample_rate),
    )


def nano_keyword(_: Path) -> Subject:
    from zsaudio.models.speech.nano_keyword import NanoKeyword

    model, folder = NanoKeyword(), "zsaudio.models.speech"
    with mock.patch(f"{folder}.network.KeywordNetwork.fuse"), mock.patch(f"{folder}.nano_keyword.pack"):
        trained = NanoKeyword().network.double()

    @torch.inference_mode()
    def reference(samples: np.ndarray) -> Pair:
        log_probs = in_float64(trained, samples)
        return log_probs, np.exp(log_probs)

    frame = round(model.frame_s * model.sample_rate)
    return Subject(
        "log-probabilities",
        model.sample_rate,
        keyword_stage(model, FILE_HOP_S),
        np.exp,
        reference,
        frame,
    )


SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "nano": nano,
    "nano-keyword": nano_keyword,
    **{f"CLAP, as laion/{name}": lambda f, c=config: clap(f, c) for name, config in CLAPS.items()},  # type: ignore[misc]
    "PE-A-Frame": lambda folder: pe_audio(folder, "frame"),
    "PE audio, a window at once": lambda folder: pe_audio(folder, "clip"),
    "PE-AV, its audio half": lambda folder: pe_audio(folder, "video"),
    **{f"classifier, {name}": lambda f, n=name: classifier(f, n) for name in CLASSIFIERS},  # type: ignore[misc]
    **{f"keywords, {name}": lambda f, n=name: ctc(f, n) for name in FRAMES_S},  # type: ignore[misc]
}


@dataclass
class Collect:
    """Keeps the windows of a recording and their outputs."""

    found: list[tuple[Window, np.ndarray]] = field(default_factory=list)

    def push(self, stage: int, window: Window, output: np.ndarray) -> None:  # noqa: D102
        self.found.append((window, output))

    def finish(self, clip: Clip) -> list[tuple[Window, np.ndarray]]:  # noqa: D102
        if clip.error:
            raise clip.error
        return self.found


def compare(subject: Subject, path: Path) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Yield for each window of a recording zsaudio's output, the reference's, and how far scores differ."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = soxr.resample(audio.mean(axis=1), rate, subject.rate)
    (found,) = batched_pass([str(path)], [subject.stage], Collect, 4)
    whole = subject.reference(samples) if subject.whole else None
    for window, output in found:
        if whole is None:
            expected, scores = subject.reference(samples[window.start : window.end])
            own = output[: len(expected)]  # networks without padding leave out the last frame or two
        else:
            kept = [number for number, *_ in frames_kept(window, len(output), subject.whole)]
            first, own = window.start // subject.whole, output[kept]
            expected, scores = (each[first + kept[0] : first + kept[-1] + 1] for each in whole)
        yield own, expected[: len(own)], float(np.abs(subject.score(own) - scores[: len(own)]).max())


def save_clips(folder: Path, longest: float) -> Iterator[tuple[float, Path]]:
    """Save the clips one after another; yield the length of each in seconds."""
    sounds = [
        (audio.mean(axis=1), rate)
        for path in sorted((ROOT / "examples" / "audio").iterdir())
        for audio, rate in [soundfile.read(path, dtype="float32", always_2d=True)]
    ]
    for rate in RATES:
        joined = np.concatenate([soxr.resample(audio, own, rate) for audio, own in sounds])
        for channels in (1, 2):
            for length in LENGTHS_S:
                if length > longest or (length > 100 and (rate, channels) != (96_000, 2)):
                    continue
                n_samples = round(length * rate)
                # the second channel is another place of the recording
                starts = (rate * 3, rate * 17)[:channels]
                audio = np.stack([np.resize(np.roll(joined, -at), n_samples) for at in starts], axis=1)
                soundfile.write(folder / "clip.wav", audio, rate, subtype="FLOAT")
                yield length, folder / "clip.wav"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="families whose name holds one of these")
    parser.add_argument(
        "--longest", type=float, default=LENGTHS_S[-1], help="leave out longer clips, seconds"
    )
    options = parser.parse_args()
    lengths = [length for length in LENGTHS_S if length <= options.longest]
    print("| family | compared | " + " | ".join(f"{length:g} s" for length in lengths) + " | scores |")
    print("|---|---|" + "---:|" * (len(lengths) + 1))
    for name, load in SUBJECTS.items():
        if options.only and not any(part in name for part in options.only):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            (folder / "model").mkdir()
            subject = load(folder / "model")
            worst = dict.fromkeys(lengths, 0.0)
            score, expected = 0.0, []
            for length, path in save_clips(folder, options.longest):
                for ours, theirs, of_scores in compare(subject, path):
                    worst[length] = max(worst[length], float(np.abs(ours - theirs).max()))
                    score = max(score, of_scores)
                    expected.append(theirs)
        spread = np.concatenate(expected).std(axis=0).mean()
        cells = " | ".join(f"{value:.0e}" for value in [*(each / spread for each in worst.values()), score])
        print(f"| {name} | {subject.output} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
