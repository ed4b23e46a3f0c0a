"""The tab *Recordings*: files in, events over a spectrogram and in a table, sliders that act at once."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from zsaudio.app import text
from zsaudio.app.desk import Desk, Desks, Recording, Settings, in_folder, recordings_in, uploaded
from zsaudio.app.panels import drawn, status
from zsaudio.audio.reader import AUDIO_SUFFIXES
from zsaudio.errors import AudioError, ZsaudioError
from zsaudio.labels import builtin_label_sets
from zsaudio.output.scene import summary

_POLL_S = 0.4
Answer = tuple[Any, str, str]  # the choice of recordings, what the viewer shows, and a line on the state


def recordings_tab(desks: Desks) -> None:
    """Build the tab."""
    settings = desks.settings
    with gr.Row():
        with gr.Column(scale=1, min_width=290):
            files = gr.File(
                label="Recordings",
                file_count="multiple",
                file_types=sorted(AUDIO_SUFFIXES),
                height=150,
                elem_id="files",
            )
            names = gr.Dropdown(
                recordings_in(settings.folder) if settings.folder else [],
                value=[],
                multiselect=True,
                label=f"From {settings.folder.name or settings.folder}" if settings.folder else "",
                visible=settings.folder is not None,
                elem_id="folder",
            )
            labels, threshold, sensitivity = controls(settings, "recordings")
        with gr.Column(scale=3, min_width=320):
            choice = gr.Dropdown(
                [], label="Recording", visible=False, interactive=True, elem_id="recording", container=True
            )
            state = status("Drop recordings on the left.", "state")
            viewer = drawn("recordings", "viewer")
    shown, sliders = [choice, viewer, state], [threshold, sensitivity]

    def opened(
        request: gr.Request, files: list[str] | None, names: list[str], labels: str, *at: float
    ) -> Iterator[Answer]:
        """Take the recordings that lie on the desk now, and listen to those that are new."""
        desk = desks.of(request.session_hash)
        try:
            chosen = [(path, os.path.basename(path)) for path in uploaded(files or [], get_upload_folder())]
            if settings.folder:
                chosen += [
                    (path, name) for path, name in zip(in_folder(settings.folder, names), names, strict=True)
                ]
        except AudioError as error:
            yield gr.skip(), gr.skip(), text.wrong(str(error))
            return
        known = {each.path: each for each in desk.recordings}
        desk.recordings = [known.get(path) or Recording(path, name) for path, name in chosen]
        first_new = next((number for number, (path, _) in enumerate(chosen) if path not in known), 0)
        yield from _listened(desk, first_new, labels, *at)

    def relabelled(request: gr.Request, choice: int | None, labels: str, *at: float) -> Iterator[Answer]:
        """Take other labels."""
        yield from _listened(desks.of(request.session_hash), choice or 0, labels, *at)

    def moved(request: gr.Request, choice: int | None, *at: float) -> Answer:
        """Take other positions of the sliders."""
        desk = desks.of(request.session_hash)
        desk.choose_options(*at)
        return _shown(desk, choice or 0)

    inputs = [labels, *sliders]
    for source in (files, names):
        source.change(
            opened, [files, names, *inputs], shown, show_progress="hidden", api_visibility="private"
        )
    for event in (labels.submit, labels.blur):
        event(relabelled, [choice, *inputs], shown, show_progress="hidden", api_visibility="private")
    for slider in sliders:
        slider.change(
            moved,
            [choice, *sliders],
            shown,
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )
    choice.input(moved, [choice, *sliders], shown, show_progress="hidden", api_visibility="private")


def controls(settings: Settings, name: str) -> tuple[gr.Textbox, gr.Slider, gr.Slider]:
    """Return a field for labels, and sliders for threshold and sensitivity."""
    labels = gr.Textbox(
        settings.labels,
        label="Labels",
        info="Separated by commas; 'keyword: hello' for a spoken word",
        lines=2,
        max_lines=6,
        elem_id=f"{name}-labels",
        submit_btn=False,
    )
    sets = gr.Dropdown(
        [f"@{each}" for each in builtin_label_sets()],
        value=None,
        label="or a built-in set",
        elem_id=f"{name}-sets",
    )
    threshold = gr.Slider(0.05, 0.95, 0.5, step=0.05, label="Threshold", elem_id=f"{name}-threshold")
    sensitivity = gr.Slider(-4, 4, 0, step=0.5, label="Sensitivity", elem_id=f"{name}-sensitivity")
    sets.input(lambda name: name or "", sets, labels, api_visibility="private").then(
        None,
        None,
        None,
        js=f"() => document.querySelector('#{name}-labels textarea').dispatchEvent(new Event('blur'))",
    )
    return labels, threshold, sensitivity


def _listened(desk: Desk, number: int, labels: str, *at: float) -> Iterator[Answer]:
    """Yield what is shown while the models listen: the spectrogram first, then the events."""
    problems: list[str] = []
    try:
        desk.choose_options(*at)
        if not desk.recordings:
            yield gr.update(choices=[], visible=False), "", text.note("Drop recordings on the left.")
            return
        yield gr.skip(), gr.skip(), text.note("Loading the model…")
        desk.choose_labels(labels)
    except ZsaudioError as error:
        yield gr.skip(), gr.skip(), text.wrong(str(error))
        return
    recordings = desk.recordings
    order = sorted(range(len(recordings)), key=lambda each: each != number)  # the one that is looked at first
    for each in order:
        recording = recordings[each]
        if desk.recordings is not recordings:  # others have been opened meanwhile
            return
        try:
            if recording.spectrogram is None:
                yield gr.skip(), gr.skip(), text.note(f"Reading {recording.name}…")
                desk.look(recording)
                if each == number and recording.duration_s > 60:
                    yield _shown(desk, number)
            with ThreadPoolExecutor(1) as thread:
                work = thread.submit(desk.listen, recording)
                while not wait([work], _POLL_S).done:
                    share = min(1.0, recording.heard_s / max(recording.duration_s, 0.1))
                    yield gr.skip(), gr.skip(), text.progress(f"Listening to {recording.name}…", share)
                work.result()
        except ZsaudioError as error:
            recording.error = str(error).replace(recording.path, recording.name)
            problems.append(recording.error)
        if each == number:
            yield _shown(desk, number, problems)
    if desk.recordings is recordings:
        yield _shown(desk, number, problems)


def _shown(desk: Desk, number: int, problems: list[str] | None = None) -> Answer:
    """Return what is shown of the desk, with a recording in the viewer."""
    usable = [each for each, recording in enumerate(desk.recordings) if recording.spectrogram is not None]
    if number not in usable:
        number = usable[0] if usable else 0
    lines = text.wrong(*(problems or []))
    if not usable:
        return gr.update(choices=[], visible=False), "", lines
    clip = desk.find(desk.recordings[number])
    choices = [(desk.recordings[each].name, each) for each in usable]
    value = json.dumps(
        {"desk": desk.key, "number": number, "version": desk.version, "heard": clip is not None}
    )
    line = text.note(f"{desk.recordings[number].name}: {summary(clip)}") if clip and len(usable) > 1 else ""
    return gr.update(choices=choices, value=number, visible=len(usable) > 1), value, lines + line
