"""What Gradio's own client gets from a running page."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tone_encoder import ToneEncoder

pytest.importorskip("gradio")

from gradio_client import Client, handle_file
from serving import serving

from zsaudio.app.desk import Settings
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.recognizer import Recognizer

MODEL = ToneEncoder()
SETTINGS = Settings("440, 590", lambda labels: Recognizer(labels, MODEL), max_hours=0.1)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving(SETTINGS) as address:
        yield Client(address, verbose=False)


def test_events_are_those_of_detect(client: Client, night: Path) -> None:
    events = client.predict(handle_file(str(night)), "450, 3000", 0.6, 0.0, api_name="/detect")
    expected = Recognizer(["450", "3000"], MODEL).detect(night, options=DetectionOptions(threshold=0.6))
    assert [(e["onset"], e["offset"], e["label"], e["score"]) for e in events] == [
        (e.onset, e.offset, e.label, e.score) for e in expected
    ]
    assert len(events) == 1


def test_without_labels_those_of_the_page_are_scored(client: Client, night: Path) -> None:
    tags = client.predict(handle_file(str(night)), api_name="/tag")
    assert [(tag["label"], tag["score"]) for tag in tags] == [
        (tag.label, tag.score) for tag in Recognizer(["440", "590"], MODEL).tag(night)
    ]


@pytest.mark.parametrize("name", ["/detect", "/tag"])
def test_what_is_wrong_is_said(client: Client, night: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.wav").write_text("no audio")
    soundfile.write(tmp_path / "long.flac", np.zeros(7 * 60 * 4000), 4000)
    for path, labels, message in (
        (tmp_path / "broken.wav", "440", "^broken.wav: not a recording"),
        (tmp_path / "long.flac", "440", "^long.flac: more than 0.1 hours"),
        (night, "@nowhere", "nowhere"),
        (night, ", ".join(map(str, range(700))), "700 labels are too many"),
    ):
        with pytest.raises(Exception, match=message):
            client.predict(handle_file(str(path)), labels, api_name=name)


@pytest.mark.parametrize("file", [{"path": "/etc/passwd"}, {"path": "http://localhost/x.wav"}, 7, None])
def test_only_uploads_are_read(client: Client, file: Any) -> None:
    with pytest.raises(Exception, match=r"403|handle_file"):
        client.predict(file, "440", api_name="/detect")


def test_a_login_goes_into_a_header(night: Path) -> None:
    with serving(SETTINGS, login="me:secret") as address:
        with pytest.raises(Exception, match="credentials were not provided"):
            Client(address, verbose=False)
        login = "Basic " + base64.b64encode(b"me:secret").decode()
        client = Client(address, headers={"Authorization": login}, verbose=False)
        assert client.predict(handle_file(str(night)), api_name="/tag")[0]["label"] == "440"
