"""``zsaudio app``: recordings, live sound, archives and models on a page in the browser."""

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zsaudio.cli import common
from zsaudio.errors import MissingExtraError, OptionError, ZsaudioError, install_command

if TYPE_CHECKING:
    from zsaudio.labels import LabelSet
    from zsaudio.recognizer import Recognizer

_PAGE = "Page"
_USER, _PASSWORD = "ZSAUDIO_USER", "ZSAUDIO_PASSWORD"
_LOCAL = ("127.0.0.1", "localhost", "::1")


def browser(
    labels: common.Labels = None,
    labels_file: common.LabelsFile = None,
    model: common.ModelName = "nano",
    keyword_model: common.KeywordModel = "nano-keyword",
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="A folder whose recordings can be opened without an upload.",
            rich_help_panel=common.INPUT,
        ),
    ] = None,
    archive: Annotated[
        str | None,
        typer.Option("--archive", metavar="DIR", help="An archive to search.", rich_help_panel=common.INPUT),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help=f"Address to listen on; but for this computer's own it needs {_USER} and {_PASSWORD} in the "
            "environment.",
            rich_help_panel=_PAGE,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65_535, help="0: any.", rich_help_panel=_PAGE)
    ] = 7860,
    max_mb: Annotated[
        int,
        typer.Option("--max-mb", metavar="N", min=1, help="Largest upload.", rich_help_panel=_PAGE),
    ] = 500,
    max_hours: Annotated[
        float,
        typer.Option(
            "--max-hours",
            metavar="N",
            min=0.01,
            help="Most hours of recordings that a person opens together.",
            rich_help_panel=_PAGE,
        ),
    ] = 6.0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.", rich_help_panel=_PAGE)
    ] = True,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Open a page to drop recordings on, listen with a microphone, and search an archive.

    Example: zsaudio app --labels "dog barking, siren" --folder recordings/
    """
    common.set_verbosity(verbose, quiet)
    label_set = common.read_labels(labels, labels_file, None, common.EVERYDAY)
    login = _login(host)
    if folder is not None and not folder.is_dir():
        raise OptionError(f"--folder {folder}: is not a folder")
    try:
        import uvicorn

        from zsaudio.app.desk import Settings
        from zsaudio.app.server import build
    except ImportError as error:
        if isinstance(error, MissingExtraError):
            raise
        raise MissingExtraError(f"the page needs Gradio: {install_command('app')}") from error
    if archive is not None:
        from zsaudio.archive.archive import Archive

        Archive.open(archive)
    load = Loader(label_set, model, keyword_model, device, dtype)
    settings = Settings(
        labels=label_text(label_set, labels),
        load=load,
        model=model,
        keyword_model=keyword_model,
        folder=folder,
        archive=archive,
        max_bytes=max_mb * 2**20,
        max_hours=max_hours,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            build(settings, login),
            host=host,
            port=port,
            log_level="info" if verbose else "warning",
            timeout_graceful_shutdown=1,
        )
    )
    sockets = [server.config.bind_socket()]
    sockets[0].listen()  # a browser that comes at once waits, and is not turned away
    failed: list[ZsaudioError] = []

    def load_first() -> None:
        try:
            load.first()
        except ZsaudioError as error:
            failed.append(error)
            server.should_exit = True

    threading.Thread(target=load_first, daemon=True).start()  # while the browser loads the page
    address = f"http://{'localhost' if host in _LOCAL else host}:{sockets[0].getsockname()[1]}"
    common.message(f"{address} (Ctrl-C ends it)")
    if open_browser:
        import webbrowser

        threading.Timer(0.5, webbrowser.open, [address]).start()
    server.run(sockets)
    if failed:
        raise failed[0]


class Loader:
    """Gives recognisers for labels; the models are loaded once, by the first of several threads."""

    def __init__(self, labels: "LabelSet", model: str, keyword_model: str, device: str, dtype: str) -> None:
        self._labels = labels
        self._model, self._keyword_model, self._device, self._dtype = model, keyword_model, device, dtype
        self._lock = threading.Lock()
        self._first: Recognizer | None = None

    def first(self) -> "Recognizer":
        """Return the recogniser for the labels that were given at the start."""
        with self._lock:
            if self._first is None:
                from zsaudio.recognizer import Recognizer

                self._first = Recognizer(
                    self._labels,
                    self._model,
                    keyword_model=self._keyword_model,
                    device=self._device,
                    dtype=self._dtype,
                )
            return self._first

    def __call__(self, labels: "LabelSet") -> "Recognizer":
        """Return a recogniser for labels."""
        return self.first().with_labels(labels)


def label_text(labels: "LabelSet", typed: list[str] | None) -> str:
    """Return labels as a person would type them."""
    if typed:
        return ", ".join(typed)
    names = [label.name for label in labels]
    return (
        ", ".join(f'"{name}"' if "," in name else name for name in names)
        if len(names) <= 60
        else common.EVERYDAY
    )


def _login(host: str) -> str | None:
    """Return the login that a page open to others asks for, from the environment."""
    user, password = os.environ.get(_USER, ""), os.environ.get(_PASSWORD, "")
    if user and password:
        return f"{user}:{password}"
    if host in _LOCAL:
        return None
    raise OptionError(
        f"--host {host} opens the page to others: set {_USER} and {_PASSWORD} in the environment"
    )
