"""How long ``zsaudio app`` takes, in a browser: start, first events, an hour, sliders, live sound.

    python benchmarks/app.py

Needs the extra ``app``, Playwright and Debian's Chromium. Recordings are made of those in ``examples/audio``.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import Page, sync_playwright

from zsaudio.audio.reader import AudioReader

AUDIO = Path(__file__).parents[1] / "examples" / "audio"
LABELS = "speech, smoke alarm, siren, piano, trumpet, dog barking, rain, engine"
RATE = 48_000
WAIT_MS = 600_000
ROWS = "#viewer tbody tr"


def load(path: Path) -> np.ndarray:
    return np.concatenate(list(AudioReader(path).blocks(RATE)))


def make_recordings(folder: Path, hours: float) -> tuple[Path, Path, Path]:
    """Write a clip of 10 s, a recording of hours, and what the microphone hears."""
    sounds = [load(path) for path in sorted(AUDIO.iterdir())]
    rng = np.random.default_rng(0)
    minute = 0.001 * rng.standard_normal(60 * RATE).astype(np.float32)
    for number, sound in enumerate(sounds):
        part = sound[: 9 * RATE]
        minute[number * 10 * RATE : number * 10 * RATE + len(part)] += part
    clip, long, heard = folder / "clip.flac", folder / "long.flac", folder / "heard.wav"
    soundfile.write(clip, minute[40 * RATE : 50 * RATE], RATE)  # speech and a smoke alarm
    with soundfile.SoundFile(long, "w", RATE, 1) as file:
        for _ in range(round(60 * hours)):
            file.write(minute)
    soundfile.write(heard, load(AUDIO / "speech_and_smoke_alarm.flac"), RATE)
    return clip, long, heard


def timed(name: str, act: Callable[[], Any]) -> None:
    started = time.perf_counter()
    act()
    print(f"{name:<52} {time.perf_counter() - started:6.2f} s", flush=True)


def upload(page: Page, path: Path, selector: str) -> None:
    page.set_input_files("#files input[type=file]", str(path))
    page.wait_for_selector(selector, timeout=WAIT_MS)


def clear(page: Page) -> None:
    page.get_by_label("Clear").first.click()
    page.wait_for_function(f"document.querySelectorAll('{ROWS}').length === 0", timeout=WAIT_MS)


def slide(page: Page, value: str) -> None:
    """Move the slider, and wait until the settings on the page name its value."""
    page.fill("#recordings-threshold input[type=number]", value)
    page.locator("#recordings-threshold input[type=number]").press("Enter")
    page.wait_for_function(
        "value => [...document.querySelectorAll('#viewer dt')].some("
        "dt => dt.textContent === 'threshold' && dt.nextSibling.textContent === value)",
        arg=value,
        timeout=WAIT_MS,
    )


def listen(page: Page, seconds: float) -> None:
    """Listen for some seconds; print how late scores are, and how much sound was lost."""
    page.get_by_role("tab", name="Live").click()
    page.locator("#live .zs-start").click()
    page.wait_for_selector("#live .zs-text[data-delay]", timeout=WAIT_MS)
    delays, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        page.wait_for_timeout(200)
        delays.append(float(page.locator("#live .zs-text").get_attribute("data-delay") or 0))
    lost = page.locator("#live .zs-text").get_attribute("data-lost")
    print(f"{'live: from sound to scores, median':<52} {np.median(delays):6.2f} s")
    print(f"{'live: from sound to scores, 95 of 100':<52} {np.quantile(delays, 0.95):6.2f} s")
    print(f"{f'live: sound lost in {seconds:g} s':<52} {float(lost or 0):6.2f} s")
    print(f"{'live: events':<52} {page.locator('#live tbody tr').count():6}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="length of the long recording")
    parser.add_argument("--live", type=float, default=30.0, help="seconds of live sound; 0: none")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or sys.exit("needs chromium")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        clip, long, heard = make_recordings(Path(name), arguments.hours)
        browser = driver.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={heard}",
            ],
        )
        page = browser.new_context(permissions=["microphone"]).new_page()
        started = time.perf_counter()
        command = [sys.executable, "-m", "zsaudio", "app", "--no-open", "--port", "0", "--labels", LABELS]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            found = None
            while found is None:
                found = re.search(r"http://\S+", server.stderr.readline())
            page.goto(found[0], timeout=WAIT_MS)
            page.wait_for_selector("#files input[type=file]", state="attached", timeout=WAIT_MS)
            print(f"{'start, to a page that can be used':<52} {time.perf_counter() - started:6.2f} s")
            timed("10 s clip: first events, model not loaded before", lambda: upload(page, clip, ROWS))
            clear(page)
            timed("10 s clip: first events", lambda: upload(page, clip, ROWS))
            timed("10 s clip: slider", lambda: slide(page, "0.6"))
            clear(page)
            timed(f"{arguments.hours:g} h: overview", lambda: upload(page, long, "#viewer canvas"))
            timed(
                f"{arguments.hours:g} h: then all events",
                lambda: page.wait_for_selector(ROWS, timeout=WAIT_MS),
            )
            timed(f"{arguments.hours:g} h: slider", lambda: slide(page, "0.5"))
            if arguments.live:
                listen(page, arguments.live)
        finally:
            server.terminate()
            browser.close()


if __name__ == "__main__":
    main()
