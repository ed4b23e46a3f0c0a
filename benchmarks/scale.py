"""Runs of several processes: efficiency, fixed cost, memory, planning, kills, and the loss of a node.

    python benchmarks/scale.py                     # all, on two cores about an hour
    python benchmarks/scale.py efficiency fixed    # some
    python benchmarks/scale.py --share 0.1 kills   # a tenth of the recordings, rows and kills

Recordings are made in a temporary folder. Times are those of whole commands, started one after another in
turns, so that what else the computer does falls on all of them. Kills are ``kill -9``, of processes of this
benchmark only: they are known by a variable of their environment. ``ray-kills`` also calls ``ray stop``,
which ends every Ray of this computer; so it refuses to run beside another, and sees none in a namespace:

    unshare --pid --fork --mount-proc python benchmarks/scale.py ray-kills
"""

import argparse
import json
import os
import random
import resource
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

RATE = 16_000
TOKEN = f"ZSAUDIO_SCALE={secrets.token_hex(8)}"
LABELS = ["--labels", "dog barking, siren, rain, speech, bird singing, car horn, footsteps, glass breaking"]
ENVIRONMENT = {
    **os.environ,
    **dict([TOKEN.split("=")]),
    "OMP_NUM_THREADS": "1",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def make_recordings(folder: Path, n: int, seconds: float) -> list[str]:
    """Write noise with a sweep in it, a file each."""
    folder.mkdir(parents=True)
    random_ = np.random.default_rng(0)
    time_s = np.arange(round(seconds * RATE)) / RATE
    paths = []
    for number in range(n):
        sweep = np.sin(2 * np.pi * random_.uniform(200, 2000) * (1 + 0.1 * np.sin(3 * time_s)) * time_s)
        samples = 0.002 * random_.standard_normal(len(time_s)) + 0.2 * sweep * np.hanning(len(time_s))
        paths.append(str(folder / f"{number:06}.wav"))
        soundfile.write(paths[-1], samples, RATE)
    return paths


def start(*arguments: object, command: str = "tag") -> "subprocess.Popen[bytes]":
    """Start ``zsaudio``."""
    line = [sys.executable, "-m", "zsaudio", command, *map(str, arguments), *LABELS, "-q"]
    return subprocess.Popen(line, env=ENVIRONMENT, stderr=subprocess.DEVNULL)


def timed(*commands: "Callable[[], subprocess.Popen[bytes]]") -> float:
    """Return how long commands take that run side by side."""
    started = time.perf_counter()
    for process in [command() for command in commands]:
        if process.wait():
            sys.exit(f"{process.args!r} failed")
    return time.perf_counter() - started


def beside(*groups: "list[Callable[[], subprocess.Popen[bytes]]]") -> list[tuple[float, float]]:
    """Run groups of commands side by side; return for each its time, and its processor time, in s."""
    started = time.perf_counter()
    processes = [(number, command()) for number, commands in enumerate(groups) for command in commands]
    running = {process.pid: number for number, process in processes}
    times = [(0.0, 0.0)] * len(groups)
    while running:
        pid, status, usage = os.wait4(-1, 0)
        if status:
            sys.exit("a command failed")
        number = running.pop(pid)
        busy = times[number][1] + usage.ru_utime + usage.ru_stime
        times[number] = time.perf_counter() - started, busy
    return times


def efficiency(folder: Path, share: float, options: "list[object]" = ["--jobs", 2]) -> None:  # noqa: B006
    """Compare two processes with two plain commands on a half each, which run beside them."""
    seconds = 10.0
    paths = make_recordings(folder / "in", max(8, round(800 * share)), seconds)
    (folder / "all.txt").write_text("\n".join(paths))
    out = iter(range(1000))

    def plain(some: list[str]) -> Callable[[], "subprocess.Popen[bytes]"]:
        return lambda: start(*some, "-f", "csv", "-o", folder / f"{next(out)}.csv", command="detect")

    def shards(*options: object) -> Callable[[], "subprocess.Popen[bytes]"]:
        return lambda: start(folder / "all.txt", *options, "-o", folder / f"out{next(out)}", command="detect")

    base = [plain(paths[::2]), plain(paths[1::2])]
    print(f"\n{len(paths)} recordings of {seconds:g} s, detect; medians of 3 turns\n")
    print("| way | s | two plain commands beside it, s | ratio |\n|---|---|---|---|", flush=True)
    turns = [beside(base, [shards(*options)]) for _ in range(3)]
    ratio = statistics.median(plain[0] / own[0] for plain, own in turns)
    medians = [statistics.median(each[number][0] for each in turns) for number in (1, 0)]
    print(
        f"| {' '.join(map(str, options))} | {medians[0]:.1f} | {medians[1]:.1f} | {ratio:.2f} |", flush=True
    )
    speed = len(paths) * seconds / statistics.median(each[0][1] for each in turns)
    print(f"\nthe two plain commands: {speed:.0f} hours of sound in an hour of a core, their start included")


def fixed(folder: Path, share: float) -> None:
    """Time one recording: what starting costs."""
    (path,) = make_recordings(folder / "in", 1, 1.0)
    ways: dict[str, list[object]] = {
        "plain": [],
        "--jobs 1": ["--jobs", 1],
        "--jobs 2": ["--jobs", 2],
        "--ray local": ["--ray", "local"],
    }
    print("\n| one recording of a second, medians of 3 turns | s | of a processor, s |\n|---|---|---|")
    for number, (name, options) in enumerate(ways.items()):
        turns: list[tuple[float, float]] = []
        for turn in range(3):
            where = folder / f"{turn}-{number}"
            turns += beside([lambda: start(path, *options, "-o", where)])  # noqa: B023
        wall, busy = (statistics.median(each) for each in zip(*turns, strict=True))
        print(f"| {name} | {wall:.1f} | {'' if name.startswith('--ray') else f'{busy:.1f}'} |", flush=True)


def memory(folder: Path, share: float) -> None:
    """Resident memory of one process over many short recordings."""
    n = round(100_000 * share)
    (one,) = make_recordings(folder / "in", 1, 0.3)
    content = Path(one).read_bytes()
    paths = [folder / f"in/{number % 100:02}/{number:06}.wav" for number in range(n)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    (folder / "list.txt").write_text("\n".join(map(str, paths)))
    started = time.perf_counter()
    driver = start(folder / "list.txt", "--jobs", 1, "-o", folder / "out")
    sizes: list[tuple[int, float, float]] = []
    manifest = folder / "out/_manifest"
    while driver.poll() is None:
        time.sleep(1)
        n_done = sum(len(json.loads(each.read_bytes())["inputs"]) for each in manifest.glob("part-*.json"))
        workers = own_processes("spawn_main")
        if workers and n_done >= (len(sizes) + 1) * n / 10:
            sizes.append((n_done, sum(map(memory_of, workers)), memory_of(driver.pid)))
    print(
        f"\n{n} recordings of 0.3 s in {time.perf_counter() - started:.0f} s, exit code {driver.returncode}\n"
    )
    print("| done | process, MB | driver, MB |\n|---|---|---|")
    for n_done, worker, own in sizes:
        print(f"| {n_done:,} | {worker:.0f} | {own:.0f} |")


def planning(folder: Path, share: float) -> None:
    """Plan a million rows: until the first unit, until the last, and when all were done before."""
    from zsaudio.ray.inputs import read_inputs
    from zsaudio.ray.planning import plan_units

    n = round(1_000_000 * share)
    table = pa.table({"path": [""], "site": [0]})
    with pq.ParquetWriter(folder / "list.parquet", table.schema) as writer:
        for first in range(0, n, 10_000):
            numbers = range(first, min(n, first + 10_000))
            urls = [f"s3://bucket/recordings/site{number % 100:02}/{number:08}.flac" for number in numbers]
            writer.write_table(pa.table({"path": urls, "site": [number % 100 for number in numbers]}))
    print(f"\n{n:,} rows of URLs in Parquet ({(folder / 'list.parquet').stat().st_size / 1e6:.0f} MB)\n")
    print("| | s | peak memory of the driver, MB |\n|---|---|---|")
    done: dict[int, int] = {}
    started = time.perf_counter()
    before = peak_mb()  # with what was imported
    units = plan_units(read_inputs([str(folder / "list.parquet")])[1], done)
    next(units)
    print(f"| before | | {before:.0f} |")
    print(f"| until the first unit | {time.perf_counter() - started:.2f} | {peak_mb():.0f} |")
    n_units = 1 + sum(1 for _ in units)
    print(f"| until the last of {n_units} | {time.perf_counter() - started:.1f} | {peak_mb():.0f} |")
    started = time.perf_counter()
    assert not list(plan_units(read_inputs([str(folder / "list.parquet")])[1], done))
    print(f"| all done before | {time.perf_counter() - started:.1f} | {peak_mb():.0f} |")


def kills(folder: Path, share: float) -> None:
    """Kill processes and drivers of ``--jobs`` at random moments; then let one run end."""
    _kills(folder, share, ["--jobs", 2], ["driver", "process"], longest_s=15)


def ray_kills(folder: Path, share: float) -> None:
    """Kill actors, drivers, and all of Ray at random moments, and stop Ray; then let one run end."""
    if others := [pid for pid in all_processes() if "raylet" in command_of(pid)]:
        sys.exit(f"Ray runs here already ({others[0]}), and this would stop it: see the head of this file")
    _kills(
        folder,
        share,
        ["--ray", "local", "--actors", 2],
        ["driver", "process", "all of Ray", "ray stop"],
        longest_s=25,
    )


def _kills(folder: Path, share: float, options: list[object], kinds: list[str], longest_s: float) -> None:
    paths = make_recordings(folder / "in", max(40, round(10_000 * share)), 1.0)
    expected, out = folder / "whole", folder / "out"
    timed(lambda: start(folder / "in", "--jobs", 2, "-o", expected))
    counts = dict.fromkeys(kinds, 0)
    driver = None
    for number in range(max(len(kinds), round(20 * share))):
        if driver is None or driver.poll() is not None:
            driver = start(folder / "in", *options, "-o", out)
        time.sleep(random.uniform(0.5, longest_s))
        kind = kinds[number % len(kinds)]
        if kind == "ray stop":
            hit = bool(own_processes("raylet"))
            stop = [sys.executable, "-m", "ray.scripts.scripts", "stop", "--force"]
            subprocess.run(stop, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        else:
            workers = own_processes("spawn_main", "ray::_Actor")
            targets = {"driver": [driver.pid], "process": workers[:1], "all of Ray": own_processes()}[kind]
            hit = bool(targets) and driver.poll() is None
            for pid in targets:
                kill(pid)
        counts[kind] += hit
        if kind != "process":
            driver.wait()  # after a stop of Ray it ends by itself
            time.sleep(2)
            for pid in own_processes():  # of Ray, which ends its processes bit by bit
                kill(pid)
    if driver is not None and driver.poll() is None:
        driver.wait()
    for _ in range(3):  # Ray itself may fail, such as where the computer was suspended
        if not start(folder / "in", *options, "-o", out).wait():
            break
    else:
        sys.exit("a run that nobody killed failed, three times")
    print(f"\n{options[0]}: killed {counts}; {verdict(out, expected, paths)}", flush=True)


def cluster(folder: Path, share: float) -> None:
    """Two nodes on this computer, of which one is lost."""
    os.environ.update(ENVIRONMENT)
    from ray.cluster_utils import Cluster

    paths = make_recordings(folder / "in", max(40, round(2000 * share)), 1.0)
    expected, out = folder / "whole", folder / "out"
    timed(lambda: start(folder / "in", "--jobs", 2, "-o", expected))
    two = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    other = two.add_node(num_cpus=1)
    two.wait_for_nodes()
    driver = start(folder / "in", "--ray", two.address, "-o", out)
    while not (out / "_manifest").exists() or len(list((out / "_manifest").glob("part-*"))) < 4:
        if driver.poll() is not None:
            sys.exit("the run ended before a node was lost")
        time.sleep(0.1)
    n_before = len(list((out / "_manifest").glob("part-*")))
    two.remove_node(other, allow_graceful=False)
    code = driver.wait()
    two.shutdown()
    print(f"\na node lost after {n_before} shards; exit code {code}; {verdict(out, expected, paths)}")


def verdict(out: Path, expected: Path, paths: list[str]) -> str:
    """Say whether a folder has the results of an undisturbed run."""
    found, whole = (
        sorted(pq.read_table(each).to_pylist(), key=lambda row: str(row["path"])) for each in (out, expected)
    )
    lost = len(set(paths) - {row["path"] for row in found})
    same = sum(one == other for one, other in zip(found, whole, strict=False))
    return (
        f"{len(paths)} recordings: {lost} lost, {len(found) - len(paths)} twice, {same} with the same results"
    )


def all_processes() -> list[int]:
    """Return all processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def own_processes(*marks: str) -> list[int]:
    """Return the processes that were started by this one, and by those, however, with one of some marks."""
    found = []
    for pid in all_processes():
        try:
            is_own = TOKEN.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is somebody else's
            continue
        if is_own and (not marks or any(mark in command_of(pid) for mark in marks)):
            found.append(pid)
    return sorted(set(found) - {os.getpid()})


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def memory_of(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return 0.0


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


PARTS: dict[str, Callable[[Path, float], Any]] = {
    "efficiency": efficiency,
    "ray-efficiency": partial(efficiency, options=["--ray", "local", "--actors", 2]),
    "fixed": fixed,
    "memory": memory,
    "planning": planning,
    "kills": kills,
    "ray-kills": ray_kills,
    "cluster": cluster,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--share", type=float, default=1.0, help="of the recordings, rows and kills")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    print(f"nano, {os.cpu_count()} cores", flush=True)
    for name in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder), arguments.share)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
