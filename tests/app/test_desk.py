from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import tone
from tone_encoder import ToneEncoder

pytest.importorskip("gradio")

from zsaudio.app.desk import (
    MOST_DESKS,
    Desks,
    Recording,
    Settings,
    in_folder,
    parse_labels,
    recordings_in,
    uploaded,
)
from zsaudio.errors import AudioError, LabelError
from zsaudio.recognizer import Recognizer

SETTINGS = Settings("440", lambda labels: Recognizer(labels, ToneEncoder()))


def test_only_recordings_in_the_folder_are_opened(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    for name in ("in/a.wav", "in/deep/b.flac", "in/notes.txt", "outside.wav"):
        (tmp_path / name).touch()
    (tmp_path / "in/link.wav").symlink_to(tmp_path / "outside.wav")
    folder = tmp_path / "in"
    assert recordings_in(folder) == ["a.wav", "link.wav", "deep/b.flac"]
    assert in_folder(folder, ["deep/b.flac"]) == [str((folder / "deep/b.flac").resolve())]
    for name in ("../outside.wav", str(tmp_path / "outside.wav"), "link.wav", "none.wav", "deep"):
        with pytest.raises(AudioError, match="is not in the folder"):
            in_folder(folder, [name])
    with pytest.raises(AudioError, match="was not uploaded"):
        uploaded([str(tmp_path / "outside.wav")], str(folder))


@pytest.mark.parametrize("text", ["", "a, " * 700, "x" * 30_000, "@/etc/passwd"])
def test_labels_that_cannot_be_used(text: str) -> None:
    with pytest.raises(LabelError):
        parse_labels(text)


def test_labels_may_stand_on_lines() -> None:
    assert parse_labels("dog\ncat, bird\n").names == ("dog", "cat", "bird")


def test_desks_are_apart_and_not_too_many() -> None:
    desks = Desks(SETTINGS)
    first, second = desks.of("a"), desks.of("b")
    assert first.key != second.key
    assert desks.get(first.key) is first
    assert desks.of("a") is first
    for number in range(MOST_DESKS - 1):
        desks.of(str(number))
    assert desks.get(second.key) is None
    assert desks.get(first.key) is first
    desks.close("a")
    assert desks.get(first.key) is None


def test_a_desk_shows_what_detect_finds(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.concatenate([np.zeros(16_000), tone(440, 1.5), np.zeros(16_000)]), 16_000)
    desk = Desks(SETTINGS).of("page")
    desk.recordings = [Recording(str(path), "x.wav")]
    recognizer = desk.choose_labels("440, 1000")
    desk.look(desk.recordings[0])
    assert desk.scene(0)["note"] == "The models are listening…"
    desk.listen(desk.recordings[0])
    scene = desk.scene(0)
    assert [event[:3] for event in scene["events"]] == [[1.0, 2.5, 0]]
    found = desk.find(desk.recordings[0])
    assert found is not None and list(found.events) == recognizer.detect(path)
