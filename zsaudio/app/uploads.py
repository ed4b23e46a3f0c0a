"""Only files that were uploaded may be named in what a page sends.

Gradio checks that itself where it runs its own server, but not where it is mounted into another one, as here
(6.31: ``processing_utils._check_allowed`` returns early where ``Blocks.launch`` was not called).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 2**20  # of a message that is no upload


class UploadsOnly:
    """Middleware that refuses messages to Gradio that name other files, or addresses.

    Parameters
    ----------
    app
        What it guards.
    folder
        Where uploads are.
    """

    def __init__(self, app: ASGIApp, folder: str) -> None:
        self._app, self._folder = app, Path(folder).resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a message on, or refuse it."""
        if scope["type"] != "http" or scope["method"] != "POST" or not _is_for_gradio(scope["path"]):
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more and len(body) <= MOST_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if more or not self._is_allowed(body):
            await PlainTextResponse("only files that were uploaded can be used", 403)(scope, receive, send)
            return
        sent = False

        async def again() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)

    def _is_allowed(self, body: bytes) -> bool:
        try:
            found = list(_paths(json.loads(body or b"null")))
        except (ValueError, RecursionError):
            return False
        return all(
            isinstance(path, str) and "://" not in path and Path(path).resolve().is_relative_to(self._folder)
            for path in found
        )


def _is_for_gradio(path: str) -> bool:
    """Return whether JSON is expected: everything but an upload itself."""
    return "/gradio_api/" in path and not path.rstrip("/").endswith("/upload")


def _paths(data: Any) -> Iterator[Any]:
    """Yield what the values of a message name as a file."""
    if isinstance(data, dict):
        if "path" in data:
            yield data["path"]
        for value in data.values():
            yield from _paths(value)
    elif isinstance(data, list):
        for value in data:
            yield from _paths(value)
