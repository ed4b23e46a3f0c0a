"""Time CLAP in zsaudio against CLAP in transformers, on this machine.

    python benchmarks/clap_vs_transformers.py
    python benchmarks/clap_vs_transformers.py --clips 20 --seconds 10 --labels 50     # shorter
    python benchmarks/clap_vs_transformers.py --profile     # what the time of the audio tower goes to

It makes a CLAP checkpoint of full size with random weights (they do not change the arithmetic), and
ten-second clips: pairs of ESC-50 recordings where ../shared/data/esc50 exists, or from the folder given by
--audio, else noise and tones. Every line of the table is a process of its own, which tags the clips until
all are done or its time is up:

    pipeline         transformers' zero-shot-audio-classification pipeline, one clip per call, as documented
    pipeline, 8      the same, given all clips at once, batch_size=8
    by hand          transformers' model and extractor, labels encoded once, 8 clips per batch
    zsaudio          Recognizer(labels, model=folder).tag_batch(paths), from the files

transformers gets decoded audio; the time of zsaudio includes decoding and resampling. Two more figures of
zsaudio are printed, both from CPU time: the rate of the audio tower alone relative to that of matrix
products, and the share of time spent outside the tower, on decoding, resampling, cutting, spectrograms and
scores. bfloat16 is left out on a CPU without it. Another busy program slows the variants unequally: measure
on a quiet machine.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import soxr

RATE, CLIP_S = 48_000, 10
ESC50 = Path(__file__).resolve().parents[2] / "shared" / "data" / "esc50"
SIZES: dict[str, dict[str, Any]] = {
    "small": {},  # as laion/clap-htsat-unfused: transformers' defaults, 153 M parameters
    # as laion/larger_clap_general, 194 M parameters
    "large": {"patch_embeds_hidden_size": 128, "hidden_size": 1024, "depths": [2, 2, 12, 2]},
}
BATCH = 8
TOWER_S: list[float] = []  # processor seconds of each call of the audio tower
VARIANTS = ("pipeline", "pipeline, 8", "by hand", "zsaudio float32", "zsaudio bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small", help="which checkpoint to imitate")
    parser.add_argument("--clips", type=int, default=200, help="ten-second files to tag")
    parser.add_argument("--minutes", type=float, default=20, help="length of one recording, 5 s hop; 0: none")
    parser.add_argument("--labels", type=int, nargs="*", default=[1, 50, 500], help="numbers of labels")
    parser.add_argument("--seconds", type=float, default=60, help="most time for a line of the table")
    parser.add_argument("--audio", type=Path, help="folder of recordings to make the clips from")
    parser.add_argument("--figure", type=Path, help="draw the times per window as bars into this file")
    parser.add_argument(
        "--profile", action="store_true", help="print shares of the audio tower's time, nothing else"
    )
    parser.add_argument("--variant", help=argparse.SUPPRESS)  # a line of the table, in its own process
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(**json.loads(options.variant))))
        return
    if options.profile:
        print_profile(SIZES[options.size])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kind = save_clips(folder / "clips", options.clips, options.minutes, options.audio or ESC50)
        os.environ |= {"ZSAUDIO_CACHE": str(folder / "cache"), "TRANSFORMERS_VERBOSITY": "error"}
        machine = run(folder, options.size, 0, 0)
        print(f"CLAP {options.size}, {machine['gflop']:.1f} GFLOP a window; {kind}")
        print(f"{machine['threads']} threads, torch {machine['torch']}; matrix products, GFLOP/s: ", end="")
        print(
            ", ".join(
                f"{dtype} {machine[dtype]:.0f}" for dtype in ("float32", "bfloat16") if dtype in machine
            )
            + "\n"
        )
        tables = {}
        for n_labels in options.labels:
            print(title := f"{options.clips} clips of {CLIP_S} s, {n_labels} label{'s' * (n_labels != 1)}")
            tables[title] = print_table(folder, n_labels, options.seconds, machine)
        for dtype in ("float32", "bfloat16")[: 1 + machine["has_bfloat16"]]:
            costs = run(folder, f"turns {dtype}", 0, 0)
            print(
                f"zsaudio {dtype}, in turns:",
                ", ".join(f"{n} label{'s' * (n != '1')} {s:.4f} s" for n, s in costs.items()),
            )
        if options.minutes:
            print(
                title := f"one recording of {options.minutes:g} minutes, windows of 10 s every 5 s, 50 labels"
            )
            tables[title] = print_table(folder, 50, options.seconds, machine, recording=True)
        if options.figure:
            draw(tables, options.figure)
        print("start-up with 50 labels: from nothing to the first clip's tags")
        for variant, cache in (("by hand", ""), ("zsaudio float32", "cold"), ("zsaudio float32", "warm")):
            os.environ["ZSAUDIO_CACHE"] = str(folder / ("empty" if cache == "cold" else "cache"))
            line = run(folder, variant, 50, 0)
            print(f"{variant + ' ' + cache:22}{line['start']:6.1f} s {line['peak_mb']:6.0f} MB")


def print_table(
    folder: Path, n_labels: int, seconds: float, machine: Any, recording: bool = False
) -> dict[str, float]:
    """Print a line per variant, with ratios above 1 where it is faster; return the seconds per window."""
    print(
        f"{'':22}{'s/window':>9}{'x real time':>12}{'x pipeline':>11}{'x by hand':>10}"
        f"{'of matrix rate':>15}{'peak MB':>9}{'tower alone':>12}{'around it':>10}"
    )
    reference: dict[str, float] = {}
    for variant in VARIANTS if machine["has_bfloat16"] else VARIANTS[:-1]:
        line = run(folder, variant, n_labels, seconds, recording)
        cost = reference[variant] = line["seconds"] / line["windows"]
        ratios = [reference[name] / cost if name in reference else 0 for name in ("pipeline", "by hand")]
        full_rate = machine["gflop"] / machine["bfloat16" if "bfloat16" in variant else "float32"]
        tower = line["tower"] / line["windows"] / machine["threads"]  # seconds if nothing else were to do
        own = f"{full_rate / tower:12.0%}{1 - line['tower'] / line['processor']:10.0%}" if tower else ""
        speed = (5 if recording else CLIP_S) / cost
        print(
            f"{variant:22}{cost:9.4f}{speed:12.1f}{ratios[0]:11.2f}{ratios[1]:10.2f}{full_rate / cost:15.0%}"
            f"{line['peak_mb']:9.0f}{own}",
            flush=True,
        )
    print()
    return reference


def draw(tables: dict[str, dict[str, float]], path: Path) -> None:
    """Draw a panel of bars a table; lengths compare within a panel."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(tables), figsize=(7, 0.5 + 1.4 * len(tables)), squeeze=False, layout="constrained"
    )
    for axis, (title, table) in zip(axes[:, 0], tables.items(), strict=True):
        colours = ["tab:orange" if name.startswith("zsaudio") else "tab:gray" for name in table]
        names = [name if name.startswith("zsaudio") else f"transformers, {name}" for name in table]
        bars = axis.barh(names, list(table.values()), color=colours)
        axis.bar_label(bars, [f"{cost:.3f} s" for cost in table.values()], padding=3, fontsize=8)
        axis.set_title(title, fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.invert_yaxis()
        axis.margins(x=0.15)
    axes[-1, 0].set_xlabel("seconds a window of 10 s", fontsize=8)
    figure.savefig(path, dpi=110)


def run(folder: Path, variant: str, n_labels: int, seconds: float, recording: bool = False) -> Any:
    """Measure in a new process."""
    job = {"folder": str(folder), "variant": variant, "n_labels": n_labels, "seconds": seconds}
    command = [sys.executable, __file__, "--variant", json.dumps(job | {"recording": recording})]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(folder: str, variant: str, n_labels: int, seconds: float, recording: bool) -> dict[str, Any]:
    """Return what one variant costs, once its first clip is done."""
    if variant in SIZES:  # before anything else; in a process of its own, so that its memory counts for none
        save_checkpoint(Path(folder) / "clap", SIZES[variant])
        return describe_machine(Path(folder) / "clap")
    if variant.startswith("turns"):
        return measure_in_turns(Path(folder), variant.split()[1])
    started = time.perf_counter()
    if variant.startswith("zsaudio"):
        steps = zsaudio_steps(Path(folder), made_labels(n_labels), variant.split()[1], recording)
    else:
        audio = read_windows(Path(folder), recording)
        started = time.perf_counter()
        batch = 1 if variant == "pipeline" else BATCH
        steps_of = by_hand_steps if variant == "by hand" else pipeline_steps
        steps = steps_of(str(Path(folder) / "clap"), made_labels(n_labels), audio, batch)
    next(steps)
    ready, processor, tower = time.perf_counter(), time.process_time(), sum(TOWER_S)
    done = 0
    for n_windows in steps:
        done += n_windows
        if time.perf_counter() - ready > seconds:
            break
    return {
        "start": ready - started,
        "seconds": time.perf_counter() - ready,
        "processor": time.process_time() - processor,
        "tower": sum(TOWER_S) - tower,
        "windows": done,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1e6 if sys.platform == "darwin" else 1e3),
    }


