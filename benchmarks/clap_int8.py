"""CLAP's audio tower in int8 beside float32, on one core: time per window, and how near its embeddings are.

    python benchmarks/clap_int8.py                   # the shape of laion/clap-htsat-unfused
    pip install onnx onnxscript onnxruntime          # adds the lines of ONNX Runtime

Weights are quantised per tensor or channel, activations as they come (dynamic quantisation), in the linear
layers, which have nearly all of the arithmetic. The weights are random: trained ones have outliers, which
int8 keeps worse. The windows are 10 s of the recordings in examples/audio. Times are those of the
processor in one thread, the variants in turns, the median of all.
"""

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from clap_vs_transformers import SIZES, save_checkpoint
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, gelu
from transformers import ClapAudioModelWithProjection, ClapFeatureExtractor

from zsaudio.audio.reader import AudioReader
from zsaudio.models.clap import cpu

AUDIO = Path(__file__).parents[1] / "examples" / "audio"
NOT_LONGER = torch.zeros(1, 1, dtype=torch.bool)


class Int8Linear:
    """Stands for the linear layer of zsaudio's tower, in int8."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, activation: str = "none"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
        layer.weight = nn.Parameter(weight)
        if bias is not None:
            layer.bias = nn.Parameter(bias)
        self._layer = quantized(nn.Sequential(layer))
        self._activation = activation

    def __call__(self, x: Tensor, add_to: Tensor | None = None) -> Tensor:  # noqa: D102
        x = self._layer(x)
        x = gelu(x) if self._activation == "gelu" else x
        return x if add_to is None else x + add_to


def quantized(network: nn.Module) -> Any:
    from torch.ao.quantization import quantize_dynamic

    return quantize_dynamic(copy.deepcopy(network), {nn.Linear}, dtype=torch.qint8)


def by_onnx(tower: nn.Module, mel: Tensor, folder: Path) -> dict[str, Callable[[Tensor], Any]]:
    """Return the tower in ONNX Runtime, in float32 and int8; nothing where that is not installed."""
    try:
        import onnxruntime
        from onnxruntime.quantization import quantize_dynamic
    except ImportError:
        return {}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = tower

        def forward(self, mel: Tensor) -> Any:
            return self.tower(mel, is_longer=NOT_LONGER).audio_embeds

    torch.onnx.export(Alone(), (mel[None, None],), str(folder / "tower.onnx"), dynamo=True, verbose=False)
    quantize_dynamic(folder / "tower.onnx", folder / "int8.onnx")
    found: dict[str, Callable[[Tensor], Any]] = {}
    for name, file in (("ONNX Runtime, float32", "tower.onnx"), ("ONNX Runtime, int8", "int8.onnx")):
        session = onnxruntime.InferenceSession(folder / file, options)
        key = session.get_inputs()[0].name
        found[name] = lambda mel, session=session, key=key: torch.from_numpy(  # type: ignore[misc]
            session.run(None, {key: mel[None, None].numpy()})[0][0]
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small", help="which checkpoint to imitate")
    parser.add_argument("--rounds", type=int, default=5, help="how often each variant runs over all windows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch.ao says that torchao will follow it
    joined = np.concatenate(
        [np.concatenate(list(AudioReader(path).blocks(48_000))) for path in sorted(AUDIO.iterdir())]
    )
    windows = [joined[start : start + 480_000] for start in range(0, len(joined) - 480_000, 144_000)]
    extractor = ClapFeatureExtractor(truncation="rand_trunc")
    mels = [
        extractor(window, sampling_rate=48_000, return_tensors="pt")["input_features"][0, 0]
        for window in windows
    ]
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        folder = Path(scratch)
        save_checkpoint(folder, SIZES[options.size])
        tower = ClapAudioModelWithProjection.from_pretrained(folder).eval().requires_grad_(False)

        def plain(network: Any) -> Callable[[Tensor], Any]:
            return lambda mel: network(mel[None, None], is_longer=NOT_LONGER).audio_embeds[0]

        with mock.patch.object(cpu, "Packed", Int8Linear):
            int8 = cpu.HtsatOnCpu(tower, torch.float32)
        variants: dict[str, Callable[[Tensor], Any]] = {
            "transformers, float32": plain(tower),
            "transformers, int8 by torch.ao": plain(quantized(tower)),
            "zsaudio, float32": cpu.HtsatOnCpu(tower, torch.float32),
            "zsaudio, int8 by torch.ao": int8,
            **by_onnx(tower, mels[0], folder),
        }
        exact = [variants["transformers, float32"](mel) for mel in mels]
        times: dict[str, list[float]] = {name: [] for name in variants}
        near = dict.fromkeys(variants, 1.0)
        for _ in range(options.rounds):
            for name, run in variants.items():
                for mel, expected in zip(mels, exact, strict=True):
                    started = time.thread_time()
                    embedding = run(mel)
                    times[name].append(time.thread_time() - started)
                    near[name] = min(near[name], cosine_similarity(embedding, expected, dim=0).item())
        ours = statistics.median(times["zsaudio, float32"])
        apart = min(cosine_similarity(a, b, dim=0).item() for a in exact for b in exact)
        print(
            f"CLAP {options.size}, {len(mels)} windows; their embeddings have cosines of {apart:.4f} or more"
        )
        print("| tower, one core | s / window | × zsaudio, float32 | least cosine |\n|---|---:|---:|---:|")
        for name, each in times.items():
            cost = statistics.median(each)
            print(f"| {name} | {cost:.3f} | {ours / cost:.2f} | {near[name]:.5f} |")


if __name__ == "__main__":
    main()
