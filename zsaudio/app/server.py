"""The server: Gradio's page in the middle, zsaudio's own routes beside it, a guard around both."""

import gradio as gr
from fastapi import FastAPI
from gradio.utils import get_upload_folder
from starlette.types import ASGIApp

from zsaudio.app.api import api
from zsaudio.app.desk import Desks, Settings
from zsaudio.app.guard import Guard
from zsaudio.app.live_tab import live_tab, live_value
from zsaudio.app.model_tab import model_tab
from zsaudio.app.recordings_tab import recordings_tab
from zsaudio.app.routes import routes
from zsaudio.app.uploads import UploadsOnly

_HEAD = '<link rel="stylesheet" href="zsaudio/static/page.css">'
_TITLE = (
    '<div class="zs-title"><h1>zsaudio</h1><p>Sounds and spoken words, named in plain English.{}</p></div>'
)
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]


def page(desks: Desks, is_local: bool) -> gr.Blocks:
    """Return the page; one for this computer only says so."""
    settings = desks.settings
    with gr.Blocks(title="zsaudio", analytics_enabled=False, delete_cache=(600, 24 * 3600)) as blocks:
        gr.HTML(_TITLE.format(" Nothing leaves this computer." * is_local), apply_default_css=False)
        with gr.Tabs():
            with gr.Tab("Recordings", id="recordings"):
                recordings_tab(desks)
            with gr.Tab("Live", id="live", render_children=True):
                live = live_tab(desks)
            if settings.archive is not None:
                from zsaudio.app.archive_tab import archive_tab

                with gr.Tab("Archive", id="archive", render_children=True):
                    archive_tab(desks)
            with gr.Tab("Model", id="model", render_children=True):
                model_tab(settings)

        def arrived(request: gr.Request) -> str:
            return live_value(desks.of(request.session_hash), settings.labels)

        def left(request: gr.Request) -> None:
            desks.close(request.session_hash)

        blocks.load(arrived, None, live, show_progress="hidden", api_visibility="private")
        blocks.unload(left)
        api(desks)
    return blocks


def build(settings: Settings, login: str | None = None, open_to_all: bool = False) -> ASGIApp:
    """Return the server's application.

    Parameters
    ----------
    settings
        What was chosen at the start.
    login, open_to_all
        As for ``Guard``.
    """
    desks = Desks(settings)
    app = FastAPI(openapi_url=None)
    app.router.routes += routes(desks)
    theme = gr.themes.Base(
        primary_hue="indigo", neutral_hue="slate", font=_FONTS, font_mono=["ui-monospace", "monospace"]
    )
    mounted = gr.mount_gradio_app(
        app,
        page(desks, is_local=login is None and not open_to_all).queue(default_concurrency_limit=4),
        path="/",
        theme=theme,
        head=_HEAD,
        max_file_size=settings.max_bytes,
        show_error=True,
        ssr_mode=False,
        footer_links=[],
    )
    return Guard(UploadsOnly(mounted, get_upload_folder()), login, open_to_all)
