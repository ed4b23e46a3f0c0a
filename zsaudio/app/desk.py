"""What the people at the page work on: each one's recordings, kept apart by a secret in the address.

A *desk* is what the page of one person needs: its recordings, as the models heard them, the labels and
options chosen there, and what was found in an archive. Addresses of scenes, sound and downloads begin with
its key, so nobody reaches a desk without having been given it.
"""

import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import AudioError, LabelError, OptionError
from zsaudio.labels import LabelSet
from zsaudio.output.overview import ScoreCurves, mel_spectrogram
from zsaudio.output.scene import Spectrogram, described, scene
from zsaudio.results import ClipEvents, Event

if TYPE_CHECKING:
    from zsaudio.archive.archive import Archive
    from zsaudio.archive.matches import Matches
    from zsaudio.detection.heard import Heard
    from zsaudio.recognizer import Recognizer

MOST_DESKS = 32  # the one that was not used for longest makes room for a new one
MOST_CHARACTERS = 20_000  # of labels
MOST_LABELS = 600


@dataclass(frozen=True)
class Settings:
    """What was chosen at the start.

    Parameters
    ----------
    labels
        The labels that the page begins with.
    load
        Returns a recogniser for labels; models are loaded once.
    model, keyword_model
        What the models are called.
    folder
        The folder whose recordings may be opened; None: uploads only.
    archive
        The archive that is searched; None: none.
    max_bytes, max_hours
        Limits of an upload, and of all recordings on a desk together.
    """

    labels: str
    load: Callable[[LabelSet], "Recognizer"]
    model: str = "nano"
    keyword_model: str = "nano-keyword"
    folder: Path | None = None
    archive: str | None = None
    max_bytes: int = 500 * 2**20
    max_hours: float = 6.0


def parse_labels(text: str) -> LabelSet:
    """Return the labels that a person typed.

    Raises
    ------
    LabelError
        If they cannot be used, or are too many.
    """
    if len(text) > MOST_CHARACTERS:
        raise LabelError(f"the labels are too long: at most {MOST_CHARACTERS} characters")
    labels = LabelSet.parse(" ".join(text.replace("\n", ", ").split()).strip(" ,"))
    if len(labels) > MOST_LABELS:
        raise LabelError(f"{len(labels)} labels are too many for a page: at most {MOST_LABELS}")
    return labels


@dataclass
class Recording:
    """A recording on a desk.

    Parameters
    ----------
    path, name
        The file, and what the person calls it.
    """

    path: str
    name: str
    duration_s: float = 0.0
    spectrogram: Spectrogram | None = None
    heard_s: float = 0.0  # how far the models have come
    heard: "Heard | None" = None
    error: str = ""
    clip: ClipEvents | None = None
    curves: ScoreCurves = field(default_factory=ScoreCurves)
    made_with: object = None


@dataclass
class Desk:
    """One person's work."""

    settings: Settings
    key: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    recordings: list[Recording] = field(default_factory=list)
    options: DetectionOptions = field(default_factory=DetectionOptions)
    recognizer: "Recognizer | None" = None
    labels_text: str = ""
    version: int = 0
    archive: "Archive | None" = None
    found: "Matches | None" = None
    answers: dict[int, bool] = field(default_factory=dict)
    judged: list[Any] = field(default_factory=list)
    live_events: list[Event] = field(default_factory=list)
    live_started: datetime = field(default_factory=datetime.now)
    live_rate: int = 0
    live_seconds: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def choose_labels(self, text: str) -> "Recognizer":
        """Take the labels that a person typed; return their recogniser."""
        with self.lock:
            if self.recognizer is None or text != self.labels_text:
                self.recognizer = self.settings.load(parse_labels(text))
                self.labels_text = text
            return self.recognizer

    def choose_options(self, threshold: float, sensitivity: float) -> None:
        """Take the position of the sliders."""
        self.options = DetectionOptions(threshold=threshold, sensitivity=sensitivity)

    def measure(self, recording: Recording) -> None:
        """Find out how long a recording is.

        Raises
        ------
        AudioError
            If it cannot be read.
        OptionError
            If the recordings together are too long.
        """
        recording.duration_s = duration(recording)
        total = sum(each.duration_s for each in self.recordings) / 3600
        if total > self.settings.max_hours:
            raise OptionError(
                f"{recording.name}: more than {self.settings.max_hours:g} hours of recordings in all; "
                "open fewer, or let 'zsaudio detect' do it"
            )

    def look(self, recording: Recording) -> None:
        """Read a recording for its length and spectrogram, before any model hears it.

        Raises as ``measure``.
        """
        if recording.spectrogram is None:
            self.measure(recording)
            recording.spectrogram = mel_spectrogram(recording.path, None, recording.duration_s)

    def listen(self, recording: Recording) -> None:
        """Let the models hear a recording, unless they have."""
        assert self.recognizer is not None

        def on_seconds(seconds: float) -> None:
            recording.heard_s = seconds

        if recording.heard is None or self.find(recording) is None:
            try:
                recording.heard = self.recognizer.hear(recording.path, on_seconds=on_seconds)
            except AudioError as error:
                raise AudioError(nameless(error, recording)) from error
            if recording.heard.clip.error is not None:
                recording.error = nameless(recording.heard.clip.error, recording)
            recording.duration_s = recording.heard.clip.duration_s or recording.duration_s
            self.find(recording)

    def find(self, recording: Recording) -> ClipEvents | None:
        """Return the events of a recording as chosen now; None: it must be heard first."""
        with self.lock:
            if recording.heard is None or self.recognizer is None:
                return None
            made_with = self.recognizer, self.options, recording.heard
            if recording.made_with != made_with:
                curves = ScoreCurves()
                clip = self.recognizer.detect_heard(
                    recording.heard, options=self.options, on_scores=curves.add
                )
                if clip is None:
                    return None
                named = ClipEvents(recording.name, clip.duration_s, clip.sample_rate, clip.events)
                recording.clip, recording.curves, recording.made_with = named, curves, made_with
                self.version += 1
            return recording.clip

    def scene(self, number: int) -> dict[str, Any]:
        """Return what the viewer shows of a recording."""
        recording = self.recordings[number]
        assert recording.spectrogram is not None and self.recognizer is not None
        clip = self.find(recording)
        curves, note = recording.curves, ""
        if clip is None:
            clip, curves = ClipEvents(recording.name, recording.duration_s, 0), ScoreCurves()
            note = "The models are listening…"
        labels = [label for label in self.recognizer.labels if not label.background]
        settings = [("model", self.recognizer.model_name), *described(self.options)]
        here = f"zsaudio/{self.key}/recordings/{number}"
        shown = scene(clip, curves, recording.spectrogram, labels, self.options, settings)
        shown |= {
            "audio_url": f"{here}/sound?from={{from}}&to={{to}}",
            "detail_url": f"{here}/detail?from={{from}}&to={{to}}&version={self.version}",
            "error": recording.error,
            "note": note or shown["note"],
        }
        return shown


