"""Live sound from a browser: blocks come over a WebSocket, scores and events go back.

The page sends a JSON text ``{"rate", "labels", "threshold", "sensitivity"}`` first, and again when they
change, ``{"end": true}`` in the end. Binary messages are blocks: the number of the first sample as a
float64, and the samples as float32, little-endian. Numbers that leave a gap tell of sound that the browser
lost. Sound that the models have no time for is dropped, and counted too.
"""

import asyncio
import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from zsaudio.app.desk import Desk, Desks, parse_labels
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.errors import AudioError, ZsaudioError
from zsaudio.output.overview import label_colour
from zsaudio.results import Event, FrameScores

if TYPE_CHECKING:
    from zsaudio.detection.events import EventSession

WAITING_S = 5.0  # of sound that may wait for the models
MOST_BLOCK_S = 1.0  # that goes through the models at a time
MOST_EVENTS = 20_000  # that are kept for a download
SILENCE_DB = -90.0


@dataclass
class Stream:
    """Live sound on its way from one browser through the models."""

    desk: Desk
    rate: int = 0
    session: "EventSession | None" = None
    names: list[str] = field(default_factory=list)
    shift_s: float = 0.0  # how much sound earlier sessions took
    before_s: float = 0.0  # when the first sample of the session was, as far as it is known
    taken_s: float = 0.0
    lost_s: float = 0.0
    next_sample: float | None = None
    waiting: deque[tuple[np.ndarray, float]] = field(default_factory=deque)  # with what was lost before
    waiting_s: float = 0.0
    frames: list[FrameScores] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    config: dict[str, Any] | None = None
    over: bool = False

    def receive(self, message: bytes) -> None:
        """Take a block from the browser.

        Raises
        ------
        AudioError
            If it is not one.
        """
        if len(message) % 4 or len(message) < 8 or not self.rate:
            raise AudioError("the browser sent something that is no sound")
        first = float(np.frombuffer(message[:8], "<f8")[0])
        block = np.nan_to_num(np.frombuffer(message[8:], "<f4")).astype(np.float32)
        if self.next_sample is not None and first > self.next_sample:
            self.lost_s += min(first - self.next_sample, 3600 * self.rate) / self.rate
        self.next_sample = first + len(block)
        seconds = len(block) / self.rate
        if self.waiting_s + seconds > WAITING_S:
            self.lost_s += seconds
            return
        self.waiting.append((block, self.lost_s))
        self.waiting_s += seconds
        self.news.set()

    def configure(self, config: dict[str, Any]) -> dict[str, Any]:
        """Begin a session with other labels or options; return what the page needs to know of them."""
        recognizer = self.desk.settings.load(parse_labels(str(config["labels"])))
        options = DetectionOptions.live(
            recognizer.model,
            threshold=float(config["threshold"]),
            sensitivity=float(config["sensitivity"]),
        )
        self.rate = int(config["rate"])
        self.session = recognizer.session(self.rate, options=options, on_scores=self.frames.append)
        self.shift_s = self.taken_s
        labels = [label for label in recognizer.labels if not label.background]
        thresholds, _ = options.thresholds(labels)
        self.names = [label.name for label in labels]
        return {
            "labels": [
                {"name": label.name, "colour": label_colour(number), "threshold": float(thresholds[number])}
                for number, label in enumerate(labels)
            ]
        }

    def step(self) -> dict[str, Any]:
        """Let the models hear what waits; return the news for the page."""
        assert self.session is not None
        blocks, seconds = [], 0.0
        while self.waiting and seconds < MOST_BLOCK_S:
            block, lost_s = self.waiting.popleft()
            blocks.append(block)
            seconds += len(blocks[-1]) / self.rate
        self.waiting_s = max(0.0, self.waiting_s - seconds)
        block = np.concatenate(blocks)
        self.taken_s += seconds
        self.before_s = self.shift_s + lost_s  # times count what was lost, too
        self.frames.clear()
        events = self.session.push(block)
        level = float(10 * np.log10(max(np.square(block, dtype=np.float64).mean(), 1e-9)))
        news: dict[str, Any] = {
            "level": max(SILENCE_DB, level),
            "lost": round(self.lost_s, 2),
            "waiting": round(self.waiting_s, 2),
            "events": self.keep(events),
        }
        if self.frames:
            scores = np.max([frame.scores for frame in self.frames], axis=0)
            heard = np.any([frame.heard for frame in self.frames], axis=0)
            news |= {
                "at": self.before_s + self.frames[-1].offset,
                "scores": np.round(scores, 3).tolist(),
                "heard": heard.tolist(),
            }
        return news

    def keep(self, events: list[Event]) -> list[list[Any]]:
        """Keep events for a download; return them for the page."""
        kept = [
            Event(event.onset + self.before_s, event.offset + self.before_s, event.label, event.score)
            for event in events
        ]
        self.desk.live_events += kept
        del self.desk.live_events[:-MOST_EVENTS]
        self.desk.live_rate, self.desk.live_seconds = self.rate, self.taken_s
        return [
            [round(event.onset, 2), round(event.offset, 2), self.names.index(event.label), event.score]
            for event in kept
        ]


async def serve_live(desks: Desks, socket: WebSocket) -> None:
    """Hear one browser until it leaves."""
    desk = desks.get(socket.path_params["desk"])
    await socket.accept()
    if desk is None:
        await socket.send_json({"error": "this page is too old: load it again"})
        await socket.close()
        return
    stream = Stream(desk)
    desk.live_events, desk.live_started = [], datetime.now()
    worker = asyncio.create_task(_work(stream, socket))
    try:
        while not worker.done():
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                break
            if message.get("text") is not None:
                stream.config = json.loads(message["text"])
                stream.over = stream.config == {"end": True}
                stream.news.set()
            elif stream.rate:
                stream.receive(message["bytes"])
    except (AudioError, ValueError, WebSocketDisconnect):
        pass
    finally:
        if not stream.over:
            worker.cancel()
        with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
            await worker


async def _work(stream: Stream, socket: WebSocket) -> None:
    """Run the models on what comes, and send the news; end with a plain message where that cannot go on."""
    try:
        while True:
            if stream.config is None and not stream.waiting:
                stream.news.clear()
                await stream.news.wait()
            if stream.config is not None:
                config, stream.config = stream.config, None
                if stream.over:
                    break
                if stream.session is not None:
                    await _finish(stream, socket)
                await socket.send_json(await run_in_threadpool(stream.configure, config))
            elif stream.session is not None and stream.waiting:
                await socket.send_json(await run_in_threadpool(stream.step))
        if stream.session is not None:
            await _finish(stream, socket)
        await socket.close()
    except ZsaudioError as error:
        await socket.send_json({"error": str(error)})
        await socket.close()
    except (KeyError, TypeError, ValueError):
        await socket.send_json({"error": "the page sent something that is no setting"})
        await socket.close()


async def _finish(stream: Stream, socket: WebSocket) -> None:
    """End a session, and send its last events."""
    assert stream.session is not None
    events = stream.keep(await run_in_threadpool(stream.session.flush))
    stream.session = None
    await socket.send_json({"events": events})
