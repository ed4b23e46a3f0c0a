"""The examples run, and nano hears in their recordings what is in them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zsaudio import LabelSet, Recognizer

EXAMPLES = Path(__file__).parents[1] / "examples"
ANSWERS = {
    "trumpet.ogg": {"trumpet"},
    "piano.ogg": {"piano"},
    "siren.mp3": {"siren"},
    "smoke_alarm.wav": {"smoke alarm"},
    "speech.flac": {"speech"},
    "speech_and_smoke_alarm.flac": {"speech", "smoke alarm"},
}


def test_every_recording_has_an_answer() -> None:
    assert {path.name for path in (EXAMPLES / "audio").iterdir()} == set(ANSWERS)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(LabelSet.from_file(EXAMPLES / "labels.txt"))


@pytest.mark.parametrize("name", ANSWERS)
def test_the_best_tags_are_what_is_heard(recognizer: Recognizer, name: str) -> None:
    tags = recognizer.tag(EXAMPLES / "audio" / name)
    heard = ANSWERS[name]
    assert {tag.label for tag in tags[: len(heard)]} == heard
    assert tags[len(heard) - 1].score > 1.5 * tags[len(heard)].score
    assert tags[len(heard) - 1].score > 0.5


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("tag_files.py", "piano.ogg"),
        ("own_labels.py", "somebody talks"),
        ("keywords.py", "keyword: neighbours"),
        ("notebook.py", "smoke alarm: 3.22 s at 44100 Hz"),
    ],
)
def test_scripts_run(script: str, said: str) -> None:
    if script == "notebook.py":
        pytest.importorskip("pandas")
        pytest.importorskip("matplotlib")
    ran = subprocess.run([sys.executable, EXAMPLES / script], capture_output=True, text=True, check=True)
    assert said in ran.stdout
    assert ran.stderr == ""


def test_the_microphone_script_without_portaudio_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    path = os.pathsep.join([str(tmp_path), str(EXAMPLES.parent)])
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "microphone.py", "siren"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("microphone.py: sounddevice finds no PortAudio library: install ")
    assert ran.stderr.count("\n") == 1