def measure_in_turns(folder: Path, dtype: str, rounds: int = 7, n_clips: int = 16) -> dict[str, float]:
    """Return the median seconds per clip with 1, 50 and 500 labels, in turn, several times.

    So another program slows all of them alike.
    """
    import zsaudio
    from zsaudio.models.clap.clap import Clap

    model = Clap(str(folder / "clap"), dtype=dtype)
    recognizers = {n: zsaudio.Recognizer(made_labels(n), model) for n in (1, 50, 500)}
    clips = sorted((folder / "clips").glob("clip*.flac"))[:n_clips]
    spent: dict[str, list[float]] = {str(n): [] for n in recognizers}
    for _ in range(rounds):
        for n_labels, recognizer in recognizers.items():
            started = time.perf_counter()
            for clip in recognizer.tag_batch(clips):
                if clip.error:
                    raise clip.error
            spent[str(n_labels)].append((time.perf_counter() - started) / len(clips))
    return {n: statistics.median(own[1:]) for n, own in spent.items()}  # the first warms up


# --- The variants: each yields the number of windows done since its last yield, the first one to warm up ----


def pipeline_steps(folder: str, labels: list[str], audio: list[np.ndarray], batch: int) -> Iterator[int]:
    from transformers import pipeline

    classifier = pipeline("zero-shot-audio-classification", model=folder)
    classifier(audio[0], candidate_labels=labels)
    yield 1
    if batch == 1:
        for clip in audio:
            classifier(clip, candidate_labels=labels)
            yield 1
    # A list is worked off as a whole: several batches a call.
    for start in range(0, len(audio), 2 * batch):
        part = audio[start : start + 2 * batch]
        classifier(part, candidate_labels=labels, batch_size=batch)  # type: ignore[arg-type]
        yield len(part)


