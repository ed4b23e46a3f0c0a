"""On a cluster of this computer: datasets, actors, the command line and the example."""

import runpy
import sys
from pathlib import Path

import pytest
from conftest import Run
from fragile_maker import FragileMaker, check, check_limit

from zsaudio.errors import MissingExtraError, ModelError, OptionError
from zsaudio.ray import detect_dataset, embed_dataset, tag_dataset
from zsaudio.ray.pools import RayPool
from zsaudio.recognizer import Recognizer

AUDIO = Path(__file__).parents[2] / "examples/audio"
PATHS = [str(path) for path in sorted(AUDIO.iterdir()) if path.suffix in (".wav", ".flac", ".ogg", ".mp3")]
LABELS = ["speech", "smoke alarm", "siren", "piano"]


def test_tags_of_two_actors_are_those_of_the_library(local_ray: None) -> None:
    import ray.data

    rows = [{"path": path, "site": number} for number, path in enumerate([*PATHS, "no.wav"])]
    ds = tag_dataset(
        ray.data.from_items(rows, override_num_blocks=4), LABELS, actors=2, num_cpus=0.5, rows=2, top_k=2
    )
    found = {row["path"]: row for row in ds.take_all()}
    assert len(found) == len(rows)
    assert found["no.wav"]["error"] == "no.wav: no such file"
    for number, (path, clip) in enumerate(
        zip(PATHS, Recognizer(LABELS).tag_batch(PATHS, top_k=2), strict=True)
    ):
        assert [tag["label"] for tag in found[path]["tags"]] == [tag.label for tag in clip.tags]
        assert [tag["score"] for tag in found[path]["tags"]] == pytest.approx([t.score for t in clip.tags])
        assert (found[path]["site"], found[path]["error"]) == (number, None)


def test_events_and_vectors(local_ray: None) -> None:
    import ray.data

    ds = ray.data.from_items([{"path": PATHS[0], "bytes": Path(PATHS[0]).read_bytes()}])
    events = detect_dataset(ds, LABELS, num_cpus=0.5).take_all()
    expected = Recognizer(LABELS).detect(PATHS[0])
    assert [(row["onset"], row["label"]) for row in events] == [(each.onset, each.label) for each in expected]
    vectors = embed_dataset(ds, hop_s=1.0, num_cpus=0.5).take_all()
    assert len(vectors) == len(Recognizer(LABELS).embed(PATHS[0], hop_s=1.0).vectors)
    with pytest.raises(OptionError, match="a column is called 'score'"):
        detect_dataset(ray.data.from_items([{"path": "a", "score": 1}]))


def test_without_ray_the_extra_is_named(without_ray: None) -> None:
    with pytest.raises(MissingExtraError, match="running on a cluster needs Ray: pip install "):
        tag_dataset(object())


def test_actors_of_ray(local_ray: None) -> None:
    import fragile_maker
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(fragile_maker)
    pool = RayPool(2, FragileMaker, num_cpus=0.5)
    try:
        check(pool, "actor died")
        check_limit(pool)
    finally:
        pool.close()


def test_a_cluster_that_is_lost_is_noticed(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    pool = RayPool(1, FragileMaker, num_cpus=0.5)
    try:
        pool.start(0)
        pool.submit(0, "hang")
        assert pool.wait(0.1) == []
        monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": False}])
        with pytest.raises(ModelError, match="Ray has no computer left; start it again"):
            pool.wait(0.1)
    finally:
        pool.close()


def test_the_command_line_finds_what_it_finds_alone(local_ray: None, zs: Run, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    ran = zs(
        "tag",
        AUDIO,
        "--labels",
        "siren, speech, piano",
        "-k",
        1,
        "--ray",
        "local",
        "--actors",
        2,
        "-o",
        "out",
    )
    assert ran.code == 0
    assert ran.err[-1].startswith("zsaudio: 6 tags in 6 recordings, written to out, ")
    rows = pq.read_table(tmp_path / "out").to_pylist()
    best = {Path(row["path"]).name: row["tags"][0]["label"] for row in rows}
    assert {name: best[name] for name in ("siren.mp3", "speech.flac", "piano.ogg")} == {
        "siren.mp3": "siren",
        "speech.flac": "speech",
        "piano.ogg": "piano",
    }


def test_the_example(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ray_tagging.py"])
    runpy.run_path(str(AUDIO.parent / "ray_tagging.py"), run_name="__main__")
    lines = sorted(capsys.readouterr().out.splitlines())
    assert [line.partition(" ")[0] for line in lines] == [f"{path.name}:" for path in sorted(AUDIO.iterdir())]
    assert lines[1].startswith("siren.mp3: siren 0.9")
