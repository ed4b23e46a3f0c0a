import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ToneModel, tone
from tone_speech import ToneSpeech, speak

from zsaudio.audio.live import LiveBlocks
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import AudioError, OptionError
from zsaudio.listening.actions import ClipKeeper, CommandRunner
from zsaudio.listening.session import ListenSession, Ongoing, View
from zsaudio.recognizer import Recognizer
from zsaudio.results import Event, FrameScores

RATE = 16_000
SOUND = np.concatenate([tone(100, 1.0), tone(440, 2.0), tone(100, 2.0), speak("abc"), tone(100, 1.0)])


class Blocks(LiveBlocks):
    """An array, block by block, at once; it may end with an error."""

    def __init__(self, samples: np.ndarray, error: AudioError | None = None) -> None:
        super().__init__("blocks", RATE, 0.02)
        self.samples, self.error = samples, error
        self.clock.note(0.0, 1_000_000.0)

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.samples), 700):
            yield self.samples[start : start + 700]
        if self.error is not None:
            raise self.error


class Notes(View):
    def __init__(self) -> None:
        self.open = False
        self.n_samples = 0
        self.frames: list[tuple[FrameScores, dict[str, float]]] = []
        self.events: list[tuple[Event, Path | None]] = []

    def __enter__(self) -> "Notes":
        self.open = True
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False

    def block(self, block: np.ndarray) -> None:
        self.n_samples += len(block)

    def scores(self, frame: FrameScores, ongoing: Mapping[str, Ongoing]) -> None:
        assert self.open
        self.frames.append((frame, {label: one.onset for label, one in ongoing.items()}))

    def event(self, event: Event, recording: Path | None) -> None:
        assert self.open
        self.events.append((event, recording))


class NearToneModel(ToneModel):
    context_s = 0.25


@pytest.fixture
def recognizer() -> Recognizer:
    return Recognizer(["440", "keyword: abc"], NearToneModel(), keyword_model=ToneSpeech())


def test_a_session_detects_what_a_stream_has_and_keeps_it(recognizer: Recognizer, tmp_path: Path) -> None:
    options = DetectionOptions.live(recognizer.model)
    expected = list(recognizer.stream(Blocks(SOUND), options=options))
    assert [event.label for event in expected] == ["440", "keyword: abc"]

    source, view = Blocks(SOUND), Notes()
    keeper = ClipKeeper(tmp_path, RATE, source.clock, before_s=0.5, after_s=0.25)
    session = ListenSession(recognizer, source, view=view, keeper=keeper)
    session.warm_up()
    session.run()
    assert [event for event, _ in view.events] == expected
    assert (session.n_events, session.error, view.open, view.n_samples) == (2, None, False, len(SOUND))
    for event, path in view.events:
        assert path is not None
        start, end = round((event.onset - 0.5) * RATE), round((event.offset + 0.25) * RATE)
        kept, _ = soundfile.read(path, dtype="float32")
        assert kept == pytest.approx(SOUND[start:end], abs=1e-4)
    ongoing = [frame.onset for frame, labels in view.frames if "440" in labels]
    first = expected[0]
    assert ongoing and {onset for _, labels in view.frames for onset in labels.values()} == {ongoing[0]}
    assert ongoing[0] == pytest.approx(first.onset, abs=0.5) and ongoing[-1] >= first.offset - 0.5


@pytest.mark.parametrize("early", [False, True])
def test_a_command_is_run_for_each_event(recognizer: Recognizer, tmp_path: Path, early: bool) -> None:
    code = f"import sys; open({str(tmp_path / 'ran.txt')!r}, 'a').write(sys.argv[1] + chr(10))"
    command = f'"{sys.executable}" -c {shlex.quote(code)} {{label}}'
    source = Blocks(SOUND)
    runner = CommandRunner(command, source.clock)
    ListenSession(recognizer, source, runner=runner, early=early).run()
    runner.finish(30.0)
    assert sorted((tmp_path / "ran.txt").read_text().splitlines()) == ["440", "keyword: abc"]


def test_a_source_that_fails_keeps_its_error_and_the_open_events(recognizer: Recognizer) -> None:
    view = Notes()
    session = ListenSession(recognizer, Blocks(SOUND[: 2 * RATE], AudioError("mic: unplugged")), view=view)
    session.run()
    assert str(session.error) == "mic: unplugged"
    assert [event.label for event, _ in view.events] == ["440"]


def test_early_needs_a_command(recognizer: Recognizer) -> None:
    with pytest.raises(OptionError, match="early says when to run a command, and there is none"):
        ListenSession(recognizer, Blocks(SOUND), early=True)