def by_hand_steps(folder: str, labels: list[str], audio: list[np.ndarray], batch: int) -> Iterator[int]:
    import torch
    from transformers import ClapModel, ClapProcessor

    model, processor = ClapModel.from_pretrained(folder), ClapProcessor.from_pretrained(folder)
    prompts = [f"This is a sound of {label}." for label in labels]

    @torch.inference_mode()
    def scores(clips: list[np.ndarray]) -> Any:
        inputs = processor(audio=clips, sampling_rate=RATE, return_tensors="pt")
        embeddings = model.get_audio_features(**inputs).pooler_output
        return (model.logit_scale_a.exp() * embeddings @ text.T).softmax(dim=1).tolist()

    with torch.inference_mode():
        text = model.get_text_features(
            **processor(text=prompts, padding=True, return_tensors="pt")
        ).pooler_output
    scores(audio[:1])
    yield 1
    for start in range(0, len(audio), batch):
        yield len(scores(audio[start : start + batch]))


def zsaudio_steps(folder: Path, labels: list[str], dtype: str, recording: bool) -> Iterator[int]:
    import zsaudio
    from zsaudio.models.clap.cpu import HtsatOnCpu

    mock.patch.object(HtsatOnCpu, "__call__", timed(HtsatOnCpu.__call__)).start()
    recognizer = zsaudio.Recognizer(labels, model=str(folder / "clap"), dtype=dtype)
    clips = sorted((folder / "clips").glob("clip*.flac"))
    recognizer.tag(clips[0])
    yield 1
    if recording:
        path = folder / "clips" / "recording.flac"
        recognizer.detect(path, options=zsaudio.DetectionOptions(window_s=CLIP_S, hop_s=5))
        yield len(window_starts(soundfile.info(path).duration))
        return
    for clip in recognizer.tag_batch(clips):
        if clip.error:
            raise clip.error
        yield 1


