"""The page of ``zsaudio app`` in a real browser: one server and one browser for all tests of this module."""

import io
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browser import chromium
from serving import serving
from tone_encoder import ToneEncoder

from zsaudio.labels import LabelSet
from zsaudio.recognizer import Recognizer

pytest.importorskip("gradio")
pytest.importorskip("filelock")

from zsaudio.app.desk import Settings
from zsaudio.archive.archive import Archive
from zsaudio.output.overview import label_colour

EXAMPLE = Path(__file__).parents[2] / "examples/audio/speech_and_smoke_alarm.flac"
WAIT_MS = 240_000  # the machine may be busy
HOSTILE = "<img src=x onerror=alert(1)>"


@dataclass
class Page:
    """A page, and what it did."""

    page: Any
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def upload(self, *paths: Path) -> None:
        self.page.set_input_files("#files input[type=file]", [str(path) for path in paths])

    def rows(self, n: int) -> list[str]:
        """Wait for a number of events; return their rows, without the column of buttons."""
        self.page.wait_for_function("n => document.querySelectorAll('#viewer tbody tr').length === n", arg=n)
        rows = self.page.locator("#viewer tbody tr").all_inner_texts()
        return [re.sub(r"\s+", " ", row.replace("\u25b6", "")).strip() for row in rows]

    def label(self, text: str) -> None:
        self.page.fill("#recordings-labels textarea", text)
        self.page.locator("#recordings-labels textarea").blur()


@pytest.fixture(scope="module")
def model() -> ToneEncoder:
    return ToneEncoder()


@pytest.fixture(scope="module")
def server(model: ToneEncoder, night: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose model hears tones."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ZSAUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setattr("zsaudio.archive.archive.load_model", lambda name, **how: model)
    archive = tmp_path_factory.mktemp("archive") / "season"
    for added in Archive.create(archive, model=model, root=night.parent).add([str(night)]):
        assert added.error is None

    def load(labels: LabelSet) -> Recognizer:
        return Recognizer(labels, model)

    settings = Settings("440, 590", load, folder=night.parent, archive=str(archive), max_hours=0.1)
    with serving(settings) as address:
        yield address
    patch.undo()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    samples, rate = soundfile.read(EXAMPLE)
    sound = tmp_path_factory.mktemp("microphone") / "sound.wav"
    soundfile.write(sound, samples, rate)
    with chromium(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}",
    ) as found:
        yield found


@pytest.fixture
def visit(browser: Any, server: str) -> Iterator[Page]:
    context = browser.new_context(permissions=["microphone"])
    context.set_default_timeout(WAIT_MS)
    visit = Page(context.new_page())
    visit.page.on("request", lambda request: visit.requests.append(request.url))
    visit.page.on("dialog", lambda dialog: visit.dialogs.append(dialog.message))
    visit.page.goto(server)
    visit.page.wait_for_selector("#files input[type=file]", state="attached")
    yield visit
    context.close()


