"""What ``zsaudio train`` and ``zsaudio adapt`` write is a model for every command, these two included."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import tone
from safetensors.numpy import load_file, save_file
from tone_encoder import ToneCommand

FREQUENCIES = ("300", "700", "1500", "3400")


@pytest.mark.parametrize("kind", ["trained", "adapted"])
class TestFolder(ToneCommand):
    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(0)
        for name in FREQUENCIES:
            (tmp_path / "data" / name).mkdir(parents=True)
            for i in range(3):
                clip = tone(float(name) * rng.uniform(0.98, 1.02), 1.0)
                soundfile.write(tmp_path / "data" / name / f"{i}.wav", clip, 16_000)
        return tmp_path / "data"

    @pytest.fixture
    def folder(self, kind: str, data: Path, tmp_path: Path) -> Path:
        output = tmp_path / kind
        command = ["train", data, "-o", output, "--semantics", "names"]
        if kind == "adapted":
            command = ["adapt", "nano", data, "-o", output]
        code, _, err = self.run(*command)
        assert code == 0, err
        return output

    @pytest.fixture
    def recording(self, write_wav: Callable[..., Path]) -> Path:
        return write_wav("recording.wav", np.concatenate([tone(120, 2.0), tone(1500, 2.0), tone(120, 2.0)]))

    def test_tag(self, folder: Path, recording: Path) -> None:
        code, out, err = self.run("tag", recording, "-l", ", ".join(FREQUENCIES), "-m", folder, "-f", "csv")
        assert code == 0, err
        assert next(csv.DictReader(io.StringIO(out)))["label"] == "1500"

    def test_detect(self, folder: Path, recording: Path) -> None:
        code, out, err = self.run(
            "detect", recording, "-l", ", ".join(FREQUENCIES), "-m", folder, "-f", "csv"
        )
        assert code == 0, err
        events = list(csv.DictReader(io.StringIO(out)))
        assert {event["label"] for event in events} == {"1500"}
        assert float(events[0]["onset"]) == pytest.approx(2.0, abs=1.1)
        assert float(events[-1]["offset"]) == pytest.approx(4.0, abs=1.1)

    def test_listen(self, folder: Path, recording: Path) -> None:
        code, out, err = self.run(
            "listen", "--simulate", recording, "-l", ", ".join(FREQUENCIES), "-m", folder, "--jsonl"
        )
        assert code == 0, err
        assert "1500" in {json.loads(line).get("label") for line in out.splitlines()}

    def test_evaluate(self, folder: Path, data: Path) -> None:
        code, out, err = self.run("evaluate", data, "-m", folder)
        assert code == 0, err
        rows = [line.split() for line in out.splitlines() if line.startswith(FREQUENCIES)]
        assert sorted(rows) == [[name, "3", "1.000", "1.000"] for name in sorted(FREQUENCIES)]

    def test_calibrate(self, folder: Path, write_wav: Callable[..., Path]) -> None:
        quiet = write_wav("background.wav", tone(120, 6.0))
        code, out, err = self.run("calibrate", folder, quiet, "-l", "700, 1500")
        assert code == 0, err
        assert out.count("threshold:") == 2

    @pytest.mark.parametrize("then", ["train", "adapt"])
    def test_train_and_adapt(
        self, folder: Path, data: Path, recording: Path, tmp_path: Path, then: str
    ) -> None:
        output = tmp_path / "second"
        command = ["train", data, "-m", folder, "-o", output, "--semantics", "names"]
        if then == "adapt":
            command = ["adapt", folder, data, "-o", output]
        code, _, err = self.run(*command)
        assert code == 0, err
        assert json.loads((output / "config.json").read_text())["base"] == str(folder)
        code, out, err = self.run("tag", recording, "-l", ", ".join(FREQUENCIES), "-m", output, "-f", "csv")
        assert code == 0, err
        assert next(csv.DictReader(io.StringIO(out)))["label"] == "1500"

    @pytest.mark.parametrize(
        "damage", ['{"model_type": "zsaudio-KIND"}', '{"model_type": "zsaudio-KIND", "base": 3}']
    )
    def test_a_damaged_config(self, kind: str, folder: Path, recording: Path, damage: str) -> None:
        (folder / "config.json").write_text(damage.replace("KIND", kind))
        code, _, err = self.run("tag", recording, "-l", "300", "-m", folder)
        assert code != 0 and f"{kind}: damaged, or written by another version of zsaudio" in err

    def test_a_changed_byte_of_the_weights(self, kind: str, folder: Path, recording: Path) -> None:
        content = bytearray((folder / "model.safetensors").read_bytes())
        content[-2] ^= 64
        (folder / "model.safetensors").write_bytes(content)
        code, _, err = self.run("tag", recording, "-l", "300", "-m", folder)
        assert code != 0 and f"{kind}/model.safetensors: damaged (its checksum" in err

    @pytest.mark.parametrize("value", [np.nan, np.inf, -1e30])
    def test_numbers_that_were_never_learned(
        self, kind: str, folder: Path, recording: Path, value: float
    ) -> None:
        (folder / "SHA256SUMS").unlink()  # as a folder of an earlier version
        arrays = load_file(folder / "model.safetensors")
        name = "mean" if kind == "trained" else "keys"
        arrays[name].flat[0] = value
        save_file(arrays, folder / "model.safetensors")
        code, out, err = self.run("tag", recording, "-l", "300", "-m", folder)
        assert (code != 0, out) == (True, "") and f"({name} is " in err

    def test_a_setting_that_was_never_learned(self, kind: str, folder: Path, recording: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        where, name = (config["seen"], "scale") if kind == "trained" else (config, "strength")
        where[name] = 1e300
        (folder / "config.json").write_text(json.dumps(config))
        code, _, err = self.run("tag", recording, "-l", "300", "-m", folder)
        assert code != 0 and f"({name} is 1e+300); make it again" in err
