import base64

import pytest

pytest.importorskip("gradio")

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from zsaudio.app.guard import Guard


async def live(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("live")
    await socket.close()


def client(login: str | None = None, base: str = "http://localhost:7860") -> TestClient:
    routes = [Route("/", lambda request: PlainTextResponse("page")), WebSocketRoute("/live", live)]
    return TestClient(Guard(Starlette(routes=routes), login), base_url=base)


def basic(login: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


@pytest.mark.parametrize("base", ["http://localhost:7860", "http://127.0.0.1", "http://[::1]:7860"])
def test_this_computer_is_let_in_and_may_load_nothing_from_elsewhere(base: str) -> None:
    answer = client(base=base).get("/")
    assert answer.text == "page"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")


@pytest.mark.parametrize(
    "base", ["http://example.org", "http://192.168.1.2:7860", "http://localhost.example.org"]
)
def test_other_hosts_are_refused(base: str) -> None:
    assert client(base=base).get("/").status_code == 403


def test_a_login_is_asked_for() -> None:
    asking = client("me:secret", "http://example.org")
    assert asking.get("/").status_code == 401
    for wrong in ("me:wrong", "you:secret", "me:secret2", ""):
        assert asking.get("/", headers=basic(wrong)).status_code == 401
    assert asking.get("/", headers={"Authorization": "Basic %%%"}).status_code == 401
    assert asking.get("/", headers=basic("me:secret")).text == "page"
    with pytest.raises(WebSocketDisconnect), asking.websocket_connect("ws://example.org/live"):
        pass


def test_another_page_may_not_use_it() -> None:
    here = client()
    with here.websocket_connect(
        "ws://localhost:7860/live", headers={"Origin": "http://localhost:7860"}
    ) as socket:
        assert socket.receive_text() == "live"
    assert here.get("/", headers={"Origin": "http://localhost:7860"}).text == "page"
    for origin in ("http://example.org", "http://localhost:8000", "null"):
        assert here.get("/", headers={"Origin": origin}).status_code == 403
        with (
            pytest.raises(WebSocketDisconnect),
            here.websocket_connect("ws://localhost:7860/live", headers={"Origin": origin}),
        ):
            pass
