"""What programs ask the server, through Gradio's client: ``/detect`` and ``/tag``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from zsaudio.app.desk import Desk, Desks, Recording, nameless, uploaded
from zsaudio.errors import AudioError, ZsaudioError


def api(desks: Desks) -> None:
    """Add the endpoints to a page."""
    settings = desks.settings

    def opened(audio: dict[str, Any], labels: str) -> tuple[Desk, Recording]:
        if not isinstance(audio, dict) or "path" not in audio:
            raise AudioError("audio must be a recording, as handle_file of gradio_client gives it")
        desk = Desk(settings)  # nobody else's
        (path,) = uploaded([audio["path"]], get_upload_folder())
        recording = Recording(path, audio.get("orig_name") or os.path.basename(path))
        desk.recordings = [recording]
        desk.choose_labels(labels or settings.labels)
        desk.measure(recording)
        return desk, recording

    def detect(
        audio: gr.FileData, labels: str = "", threshold: float = 0.5, sensitivity: float = 0.0
    ) -> list[dict[str, Any]]:
        """Return the events of a recording: onset and offset in seconds, label and score."""
        with _said():
            desk, recording = opened(audio, labels)
            desk.choose_options(threshold, sensitivity)
            desk.listen(recording)
            if recording.error:
                raise AudioError(recording.error)
        assert recording.clip is not None
        return [
            {"onset": event.onset, "offset": event.offset, "label": event.label, "score": event.score}
            for event in recording.clip.events
        ]

    def tag(audio: gr.FileData, labels: str = "") -> list[dict[str, Any]]:
        """Return labels and scores of a recording as a whole, the best first."""
        with _said():
            desk, recording = opened(audio, labels)
            assert desk.recognizer is not None
            try:
                tags = desk.recognizer.tag(recording.path)
            except AudioError as error:
                raise AudioError(nameless(error, recording)) from error
        return [{"label": tag.label, "score": tag.score} for tag in tags]

    gr.api(detect, api_name="detect")
    gr.api(tag, api_name="tag")


@contextmanager
def _said() -> Iterator[None]:
    """Tell the client what is wrong."""
    try:
        yield
    except ZsaudioError as error:
        raise gr.Error(str(error), print_exception=False) from error
