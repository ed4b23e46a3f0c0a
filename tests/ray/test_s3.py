"""Recordings and results on S3, by a server that moto starts in this process."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import Run as Cli
from conftest import ToneModel, tone
from fake_pool import FakePool
from tone_encoder import ToneEncoder

from zsaudio.archive import archive
from zsaudio.errors import OptionError, OutputError
from zsaudio.labels import LabelSet
from zsaudio.ray.inputs import read_inputs
from zsaudio.ray.manifest import Manifest
from zsaudio.ray.planning import plan_units
from zsaudio.ray.runs import Run
from zsaudio.ray.shards import Maker
from zsaudio.ray.work import Work
from zsaudio.storage.folder import Folder
from zsaudio.storage.locations import _open_folder

pytest.importorskip("pyarrow")
moto = pytest.importorskip("moto.server")
boto3 = pytest.importorskip("boto3")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    _open_folder.cache_clear()  # connections to the server of another test
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="sounds")
    yield client
    server.stop()


def test_from_and_to_s3(s3: Any, tmp_path: Path) -> None:
    names = ["in/a.wav", "in/deep/b c.wav", "in/notes.txt"]
    for name in names[:2]:
        soundfile.write(tmp_path / "x.wav", np.concatenate([np.zeros(4000), tone(440, 0.5)]), 16_000)
        s3.put_object(Bucket="sounds", Key=name, Body=(tmp_path / "x.wav").read_bytes())
    s3.put_object(Bucket="sounds", Key=names[2], Body=b"s3://sounds/in/deep/b c.wav\ns3://sounds/no.wav\n")
    assert _run(["s3://sounds/in"]) == {"s3://sounds/in/a.wav": None, "s3://sounds/in/deep/b%20c.wav": None}
    assert _run(["s3://sounds/in"]) == {}
    assert _run(["s3://sounds/in/notes.txt"]) == {
        "s3://sounds/in/deep/b c.wav": None,
        "s3://sounds/no.wav": "s3://sounds/no.wav: no such file",
    }
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="sounds", Prefix="out/")["Contents"]]
    assert sorted(key.split("/")[1][:5] for key in keys if key.endswith((".parquet", ".json"))) == [
        "_mani",
        "_mani",
        "_mani",
        "part-",
        "part-",
    ]
    assert not [key for key in keys if "_staging" in key]


def _run(inputs: list[str]) -> dict[str, str | None]:
    schema, tables = read_inputs(inputs)
    manifest = Manifest(Folder("s3://sounds/out"), {})
    work = Work("detect", LabelSet.of("440"), {"model": ToneModel()}, {"options": None, "channel": None})
    pool = FakePool(1, partial(Maker, work, "s3://sounds/out", manifest.run), lambda *_: False)
    kept = [[each.name, str(each.type)] for each in schema]
    shards = list(Run(pool, plan_units(tables, manifest.done), manifest, kept).work())
    assert sum(each.n_items for each in shards) == sum(len(each.inputs) - len(each.failed) for each in shards)
    return {each[0]: staged.failed.get(each[0]) for staged in shards for each in staged.inputs}


def test_errors_are_lines(s3: Any) -> None:
    with pytest.raises(OptionError, match="s3://sounds/empty: cannot be read"):
        read_inputs(["s3://sounds/empty"])
    with pytest.raises(OutputError, match="s3://no-bucket/out: cannot be used"):
        Folder("s3://no-bucket/out").write("a", b"b")


def test_an_archive_of_recordings_on_s3(s3: Any, tmp_path: Path, zs: Cli, monkeypatch: Any) -> None:
    monkeypatch.setattr(archive, "load_model", lambda *_, **__: ToneEncoder())
    for name in ("in/a.wav", "in/deep/b c.wav"):
        soundfile.write(tmp_path / "x.wav", np.concatenate([np.zeros(8000), tone(400, 1.5)]), 16_000)
        s3.put_object(Bucket="sounds", Key=name, Body=(tmp_path / "x.wav").read_bytes())
    (tmp_path / "list.csv").write_text("site,path\n1,s3://sounds/in/a.wav\n2,x.wav\n3,s3://sounds/no.wav\n")
    index = "index", "s3://sounds/in", "-a", "s3://sounds/A"
    assert zs(*index).err[0].startswith("zsaudio: 2 added (0:00:04 of sound); 2 recordings")
    assert zs(*index).err[0].startswith("zsaudio: 2 unchanged")
    listed = zs("index", "list.csv", "-a", "s3://sounds/A")
    assert listed.code == 1
    assert listed.err[0] == "zsaudio: s3://sounds/no.wav: no such file"
    assert listed.err[1].startswith(
        "zsaudio: 1 added, 1 unchanged, 1 failed (0:00:02 of sound); 3 recordings"
    )
    found = zs("search", "s3://sounds/A", "400 Hz", "--min-score", 0.5, "-f", "csv", "--clips", "cuts")
    assert sorted(row["file"] for row in found.rows()) == [
        "s3://sounds/in/a.wav",
        "s3://sounds/in/deep/b%20c.wav",
        "x.wav",
    ]
    assert len(list((tmp_path / "cuts").rglob("*.flac"))) == 3
    soundfile.write(tmp_path / "x.wav", tone(400, 1.0), 16_000)
    s3.put_object(Bucket="sounds", Key="in/a.wav", Body=(tmp_path / "x.wav").read_bytes())
    s3.delete_object(Bucket="sounds", Key="in/deep/b c.wav")
    assert zs(*index, "--prune").err[0].startswith("zsaudio: 1 updated, 1 removed (0:00:01 of sound); 2 rec")
