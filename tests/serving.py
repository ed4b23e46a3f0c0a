"""The server of a page, in a thread of the tests."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zsaudio.app.desk import Settings


@contextmanager
def serving(settings: Settings, login: str | None = None) -> Iterator[str]:
    """Give the address of a server."""
    import uvicorn

    from zsaudio.app.server import build

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(build(settings, login), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.1)
    yield f"http://localhost:{port}"
    server.should_exit = server.force_exit = True
    thread.join(20)
