"""Take the pictures of app.md: ``python docs/app_screenshots.py``. Needs Playwright and Debian's Chromium."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import librosa
import soundfile
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
AUDIO = HERE.parent / "examples" / "audio"
HEARD = AUDIO / "speech_and_smoke_alarm.flac"
LABELS = "speech, smoke alarm, dog barking, keyword: fire"
TABS = ("Recordings", "Live", "Archive", "Model")
NARROW = 400  # pixels
WAIT_MS = 120_000


def recordings(page: Page) -> None:
    """Listen to a recording, and play its first event."""
    page.set_input_files("#files input[type=file]", HEARD)
    page.locator("#viewer tbody tr").first.click(timeout=WAIT_MS)
    page.wait_for_timeout(700)


def live(page: Page) -> None:
    """Listen to the microphone until there are events."""
    page.locator("#live .zs-start").click()
    page.wait_for_selector("#live tbody tr:nth-child(2)", timeout=WAIT_MS)


def archive(page: Page) -> None:
    """Search, and answer two hits."""
    page.fill("#archive-words textarea, #archive-words input", "a trumpet")
    page.locator("#archive-search").click()
    hits = page.locator("#archive-hits tbody tr")
    hits.first.wait_for(timeout=WAIT_MS)
    hits.first.get_by_role("button", name="Yes").click()
    hits.nth(1).get_by_role("button", name="No").click()


def model(page: Page) -> None:
    """Ask what is known of the labels, one of them a guess."""
    page.fill("#model-labels textarea", f"{LABELS}, Turdus merula")
    page.locator("#model-check").click()
    page.wait_for_selector("#model-known td", timeout=WAIT_MS)


ACTS = dict(zip(TABS, (recordings, live, archive, model), strict=True))


def pictures(browser: Browser, address: str, width: int, folder: Path, dark: bool = False) -> list[Path]:
    """Take a picture of each tab; in dark mode of the first only."""
    context = browser.new_context(permissions=["microphone"], viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{address}?__theme={'dark' if dark else 'light'}")
    page.wait_for_selector("#files input[type=file]", state="attached", timeout=WAIT_MS)
    taken = []
    for name in TABS[:1] if dark else TABS:
        tab = page.get_by_role("tab", name=name)
        if not tab.is_visible():  # where the page is narrow, the last ones are in a menu
            page.locator(".overflow-menu > button").click()
            tab = page.locator(".overflow-dropdown").get_by_text(name)
        tab.click()
        ACTS[name](page)
        page.mouse.move(0, 0)
        page.wait_for_timeout(500)
        taken.append(folder / f"app-{'dark' if dark else name.lower()}.png")
        page.screenshot(path=taken[-1], full_page=width == NARROW)
    context.close()
    return taken


def side_by_side(paths: list[Path], path: Path) -> None:
    """Write pictures beside each other."""
    images = [Image.open(each) for each in paths]
    height = max(image.height for image in images)
    joined = Image.new("RGB", (len(images) * (NARROW + 20) - 20, height), "#d9dce3")
    for number, image in enumerate(images):
        joined.paste(image, (number * (NARROW + 20), 0))
    joined.save(path, optimize=True)


def main() -> None:
    """Start the page, and take all pictures."""
    chromium = shutil.which("chromium") or sys.exit("needs chromium")
    command = [sys.executable, "-m", "zsaudio"]
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        sound, rate = librosa.load(HEARD, sr=None)
        soundfile.write(folder / "heard.wav", sound, rate)
        subprocess.run([*command, "index", AUDIO, "--archive", folder / "sounds", "-q"], check=True)
        browser = driver.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={folder / 'heard.wav'}",
            ],
        )
        given = ["--no-open", "--port", "0", "--labels", LABELS, "--archive", name + "/sounds"]
        server = subprocess.Popen([*command, "app", *given], stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            found = None
            while found is None:
                found = re.search(r"http://\S+", server.stderr.readline())
            pictures(browser, found[0], 1280, HERE)
            pictures(browser, found[0], 1280, HERE, dark=True)
            side_by_side(pictures(browser, found[0], NARROW, folder), HERE / "app-narrow.png")
        finally:
            server.terminate()
            browser.close()


if __name__ == "__main__":
    main()