def timed(function: Any) -> Any:
    """Return the function, with its CPU time added to ``TOWER_S``; it must stay in its thread."""

    def call(*arguments: Any) -> Any:
        started = time.thread_time()
        result = function(*arguments)
        TOWER_S.append(time.thread_time() - started)
        return result

    return call


def describe_machine(checkpoint: Path) -> dict[str, Any]:
    """Return the arithmetic of a window, and how fast torch multiplies matrices here."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import ClapAudioModelWithProjection

    from zsaudio.models.device import has_bfloat16

    tower = ClapAudioModelWithProjection.from_pretrained(checkpoint).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        tower(torch.zeros(1, 1, 1001, 64), is_longer=torch.zeros(1, 1))
    facts = {"gflop": counter.get_total_flops() / 1e9, "threads": torch.get_num_threads()}
    size = 2048
    facts["has_bfloat16"] = has_bfloat16(torch.device("cpu"))
    for dtype in (torch.float32, torch.bfloat16) if facts["has_bfloat16"] else (torch.float32,):
        matrix, times = torch.ones(size, size, dtype=dtype), []
        for _ in range(30):
            started = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - started)
        facts[str(dtype).removeprefix("torch.")] = 2 * size**3 / 1e9 / min(times)
    return facts | {"torch": torch.__version__}


def print_profile(audio_config: dict[str, Any], n_windows: int = 20) -> None:
    """Print which operations the time of zsaudio's audio tower goes to, in float32 on one core."""
    import torch
    from torch.profiler import profile
    from transformers import ClapAudioConfig, ClapAudioModelWithProjection

    from zsaudio.models.clap.cpu import HtsatOnCpu

    torch.set_num_threads(1)
    tower = HtsatOnCpu(ClapAudioModelWithProjection(ClapAudioConfig(**audio_config)).eval(), torch.float32)
    mel = 20 * torch.randn(1001, 64) - 40
    matrix = torch.ones(2048, 2048)
    costs: dict[str, list[float]] = {"window": [], "product": []}
    for _ in range(n_windows):
        for name, work in (("window", lambda: tower(mel)), ("product", lambda: matrix @ matrix)):
            started = time.thread_time()
            work()
            costs[name].append(time.thread_time() - started)
    window, product = min(costs["window"]), min(costs["product"])
    print(f"{window:.3f} s a window, matrix products at {2 * 2048**3 / 1e9 / product:.0f} GFLOP/s")
    with profile() as spent:
        for _ in range(n_windows):
            tower(mel)
    events = sorted(spent.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events)
    for event in events[:10]:
        print(f"{event.self_cpu_time_total / whole:6.1%} {event.key}")


