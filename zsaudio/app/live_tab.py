"""The tab *Live*: the browser's microphone. The sound goes over a WebSocket (``zsaudio.app.live``)."""

import json

import gradio as gr

from zsaudio.app.desk import Desk, Desks
from zsaudio.app.panels import drawn
from zsaudio.app.recordings_tab import controls


def live_tab(desks: Desks) -> gr.HTML:
    """Build the tab; return the panel, which learns its desk when the page is loaded."""
    with gr.Row():
        with gr.Column(scale=1, min_width=290):
            inputs = controls(desks.settings, "live")
        with gr.Column(scale=3, min_width=320):
            panel = drawn("live", "live")

    def chosen(request: gr.Request, labels: str, threshold: float, sensitivity: float) -> str:
        return live_value(desks.of(request.session_hash), labels, threshold, sensitivity)

    for change in (inputs[0].submit, inputs[0].blur, inputs[1].release, inputs[2].release):
        change(chosen, list(inputs), panel, show_progress="hidden", api_visibility="private")
    return panel


def live_value(desk: Desk, labels: str, threshold: float = 0.5, sensitivity: float = 0.0) -> str:
    """Return what the panel needs to know."""
    return json.dumps(
        {"desk": desk.key, "labels": labels, "threshold": threshold, "sensitivity": sensitivity}
    )
