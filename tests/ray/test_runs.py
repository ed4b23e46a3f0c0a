"""Runs: whatever dies when, every recording is in one shard, once, as the library hears it."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import ToneModel, tone
from fake_pool import Dies, FakePool

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import ModelError
from zsaudio.labels import LabelSet
from zsaudio.ray.inputs import read_inputs
from zsaudio.ray.manifest import Manifest
from zsaudio.ray.planning import plan_units
from zsaudio.ray.pools import Died
from zsaudio.ray.runs import Run, set_aside
from zsaudio.ray.shards import Maker
from zsaudio.ray.work import Work
from zsaudio.recognizer import Recognizer
from zsaudio.storage.folder import Folder

pq = pytest.importorskip("pyarrow.parquet")
WORK = Work("detect", LabelSet.of("440,1000"), {"model": ToneModel()}, {"options": None, "channel": None})


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"in/{number:02}.wav" for number in range(20)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        soundfile.write(path, np.concatenate([np.zeros(800 * number), tone(440, 0.5)]), 16_000)
    return [*map(str, paths), str(tmp_path / "in/no.wav")]


def run(
    out: Path,
    inputs: list[str],
    dies: Dies = lambda *_: False,
    *,
    work: Work = WORK,
    seed: int = 0,
    **plan: Any,
) -> Iterator[Any]:
    """Do the work as far as the caller goes on asking."""
    schema, tables = read_inputs(inputs)
    manifest = Manifest(Folder(str(out)), {"of": "a test"})
    pool = FakePool(2, partial(Maker, work, str(out), manifest.run), dies, seed)
    units = plan_units(tables, manifest.done, **{"rows": 4, "part_s": None} | plan)
    yield from Run(pool, units, manifest, [[each.name, str(each.type)] for each in schema]).work()


def rows(out: Path) -> list[dict[str, Any]]:
    return sorted(pq.read_table(out).to_pylist(), key=lambda row: (row["path"], row["onset"] or 0.0))


def expected(paths: list[str]) -> list[tuple[Any, ...]]:
    found = []
    for path, clip in zip(paths, Recognizer("440,1000", ToneModel()).detect_batch(paths), strict=True):
        found += [(path, each.label, each.onset, each.offset) for each in clip.events]
    return found


def events(out: Path) -> list[tuple[Any, ...]]:
    return [(row["path"], row["label"], row["onset"], row["offset"]) for row in rows(out) if row["label"]]


def test_all_is_done_once_and_a_rerun_does_nothing(recordings: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    shards = list(run(out, [*recordings, recordings[3]]))
    assert sum(len(each.inputs) for each in shards) == 21
    assert events(out) == expected(recordings[:-1])
    (failed,) = [row for row in rows(out) if row["error"]]
    assert failed["error"] == f"{recordings[-1]}: no such file"
    assert not (out / "_staging").exists()
    assert list(run(out, recordings)) == []


@pytest.mark.parametrize("seed", range(5))
def test_whatever_dies_when_nothing_is_lost_or_done_twice(
    recordings: list[str], tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes die one time in five, and the driver between any two steps of a commit."""
    chance = random.Random(seed)
    out = tmp_path / "out"

    class Killed(BaseException):
        pass

    def may_kill(step: Any) -> Any:
        def done(*arguments: Any) -> Any:
            if chance.random() < 0.1:
                raise Killed
            answer = step(*arguments)
            if chance.random() < 0.1:
                raise Killed
            return answer

        return done

    for name in ("move", "write", "remove", "remove_folder"):
        monkeypatch.setattr(Folder, name, may_kill(getattr(Folder, name)))
    n_kills = 0
    for attempt in range(100):
        try:
            for _ in run(out, recordings, lambda *_: chance.random() < 0.2, seed=attempt):
                pass
            break
        except Killed:
            n_kills += 1
    monkeypatch.undo()
    list(run(out, recordings))
    assert n_kills > 1
    assert events(out) == expected(recordings[:-1])
    assert {row["path"] for row in rows(out)} == set(recordings)
    assert not [row for row in rows(out) if row["error"] and row["path"] != recordings[-1]]


def test_what_ends_its_process_is_set_aside(recordings: list[str], tmp_path: Path) -> None:
    out, bad = tmp_path / "out", recordings[9]

    def dies(method: str, arguments: tuple[Any, ...]) -> bool:
        return method == "shard" and bad in arguments[1].column("path").to_pylist()

    failed: dict[str, str] = {}
    for staged in run(out, recordings, dies, rows=8):
        failed |= staged.failed
    assert failed == {bad: set_aside(Died("killed")), recordings[-1]: f"{recordings[-1]}: no such file"}
    assert events(out) == expected([path for path in recordings[:-1] if path != bad])


def test_processes_that_never_load_end_the_run(recordings: list[str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"processes die while they load the models \(killed\)"):
        list(run(tmp_path / "out", recordings, lambda method, _: method == "load"))


@pytest.fixture
def long_recording(tmp_path: Path) -> str:
    path = tmp_path / "long.wav"
    sounds = [np.zeros(16_000 * 7), tone(440, 2.3), np.zeros(16_000 * 11), tone(1000, 3.1)]
    soundfile.write(path, np.concatenate(sounds * 16), 16_000)  # 374 s
    return str(path)


@pytest.mark.parametrize("fate", ["fine", "a part dies", "a part cannot be read"])
def test_a_long_recording_is_shared(
    long_recording: str, recordings: list[str], tmp_path: Path, fate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zsaudio.ray.planning._LEAST_PART_BYTES", 2**20)
    if fate == "a part cannot be read":
        monkeypatch.setattr(Maker, "part", lambda *_: "damaged")
    asked = []

    def dies(method: str, arguments: tuple[Any, ...]) -> bool:
        asked.append(method)
        return fate == "a part dies" and method == "part" and arguments[2].number == 1

    out = tmp_path / "out"
    work = Work(
        WORK.kind, WORK.labels, WORK.recognizer, {"options": DetectionOptions(smooth_s=1), "channel": None}
    )
    shards = list(run(out, [recordings[0], long_recording], dies, work=work, part_s=60.0))
    if fate == "fine":
        assert asked.count("part") == 6
    (shared,) = [each for each in shards if each.inputs[0][0] == long_recording]
    if fate == "a part dies":
        assert shared.failed == {long_recording: set_aside(Died("killed"))}
        return
    assert asked.count("joined_shard") == (fate == "fine")
    whole = Recognizer("440,1000", ToneModel()).detect(long_recording, options=DetectionOptions(smooth_s=1))
    assert [row[1:] for row in events(out) if row[0] == long_recording] == [
        (each.label, each.onset, each.offset) for each in whole
    ]
    assert shared.n_items == len(whole) == 32