# --- What is measured on -----------------------------------------------------------------------------------


def save_checkpoint(folder: Path, audio_config: dict[str, Any]) -> None:
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, RobertaTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    torch.manual_seed(0)
    model = ClapModel(ClapConfig(audio_config=audio_config))
    norm = model.audio_model.audio_encoder.batch_norm
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.fill_(-40)  # dB, the usual level
    norm.running_var.fill_(400)
    model.save_pretrained(folder)
    # Letters are merged to words, so that a prompt has about as many tokens as with the real tokenizer.
    letters = list(bytes_to_unicode().values())
    words = {f"\u0120{word}" for label in made_labels(500) for word in f"is a sound of {label}".split()}
    merges = {(word[:end], word[end]) for word in words for end in range(1, len(word))}
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *letters, *sorted({a + b for a, b in merges}), "<mask>"]
    ordered = sorted(merges, key=lambda merge: (len(merge[0]), merge))
    tokenizer = RobertaTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=ordered)  # type: ignore[arg-type]  # pairs, as the tokenizer below takes them
    is_fused = audio_config.get("enable_fusion", False)
    extractor = ClapFeatureExtractor(truncation="fusion" if is_fused else "rand_trunc")
    ClapProcessor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)


def made_labels(n_labels: int) -> list[str]:
    things = "dog cat rooster rain wind engine siren door clock baby".split()
    doings = "barking howling crying passing starting squeaking ticking".split()
    places = "in a room,outdoors,far away,in a street,by the sea,at night,in a hall,indoors".split(",")
    return [f"{thing} {doing} {place}" for place in places for doing in doings for thing in things][:n_labels]


def save_clips(folder: Path, n_clips: int, minutes: float, source: Path) -> str:
    """Save clips, and a recording of clips one after the other; return what they are made of."""
    folder.mkdir()
    known = (".wav", ".flac", ".ogg")
    files = sorted(path for path in source.rglob("*") if path.suffix in known) if source.is_dir() else []
    rng, rate, joined = np.random.default_rng(0), 16_000, []
    for index in range(max(n_clips, round(minutes * 60 / CLIP_S))):
        clip, n_samples = np.zeros(0), CLIP_S * rate
        while files and len(clip) < n_samples:
            audio, file_rate = soundfile.read(files[rng.integers(len(files))], always_2d=True)
            clip = np.append(clip, soxr.resample(audio.mean(axis=1), file_rate, rate))
        if not files:
            tone = np.sin(np.arange(n_samples) * rng.uniform(0.05, 1))
            clip = 0.2 * tone + 0.1 * rng.standard_normal(n_samples)
        if index < n_clips:
            soundfile.write(folder / f"clip{index:05}.flac", clip[:n_samples], rate)
        joined.append(clip[:n_samples])
    if minutes:
        soundfile.write(folder / "recording.flac", np.concatenate(joined)[: round(minutes * 60 * rate)], rate)
    return f"clips made of {len(files)} files in {source.name}" if files else "clips of noise and tones"


def window_starts(duration_s: float) -> list[int]:
    """Return where the windows of a recording start, in seconds."""
    return list(range(0, max(1, int(duration_s) - CLIP_S + 1), 5))


def read_windows(folder: Path, recording: bool) -> list[np.ndarray]:
    """Return the decoded windows for transformers."""

    def read(path: Path) -> np.ndarray:
        audio, rate = soundfile.read(path, dtype="float32")
        resampled: np.ndarray = soxr.resample(audio, rate, RATE)
        return resampled

    if not recording:
        return [read(path) for path in sorted((folder / "clips").glob("clip*.flac"))]
    whole = read(folder / "clips" / "recording.flac")
    return [whole[start * RATE :][: CLIP_S * RATE] for start in window_starts(len(whole) / RATE)]


if __name__ == "__main__":
    main()
