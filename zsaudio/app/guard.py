"""Who may use the server, and what its pages may load: checked before anything else.

Open to this computer only, the server asks for no password. It refuses what another page in the browser may
send to it: requests from another origin, and those to a host that is not this computer (DNS rebinding).
Open to a network, it asks for a user and a password. In any case a policy keeps its pages from loading
anything from elsewhere.
"""

import base64
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOCAL = ("127.0.0.1", "localhost", "::1")
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: blob:; "
    "frame-ancestors 'self' https://huggingface.co; object-src 'none'; base-uri 'self'; form-action 'self'"
)


@dataclass
class Guard:
    """Middleware around the whole server.

    Parameters
    ----------
    app
        What it guards.
    login
        ``user:password``; None: none is asked, and only this computer is let in.
    open_to_all
        Let everybody in without a login, as where another server stands before this one.
    """

    app: ASGIApp
    login: str | None = None
    open_to_all: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on what is allowed."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        status, text, more = self._refusal(headers)
        if status:
            refuse = (
                WebSocketClose(1008)
                if scope["type"] == "websocket"
                else PlainTextResponse(text, status, more)
            )
            await refuse(scope, receive, send)
            return

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = POLICY
                MutableHeaders(scope=message)["X-Content-Type-Options"] = "nosniff"
                MutableHeaders(scope=message)["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self.app(scope, receive, with_policy)

    def _refusal(self, headers: Headers) -> tuple[int, str, dict[str, str]]:
        """Return status, text and headers of a refusal; status 0: let it pass."""
        host = headers.get("host", "")
        if "origin" in headers and urlsplit(headers["origin"]).netloc != host:
            return 403, "other pages may not use this one", {}
        if self.login is not None:
            if not _is(headers.get("authorization", ""), self.login):
                return 401, "a user and a password are needed", {"WWW-Authenticate": 'Basic realm="zsaudio"'}
        elif not self.open_to_all and urlsplit(f"//{host}").hostname not in LOCAL:
            return 403, "only this computer is let in", {}
        return 0, "", {}


def _is(header: str, login: str) -> bool:
    scheme, _, given = header.partition(" ")
    try:
        text = base64.b64decode(given, validate=True)
    except ValueError:
        return False
    return scheme.lower() == "basic" and secrets.compare_digest(text, login.encode())
