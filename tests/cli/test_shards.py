"""``--jobs`` and ``--ray``: the results of plain ``tag`` and ``detect``, as Parquet files; errors."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, approx, tone

from zsaudio.models.registry import load_model
from zsaudio.recognizer import Recognizer
from zsaudio.storage.folder import Folder

pq = pytest.importorskip("pyarrow.parquet")
AUDIO = Path(__file__).parents[2] / "examples/audio"
LABELS = ["siren", "speech", "smoke alarm"]


def test_two_processes_that_were_killed_find_what_one_finds(zs: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/broken.wav").write_bytes(b"RIFF")
    inputs = [str(AUDIO), "in"]
    command = ["detect", *inputs, "--labels", ",".join(LABELS), "--jobs", "2", "-o", "out"]
    line = [sys.executable, "-m", "zsaudio", *command]
    killed = subprocess.Popen(line, cwd=tmp_path)
    until = time.monotonic() + 120
    while killed.poll() is None and not list(tmp_path.glob("out/_staging/*/*.parquet*")):
        assert time.monotonic() < until
        time.sleep(0.001)
    killed.kill()
    killed.wait()
    ran = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("zsaudio: ")
    rows = pq.read_table(tmp_path / "out").to_pylist()
    found = sorted((row for row in rows if row["label"]), key=lambda row: (row["path"], row["onset"]))
    paths = sorted(map(str, AUDIO.iterdir()))
    expected = [
        (clip.clip, each.onset, each.offset, each.label, approx(each.score, abs=1e-6))
        for clip in Recognizer(LABELS, load_model("nano")).detect_batch(paths)
        for each in clip.events
    ]
    names = ("path", "onset", "offset", "label", "score")
    assert [tuple(row[name] for name in names) for row in found] == expected
    assert [row["path"] for row in rows if row["error"]] == [str(tmp_path / "in/broken.wav")]
    file = next((tmp_path / "out").glob("part-*.parquet"))
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"
    again = zs(*command)
    assert (again.code, again.err[:2]) == (
        1,
        [
            "zsaudio: 7 recordings done before",
            "zsaudio: 1 recording failed before, as the column error says",
        ],
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--jobs", "2"], "--jobs and --ray write Parquet files: name their folder with --output"),
        (
            ["--jobs", "2", "--ray", "local"],
            "--jobs uses this computer and --ray a cluster: give one of them",
        ),
        (["--actors", "2"], "--actors and --gpus are about a cluster: give --ray, too"),
        (["site.csv"], "site.csv: a list of recordings needs --jobs N or --ray ADDRESS, too"),
        (["--unit-timeout", "9"], "--unit-timeout is about several processes: give --jobs or --ray, too"),
        (["--jobs", "2", "-o", "out", "-f", "csv"], "--format does not go with --jobs or --ray, which write"),
        (["--jobs", "2", "-o", "nofs://a/b"], "nofs://a/b: cannot be opened ("),
        (["--ray", "127.0.0.1:9", "-o", "out"], "--ray 127.0.0.1:9: cannot be reached ("),
        (["--jobs", "2", "-o", "in"], "in: holds other files (a.wav); name an empty folder"),
        (["site.csv", "--jobs", "2", "-o", "out"], "site.csv: has the columns path string, site int64, and "),
        (["score.csv", "--jobs", "2", "-o", "out"], "a column is called 'error', as one of the results is: "),
    ],
)
def test_wrong_usage_is_one_line(
    zs: Run, write_wav: Any, tmp_path: Path, arguments: list[str], said: str
) -> None:
    write_wav("in/a.wav", tone(440, 1))
    (tmp_path / "site.csv").write_text("path,site\nin/a.wav,3\n")
    (tmp_path / "score.csv").write_text("path,error\nin/a.wav,3\n")
    inputs = [] if arguments[0] == "score.csv" else ["in/a.wav"]
    ran = zs("tag", *inputs, *arguments, "--labels", "440")
    assert (ran.code, len(ran.err)) == (2, 1)
    assert said in ran.err[0]


def test_without_ray_the_extra_is_named(zs: Run, write_wav: Any, without_ray: None) -> None:
    ran = zs("tag", write_wav("a.wav", tone(440, 1)), "--labels", "440", "--ray", "local", "-o", "out")
    assert (ran.code, len(ran.err)) == (2, 1)
    assert "running on a cluster needs Ray: pip install " in ran.err[0]


def test_a_file_system_without_credentials_is_one_line(
    zs: Run, write_wav: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def get_file_info(self, _: object) -> None:
            raise OSError("When listing objects: AWS Error ACCESS_DENIED during ListObjectsV2 operation")

    monkeypatch.setattr("zsaudio.storage.folder.open_location", lambda _: (Refusing(), "bucket/out"))
    assert not Folder("s3://bucket/out").is_local
    ran = zs(
        "tag", write_wav("a.wav", tone(440, 1)), "--labels", "440", "--jobs", "2", "-o", "s3://bucket/out"
    )
    assert ran.code == 1
    (line,) = ran.err
    assert line.startswith("zsaudio: s3://bucket/out: cannot be used (access denied: give credentials")


def test_a_missing_input_among_others(zs: Run) -> None:
    ran = zs("tag", "no/*.wav", "--labels", "440", "--jobs", "2", "-o", "out")
    assert (ran.code, ran.err) == (1, ["zsaudio: no/*.wav: no file matches"])