def test_events_are_seen_heard_changed_and_saved(
    visit: Page, night: Path, server: str, model: ToneEncoder
) -> None:
    page = visit.page
    visit.upload(night)
    assert visit.rows(2) == ["0:01.00 0:02.50 1.50 s 440 1.00", "0:01.00 0:02.50 1.50 s 590 0.93"]
    dots = page.locator(".zs-dot").evaluate_all("all => all.map(dot => dot.style.getPropertyValue('--c'))")
    assert dots == [label_colour(0), label_colour(1)]

    # a click plays the event, from half a second before it
    page.evaluate("HTMLMediaElement.prototype.play = async function () { window.played = this.src; }")
    page.locator("#viewer tbody tr").first.click()
    page.wait_for_function("window.played")
    played = page.evaluate("window.played")
    assert played.endswith("/recordings/0/sound?from=0.500&to=3.000")
    with urllib.request.urlopen(played) as answer:
        samples, rate = soundfile.read(io.BytesIO(answer.read()))
    assert len(samples) / rate == pytest.approx(2.5)
    assert np.square(samples[rate:-rate]).mean() > 100 * np.square(samples[: rate // 3]).mean()

    # sliders and labels act without listening again
    n_encoded = model.n_encoded
    page.fill("#recordings-threshold input[type=number]", "0.95")
    page.locator("#recordings-threshold input[type=number]").press("Enter")
    assert visit.rows(1) == ["0:01.00 0:02.50 1.50 s 440 1.00"]
    visit.label("3000, 450, 460")
    assert [row.split()[4] for row in visit.rows(2)] == ["450", "460"]
    assert model.n_encoded == n_encoded

    with page.expect_download() as download:
        page.locator("#viewer .zs-downloads a", has_text="csv").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0] == "file,onset,offset,label,score"
    assert [line.split(",")[:4] for line in lines[1:]] == [
        ["night.wav", "1.000", "2.500", "450"],
        ["night.wav", "1.000", "2.500", "460"],
    ]
    elsewhere = [url for url in visit.requests if not url.startswith((server, "data:", "blob:"))]
    assert elsewhere == []


def test_zooming_asks_for_what_is_looked_at(visit: Page, night: Path) -> None:
    page = visit.page
    visit.upload(night)
    visit.rows(2)
    shown = "return [...document.querySelectorAll('#viewer canvas')].map(each => each.toDataURL())[0]"
    before = page.evaluate(f"() => {{ {shown} }}")
    with page.expect_request(lambda request: "from=" in request.url and "/sound" not in request.url) as asked:
        page.get_by_role("button", name="Zoom in").click()
    edges = {key: float(value) for key, value in re.findall(r"(from|to)=([\d.]+)", asked.value.url)}
    assert edges == {"from": 0.438, "to": 3.063}  # half of 3.5 s, with a quarter of that on either side
    page.get_by_role("button", name="Show the whole recording").click()
    page.wait_for_function(f"before => (() => {{ {shown} }})() === before", arg=before)


def test_a_built_in_set_takes_the_place_of_the_labels(visit: Page) -> None:
    visit.page.locator("#recordings-sets input").click()
    visit.page.get_by_role("option", name="@animals").click()
    visit.page.wait_for_function("document.querySelector('#recordings-labels textarea').value === '@animals'")


def test_a_script_that_comes_late(visit: Page, night: Path) -> None:
    def later(route: Any) -> None:
        time.sleep(2)
        route.continue_()

    visit.page.route("**/page.js", later)
    visit.page.reload()
    visit.page.wait_for_selector("#files input[type=file]", state="attached")
    visit.upload(night)
    assert len(visit.rows(2)) == 2


def test_dark_mode_is_readable(visit: Page, server: str, night: Path) -> None:
    visit.page.goto(f"{server}?__theme=dark")
    visit.page.wait_for_selector("#files input[type=file]", state="attached")
    visit.upload(night)
    visit.rows(2)
    for selector in ("#viewer h2", "#viewer tbody td", "#viewer .zs-downloads"):
        channels = [
            [int(part) for part in re.findall(r"\d+", colour)[:3]]
            for colour in visit.page.evaluate(
                """selector => {
                    const found = document.querySelector(selector);
                    let behind = found;
                    while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)")
                        behind = behind.parentElement;
                    return [getComputedStyle(found).color, getComputedStyle(behind).backgroundColor];
                }""",
                selector,
            )
        ]
        text, behind = (np.mean(each) for each in channels)
        assert text > 130, selector
        assert behind < 60, selector


def test_what_is_wrong_is_said_in_plain_words(visit: Page, night: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_text("not audio at all")
    visit.upload(tmp_path / "broken.wav", night)
    visit.rows(2)  # the other one is shown
    wrong = visit.page.locator("#state .zs-wrong")
    wrong.wait_for()
    assert wrong.inner_text().startswith("broken.wav: not a recording")
    visit.label("@nowhere")
    visit.page.wait_for_function("document.querySelector('#state').innerText.includes('nowhere')")


def test_names_and_labels_stay_text(visit: Page, night: Path, tmp_path: Path) -> None:
    path = tmp_path / f"{HOSTILE}.wav"
    path.write_bytes(night.read_bytes())
    (tmp_path / f"{HOSTILE}2.wav").write_text("no audio")
    visit.label(f"440 {HOSTILE}")
    visit.upload(path, tmp_path / f"{HOSTILE}2.wav")
    assert HOSTILE in visit.rows(1)[0]
    visit.page.locator("#state .zs-wrong").wait_for()
    assert visit.page.locator("img[src='x']").count() == 0
    assert visit.dialogs == []


def test_too_long_recordings_are_refused(visit: Page, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.flac", np.zeros(7 * 60 * 4000), 4000)
    visit.upload(tmp_path / "long.flac")
    wrong = visit.page.locator("#state .zs-wrong")
    wrong.wait_for()
    assert wrong.inner_text() == (
        "long.flac: more than 0.1 hours of recordings in all; open fewer, or let 'zsaudio detect' do it"
    )


def test_a_recording_of_the_folder(visit: Page) -> None:
    visit.page.locator("#folder input").click()
    visit.page.get_by_role("option", name="night.wav").click()
    assert len(visit.rows(2)) == 2


def test_the_microphone(visit: Page) -> None:
    page = visit.page
    page.get_by_role("tab", name="Live").click()
    page.fill("#live-labels textarea", "3200")
    page.locator("#live-labels textarea").blur()
    page.locator("#live .zs-start").click()
    page.wait_for_selector("#live tbody tr")
    assert "Listening at" in page.locator("#live .zs-text").inner_text()
    page.locator("#live .zs-start").click()
    page.wait_for_selector("#live .zs-downloads a")
    with page.expect_download() as download:
        page.locator("#live .zs-downloads a", has_text="jsonl").click()
    first = json.loads(Path(download.value.path()).read_text().splitlines()[0])
    assert (first["file"], first["label"]) == ("microphone", "3200")
    assert first["onset_time"] < first["offset_time"]


def test_the_archive_is_searched_judged_and_learned_from(visit: Page) -> None:
    page = visit.page
    page.get_by_role("tab", name="Archive").click()
    page.fill("#archive-words textarea, #archive-words input", "440")
    page.locator("#archive-search").click()
    hit = page.locator("#archive-hits tbody tr").first
    hit.wait_for()
    assert "night.wav" in hit.inner_text()
    hit.get_by_text("Yes").click()
    page.wait_for_selector("#archive-hits [aria-pressed=true]")
    page.locator("#archive-learn").click()
    page.wait_for_function(
        "document.querySelector('#archive-state').innerText.includes('Learned from 1 yes and 0 no')"
    )


def test_the_model_says_what_it_knows(visit: Page) -> None:
    visit.page.get_by_role("tab", name="Model").click()
    visit.page.locator("#model-check").click()
    visit.page.wait_for_function("document.querySelector('#model-known').innerText.includes('tone-encoder')")


def test_people_are_kept_apart(visit: Page, browser: Any, server: str, night: Path) -> None:
    visit.upload(night)
    visit.rows(2)
    other = browser.new_page()
    other.set_default_timeout(WAIT_MS)
    other.goto(server)
    other.wait_for_selector("#files input[type=file]", state="attached")
    assert other.locator("#viewer tbody tr").count() == 0
    scenes = [url for url in visit.requests if "/scene" in url]
    key = scenes[0].split("/")[4]
    assert len(key) > 20
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(scenes[0].replace(key, "another-key"))
    other.close()


@pytest.mark.parametrize(
    "path", ["/etc/passwd", str(EXAMPLE), "http://localhost/x.wav", f"/tmp/gradio/..{EXAMPLE}"]
)
def test_only_what_was_uploaded_is_read(server: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
        urllib.request.urlopen(f"{server}/gradio_api/file={path}")
    config = json.loads(urllib.request.urlopen(f"{server}/config").read())
    files = next(each["id"] for each in config["components"] if each["props"].get("elem_id") == "files")
    number = next(each["id"] for each in config["dependencies"] if [files, "change"] in each["targets"])
    file = {"path": path, "orig_name": "x.wav", "meta": {"_type": "gradio.FileData"}}
    asked = {"data": [[file], [], "440", 0.5, 0], "fn_index": number, "session_hash": "somebody"}
    request = urllib.request.Request(
        f"{server}/gradio_api/queue/join", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)