class Desks:
    """All desks, by their keys."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._desks: OrderedDict[str, Desk] = OrderedDict()
        self._keys: dict[str, str] = {}  # by Gradio's name of a page that is open
        self._lock = threading.Lock()

    def of(self, page: str | None) -> Desk:
        """Return the desk of a page that is open, by Gradio's name for it; a new one where it has none."""
        with self._lock:
            desk = self._desks.get(self._keys.get(page or "", ""))
            if desk is None:
                desk = Desk(self.settings)
                self._keys[page or ""] = desk.key
                self._desks[desk.key] = desk
            self._desks.move_to_end(desk.key)
            while len(self._desks) > MOST_DESKS:
                self._desks.popitem(last=False)
            self._keys = {name: key for name, key in self._keys.items() if key in self._desks}
        return desk

    def get(self, key: str) -> Desk | None:
        """Return the desk with this key, if there is one."""
        with self._lock:
            desk = self._desks.get(key)
            if desk is not None:
                self._desks.move_to_end(key)
            return desk

    def close(self, page: str | None) -> None:
        """Clear the desk of a page that is gone."""
        with self._lock:
            self._desks.pop(self._keys.pop(page or "", ""), None)


def uploaded(paths: Sequence[str], folder: str) -> list[str]:
    """Return the paths of files that were uploaded, to ``folder``.

    Raises
    ------
    AudioError
        If one lies elsewhere.
    """
    for path in paths:
        if not Path(path).resolve().is_relative_to(Path(folder).resolve()):
            raise AudioError(f"{os.path.basename(path)}: was not uploaded")
    return list(paths)


def in_folder(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the paths of recordings in the folder that was named at the start.

    Raises
    ------
    AudioError
        If a name leads out of it.
    """
    paths = []
    root = folder.resolve()
    for name in names:
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise AudioError(f"{os.path.basename(name)}: is not in the folder")
        paths.append(str(path))
    return paths


def recordings_in(folder: Path) -> list[str]:
    """Return the names of the recordings in a folder and the folders in it, relative to it."""
    from zsaudio.audio.reader import AUDIO_SUFFIXES

    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.relpath(os.path.join(where, name), folder)
            for name in sorted(names)
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES
        ]
    return found


def nameless(error: Exception, recording: Recording) -> str:
    """Return a message with the person's name for a recording in the place of the path on this computer."""
    return str(error).replace(recording.path, recording.name)


def duration(recording: Recording) -> float:
    """Return the length of a recording in seconds; it is decoded where its header does not say."""
    import soundfile

    from zsaudio.audio.reader import AudioReader

    try:
        return float(soundfile.info(recording.path).duration)
    except (OSError, soundfile.LibsndfileError):
        pass
    try:
        reader = AudioReader(recording.path)
        for _ in reader.blocks():
            pass
        return float(reader.seconds_read)
    except AudioError as error:
        raise AudioError(nameless(error, recording)) from error
