"""Archives: how fast they are made and searched, how large they are, and what others take for the same.

    python benchmarks/archive.py index                       # zsaudio index against zsaudio detect
    python benchmarks/archive.py search --sizes 100000 1000000 10000000
    python benchmarks/archive.py search --sizes 100000 --others  # and LanceDB, perch-hoplite

``index`` makes a recording of some minutes and runs both commands on it in turn, each as a process of its
own; of several turns the best counts, by processor time, which other work on the computer changes less.
``search`` makes vectors: mixtures of two embeddings of real or made
sounds and noise, mapped to ``--dim`` numbers, a recording per hour. Labels are mapped the same way. It
measures a search for ten events, exact and by the index of ``zsaudio index --optimize``, each several times
in one process, and the share of the 100 best vectors of an exact search that the index finds.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from zsaudio.archive.archive import Archive
from zsaudio.archive.query import Query, Scorer
from zsaudio.archive.search import CANDIDATES, LIKELY
from zsaudio.archive.shards import NewRecording, Stored
from zsaudio.archive.sketch import Sketch
from zsaudio.archive.store import Store
from zsaudio.evaluation.embeddings import as_encoder, embed_clips
from zsaudio.labels import LabelSet
from zsaudio.models.base import EmbeddingBank, LabelBank, LogitsByComparing, own_bank
from zsaudio.models.registry import load_model

RATE = 16_000
QUESTIONS = (
    "glass breaking",
    "a dog barks far away",
    "rain on a roof",
    "a creaking door",
    "church bells",
    "somebody laughs",
    "an engine",
    "a frog",
    "thunder",
    "a helicopter",
)
TURNS = 3
PER_RECORDING = 3600


class Mapped(LogitsByComparing):
    """A model whose embeddings are mapped to fewer dimensions."""

    name = "mapped"
    sample_rate, window_s, context_s, frame_s = RATE, 10.0, 1.0, 1.0

    def __init__(self, model: str, dim: int) -> None:
        self.inner = as_encoder(load_model(model), "this benchmark")
        self.dim = dim
        random = np.random.default_rng(0).standard_normal((self.inner.dim, dim))
        self.map = (np.linalg.qr(random)[0] if dim <= self.inner.dim else random).astype(np.float32)

    def encode_audio(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the mapped embeddings."""
        return [self.mapped(frames) for frames in self.inner.encode_audio(windows)]

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the mapped embeddings."""
        return self.mapped(self.inner.encode_text(prompts))

    def embed_labels(self, labels: LabelSet) -> EmbeddingBank:
        """Return the mapped embeddings of the first prompts."""
        return EmbeddingBank(
            labels.names, self.encode_text([own[0] for own in labels.prompts()]).astype(np.float32)
        )

    def compare(self, embeddings: Sequence[np.ndarray], bank: LabelBank) -> list[np.ndarray]:
        """Return log-odds as nano makes them."""
        import torch

        labels = torch.from_numpy(own_bank(bank, EmbeddingBank).embeddings).T
        return [(20 * (torch.from_numpy(frames) @ labels) - 5).numpy() for frames in embeddings]

    def mapped(self, rows: np.ndarray) -> np.ndarray:
        """Map embeddings."""
        return unit(rows @ self.map)


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of unit norm."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def best(function: Callable[[], object], turns: int = TURNS) -> tuple[float, float]:
    """Return the least time of some calls, in seconds, and the least processor time."""
    times, used = [], []
    for _ in range(turns):
        started, busy = time.perf_counter(), time.process_time()
        function()
        times.append(time.perf_counter() - started)
        used.append(time.process_time() - busy)
    return min(times), min(used)


def line(name: str, seconds: tuple[float, float]) -> None:
    """Print a row of times in ms."""
    print(f"{name:<22}{1000 * seconds[0]:8.0f} ms {1000 * seconds[1]:8.0f} ms of processor time", flush=True)


def make_recording(path: Path, minutes: float) -> None:
    """Write quiet noise with sweeps, at 48 kHz."""
    random = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 48_000, 1, "PCM_16") as file:
        for _ in range(round(minutes * 60)):
            second = 0.01 * random.standard_normal(48_000)
            time_s = np.arange(24_000) / 48_000
            second[:24_000] += 0.2 * np.sin(2 * np.pi * random.uniform(200, 4000) * time_s * (1 + time_s))
            file.write(second)


def run_index(minutes: float, model: str, hop: float | None) -> None:
    """Compare the commands."""
    hops = [] if hop is None else ["--hop", str(hop)]
    with tempfile.TemporaryDirectory() as folder:
        path, archive = Path(folder) / "x.flac", Path(folder) / "A"
        make_recording(path, minutes)
        common = [sys.executable, "-m", "zsaudio"]
        detect = [
            *common,
            "detect",
            str(path),
            "-l",
            ", ".join(QUESTIONS[:8]),
            "-m",
            model,
            "-f",
            "csv",
            "-q",
        ]
        index = [*common, "index", str(path), "--archive", str(archive), "-m", model, "-q", *hops]
        times: dict[str, list[float]] = {"detect": [], "index": []}
        for _ in range(TURNS):
            for name, command in (("detect", detect), ("index", index)):
                shutil.rmtree(archive, ignore_errors=True)
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                times[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        size = Store(archive).n_bytes()
    least = {name: min(own) for name, own in times.items()}
    print(f"{minutes:g} minutes at 48 kHz, {model}, processor time, best of {TURNS}")
    print(f"detect (8 labels)  {least['detect']:8.2f} s")
    print(f"index              {least['index']:8.2f} s   {least['index'] / least['detect']:.2f} x detect")
    print(f"an hour takes      {size / minutes * 60 / 1e6:8.2f} MB")


def pool_of_embeddings(model: Mapped, folder: Path | None) -> np.ndarray:
    """Return embeddings of the recordings of a folder, or of made sounds, ``(n, dim)``."""
    if folder is not None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac", ".ogg"))
        clips = [clip for clip in embed_clips(model.inner, paths) if clip.error is None]
        return model.mapped(np.concatenate([frames for clip in clips for frames in clip.windows]))
    random = np.random.default_rng(0)
    time_s = np.arange(4 * RATE) / RATE
    windows = []
    for _ in range(400):
        tone = np.sin(
            2 * np.pi * random.uniform(80, 5000) * time_s * (1 + random.uniform(-0.1, 0.1) * time_s)
        )
        noise = np.cumsum(random.standard_normal(len(time_s))) * 0.01 * random.integers(0, 2)
        noise = noise + random.standard_normal(len(time_s)) * random.uniform(0, 0.3)
        gate = np.sin(2 * np.pi * random.uniform(0.2, 8) * time_s) > random.uniform(-1, 0.7)
        windows.append((0.3 * tone * gate + noise).astype(np.float32))
    return np.concatenate(model.encode_audio(windows))


def make_vectors(pool: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """Return mixtures of two embeddings with noise, ``(n, dim)``, float16."""
    share = random.uniform(0, 0.5, (n, 1)).astype(np.float32)
    rows = (1 - share) * pool[random.integers(0, len(pool), n)] + share * pool[
        random.integers(0, len(pool), n)
    ]
    noise = random.standard_normal((20_000, pool.shape[1]), dtype=np.float32)
    rows += 0.3 / np.sqrt(pool.shape[1]) * noise[random.integers(0, len(noise), n)]
    return unit(rows).astype(np.float16)


def fill(store: Store, pool: np.ndarray, n: int) -> float:
    """Store made vectors; return the seconds that writing them took."""
    random = np.random.default_rng(1)
    seconds, number = 0.0, 0
    while n > 0:
        batch = []
        vectors = make_vectors(pool, min(n, 20 * PER_RECORDING), random)
        for start in range(0, len(vectors), PER_RECORDING):
            own = vectors[start : start + PER_RECORDING]
            onsets = np.arange(len(own), dtype=np.float64)
            stored = Stored(f"{number}.wav", 1, 1, len(own), float(len(own)), RATE)
            batch.append(NewRecording(stored, onsets, onsets + 1, np.zeros(len(own)), own))
            number += 1
        started = time.perf_counter()
        store.append(batch)
        seconds += time.perf_counter() - started
        n -= len(vectors)
    return seconds


def run_search(n: int, model: Mapped, pool: np.ndarray, folder: Path, others: bool) -> None:
    """Measure an archive of n vectors."""
    location = folder / f"A{n}"
    archive = Archive.create(location, model=model, root=folder)
    store = Store(location)
    written = fill(store, pool, n)
    questions = iter(np.tile(QUESTIONS, 100))
    archive.search([QUESTIONS[0]])  # the disk's cache
    exact = best(lambda: archive.search([next(questions)]), TURNS + 2)
    print(f"\n{n:,} vectors of {model.dim}: {store.n_bytes() / 1e6:,.0f} MB, written in {written:.1f} s")
    line("exact search", exact)
    vectors = [shard.vectors for shard in store.shards()[0]]
    line("NumPy, memory-mapped", best(lambda: numpy_search(vectors, model)))
    if n >= 1_000_000:
        started = time.perf_counter()
        archive.optimize()
        print(f"optimize              {time.perf_counter() - started:8.0f} s")
        archive.search([QUESTIONS[0]])
        line("search by the index", best(lambda: archive.search([next(questions)]), 20))
        print(f"recall@100            {recall(store, model):8.3f}")
    if others:
        compare_others(folder, pool, n, model)
    print(f"most memory so far    {peak_mb():8.0f} MB, of which the page cache of mapped files is a part")
    shutil.rmtree(location)


def numpy_search(vectors: list[np.ndarray], model: Mapped) -> np.ndarray:
    """Return the ten best of a question, by NumPy."""
    query = model.encode_text([QUESTIONS[1]])[0]
    scores = [
        part[start : start + 4096].astype(np.float32) @ query
        for part in vectors
        for start in range(0, len(part), 4096)
    ]
    return np.argsort(-np.concatenate(scores))[:10]


def recall(store: Store, model: Mapped) -> float:
    """Return which share of the 100 best vectors the index finds, after they are scored exactly."""
    shards, _ = store.shards()
    sketch = Sketch.load(store, shards)
    assert sketch is not None
    shares = []
    for question in QUESTIONS:
        scorer = Scorer(model, Query(LabelSet([question])))
        query = scorer.vectors()
        assert query is not None
        found = sketch.best_rows(query, CANDIDATES * LIKELY)
        scores = np.concatenate([scorer.scores(shard.vectors, shard.starts)[:, 0] for shard in shards])
        starts = np.cumsum([0, *(shard.n_rows for shard in shards)])
        pairs = zip(shards, starts, strict=False)
        likely = np.concatenate([found[shard.name] + start for shard, start in pairs])
        truth = np.argsort(-scores, kind="stable")[:100]
        ranked = likely[np.argsort(-scores[likely], kind="stable")[:100]]
        shares.append(len(np.intersect1d(truth, ranked)) / 100)
    return float(np.mean(shares))


def compare_others(folder: Path, pool: np.ndarray, n: int, model: Mapped) -> None:
    """Measure the same in LanceDB and in perch-hoplite."""
    vectors = make_vectors(pool, n, np.random.default_rng(1))
    query = model.encode_text([QUESTIONS[1]])[0]
    try:
        import lancedb
        import pyarrow as pa
    except ImportError:
        print("LanceDB is not installed")
    else:
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), model.dim)
        started = time.perf_counter()
        database = lancedb.connect(str(folder / "lance"))
        table = database.create_table("v", pa.table({"vector": flat}))
        print(f"LanceDB writes in     {time.perf_counter() - started:8.1f} s")
        ask = table.search(query.astype(np.float32)).distance_type("dot").limit(10)
        line("LanceDB, exact", best(ask.to_arrow))
    try:
        from perch_hoplite.db import sqlite_usearch_impl as hoplite
    except ImportError:
        print("perch-hoplite is not installed")
    else:
        config = hoplite.get_default_usearch_config(model.dim)
        database = hoplite.SQLiteUSearchDB.create(str(folder / "hoplite"), usearch_cfg=config)
        started = time.perf_counter()
        recording = database.insert_recording(filename="x.wav")
        for start in range(0, len(vectors), 1000):
            own = vectors[start : start + 1000]
            windows = [
                {"recording_id": recording, "offsets": [float(start + at), start + at + 1.0]}
                for at in range(len(own))
            ]
            database.insert_windows_batch(windows, own, handle_duplicates="allow")
        database.commit()
        print(f"perch-hoplite writes  {time.perf_counter() - started:8.1f} s")
        asked = query.astype(np.float16)
        line("perch-hoplite", best(lambda: database.ui.search(asked, 10)))


def peak_mb() -> float:
    """Return the most memory that this process has taken, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("index", "search"))
    parser.add_argument("--model", default="nano")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--hop", type=float)
    parser.add_argument(
        "--sizes", type=lambda text: int(float(text)), nargs="+", default=[100_000, 1_000_000]
    )
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--sounds", type=Path, help="folder of recordings whose embeddings are mixed")
    parser.add_argument("--folder", type=Path, help="where archives are made; by default a temporary one")
    parser.add_argument("--others", action="store_true", help="compare with LanceDB and perch-hoplite")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if arguments.what == "index":
        run_index(arguments.minutes, arguments.model, arguments.hop)
        return
    model = Mapped(arguments.model, arguments.dim)
    pool = pool_of_embeddings(model, arguments.sounds)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for n in arguments.sizes:
            run_search(n, model, pool, Path(folder), arguments.others)


if __name__ == "__main__":
    main()
