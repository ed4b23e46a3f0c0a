"""The page of ``detect --report``, opened from disk in a browser."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browser import chromium
from conftest import Run, tone

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.labels import Label
from zsaudio.output.overview import ScoreCurves, label_colour, mel_spectrogram
from zsaudio.output.report import report_page
from zsaudio.output.scene import embedded_audio, scene
from zsaudio.results import ClipEvents, Event, FrameScores

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def night(tmp_path: Path) -> Path:
    path = tmp_path / "night.wav"
    soundfile.write(path, np.concatenate([np.zeros(16_000), tone(440, 1.5), np.zeros(16_000)]), 16_000)
    return path


def page_of(path: Path, events: tuple[Event, ...], names: list[str]) -> str:
    clip = ClipEvents(str(path), 3.5, 16_000, events)
    curves = ScoreCurves()
    for number in range(7):
        scores = np.full(len(names), number / 10, np.float32)
        curves.add(FrameScores(number / 2, (number + 1) / 2, scores, scores > 0.5))
    audio, _ = embedded_audio(path, clip)
    labels = [Label(name) for name in names]
    shown = scene(
        clip,
        curves,
        mel_spectrogram(path, None, 3.5),
        labels,
        DetectionOptions(),
        [("model", "x")],
        audio=audio,
    )
    return report_page([shown], clip.clip)


def test_the_command_writes_a_page_of_all_recordings(zs: Run, night: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "other.wav", tone(1000, 2.0), 16_000)
    (tmp_path / "broken.wav").write_text("no audio")
    ran = zs("detect", "night.wav", "broken.wav", "other.wav", "-l", "440, 1000", "--report", "out/page.html")
    assert ran.code == 1
    page = (tmp_path / "out/page.html").read_text()
    found = re.search(r'id="scenes">(.*?)</script>', page, re.DOTALL)
    assert found
    scenes = json.loads(found[1])
    assert [each["title"] for each in scenes] == ["night.wav", "other.wav"]
    assert [[event[:3] for event in each["events"]] for each in scenes] == [[[1.0, 2.5, 0]], [[0.0, 2.0, 1]]]
    assert ["threshold", "0.5"] in scenes[0]["settings"]
    ((start, end, url),) = scenes[0]["audio"]
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert (start, rate, len(samples)) == (0.0, 48_000, 168_000)
    assert end == pytest.approx(3.5)
    power = np.square(samples).reshape(7, -1).mean(axis=1)
    assert (power > 0.05).tolist() == [False, False, True, True, True, False, False]


def test_the_page_never_replaces_a_recording(zs: Run, night: Path) -> None:
    before = night.read_bytes()
    ran = zs("detect", "night.wav", "-l", "440", "--report", "night.wav")
    assert (ran.code, ran.err) == (
        2,
        ["zsaudio: night.wav: is one of the inputs; choose another name for --report"],
    )
    assert night.read_bytes() == before


def test_of_a_long_recording_the_sound_around_events_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    rate = 16_000
    seconds = np.arange(200 * rate) // rate
    soundfile.write(path, np.where(seconds == 150, 0.5, 0.0) * tone(440, 200.0), rate)
    events = (Event(10.0, 11.0, "a", 0.9), Event(11.5, 12.0, "a", 0.9), Event(150.0, 151.0, "a", 0.9))
    audio, note = embedded_audio(path, ClipEvents(str(path), 200.0, rate, events))
    assert [segment[:2] for segment in audio] == [[9.0, 13.0], [149.0, 152.0]]
    assert note == "Sound is included around the events."
    samples, opus_rate = soundfile.read(io.BytesIO(base64.b64decode(audio[1][2].partition(",")[2])))
    assert (np.square(samples).reshape(3, opus_rate).mean(axis=1) > 0.01).tolist() == [False, True, False]


def test_events_are_seen_and_heard_without_a_request(browser: Any, night: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text(
        page_of(night, (Event(1.0, 2.5, "dog", 0.9), Event(2.0, 3.0, "cat", 0.6)), ["cat", "dog"])
    )
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(target.as_uri())
    rows = page.locator("tbody tr")
    assert rows.count() == 2
    assert re.sub(r"\s+", " ", rows.first.inner_text()).strip() == "▶ 0:01.00 0:02.50 1.50 s dog 0.90"
    dots = page.locator(".zs-dot").evaluate_all("all => all.map(dot => dot.style.getPropertyValue('--c'))")
    assert dots == [label_colour(1), label_colour(0)]
    page.evaluate(
        "HTMLMediaElement.prototype.play = function () { window.played = this; return Promise.resolve(); }"
    )
    rows.first.click()
    for _ in range(200):  # the page's policy forbids the evaluation that wait_for_function takes
        if page.evaluate("window.played?.currentTime > 0"):
            break
        page.wait_for_timeout(50)
    assert page.evaluate("window.played.currentTime") == pytest.approx(0.5, abs=0.1)  # half a second before
    assert "zs-chosen" in rows.first.get_attribute("class")
    assert [url for url in requests if not url.startswith("data:")] == [target.as_uri()]


def test_hostile_names_stay_text(browser: Any, night: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text(page_of(night, (Event(1.0, 2.5, HOSTILE, 0.9),), [HOSTILE]))
    assert "<img" not in target.read_text()
    page = browser.new_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.goto(target.as_uri())
    assert HOSTILE in page.locator("tbody tr").inner_text()
    assert page.locator("img").count() == 0
    assert dialogs == []
