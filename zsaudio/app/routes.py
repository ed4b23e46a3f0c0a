"""What the page fetches beside Gradio's own: scenes, pictures of stretches, sound, downloads, live sound."""

import json
from collections.abc import Callable
from functools import partial, wraps
from importlib import resources
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from zsaudio.app.desk import Desk, Desks
from zsaudio.app.live import serve_live
from zsaudio.audio.sources import Source
from zsaudio.audio.span import read_span
from zsaudio.errors import ZsaudioError
from zsaudio.output.event_writers import EVENT_FORMATS
from zsaudio.output.formats import Place
from zsaudio.output.outputs import place_after
from zsaudio.output.overview import ScoreCurves, choose_lanes, mel_spectrogram
from zsaudio.output.report import viewer_files
from zsaudio.output.scene import opus, picture
from zsaudio.results import ClipEvents, FrameScores
from zsaudio.storage.locations import source_at

MOST_S = 600.0  # of sound in an answer
_STATIC = {"page.js": "text/javascript", "worklet.js": "text/javascript", "page.css": "text/css"}


def routes(desks: Desks) -> list[BaseRoute]:
    """Return the routes below ``/zsaudio``."""

    def on_desk(answer: Callable[[Desk, Request], Response]) -> Callable[[Request], Any]:
        """Look the desk up, answer in a thread, and put an error into plain words."""

        @wraps(answer)
        async def handle(request: Request) -> Response:
            desk = desks.get(request.path_params["desk"])
            if desk is None:
                return PlainTextResponse("this page is too old: load it again", 404)
            if request.method == "POST":
                request.state.body = await request.body()
            try:
                return await run_in_threadpool(answer, desk, request)
            except ZsaudioError as error:
                return PlainTextResponse(str(error), 400)
            except (IndexError, KeyError, ValueError):
                return PlainTextResponse("there is no such thing here", 404)

        return handle

    base = "/zsaudio/{desk}/recordings/{number:int}"
    return [
        Route("/zsaudio/static/{name}", static),
        WebSocketRoute("/zsaudio/{desk}/live", partial(serve_live, desks)),
        Route("/zsaudio/{desk}/live/events", on_desk(live_events)),
        Route("/zsaudio/{desk}/events", on_desk(events)),
        Route(f"{base}/scene", on_desk(one_scene)),
        Route(f"{base}/detail", on_desk(detail)),
        Route(f"{base}/sound", on_desk(sound)),
        Route("/zsaudio/{desk}/hits/{number:int}/sound", on_desk(hit_sound)),
        Route("/zsaudio/{desk}/hits/{number:int}/answer", on_desk(hit_answer), methods=["POST"]),
    ]


async def static(request: Request) -> Response:
    """Return a script or a style sheet."""
    name = request.path_params["name"]
    if name not in _STATIC:
        return PlainTextResponse("there is no such thing here", 404)
    text = resources.files("zsaudio.app").joinpath(name).read_text("utf-8")
    if name == "page.js":
        text = viewer_files()[0] + text
    elif name == "page.css":
        text = viewer_files()[1] + text
    return Response(text, media_type=_STATIC[name], headers={"Cache-Control": "no-cache"})


def one_scene(desk: Desk, request: Request) -> Response:
    """Return what the viewer shows of a recording."""
    return JSONResponse(desk.scene(request.path_params["number"]))


def detail(desk: Desk, request: Request) -> Response:
    """Return a finer picture of a stretch."""
    recording = desk.recordings[request.path_params["number"]]
    start, end = _span(request, recording.duration_s)
    clip = desk.find(recording)
    samples, rate, _ = read_span(recording.path, start, end)
    spectrogram = mel_spectrogram(samples.mean(axis=1), None, len(samples) / rate, rate)
    assert desk.recognizer is not None and clip is not None and recording.heard is not None
    curves = ScoreCurves()

    def within(frame: FrameScores) -> None:
        if frame.offset > start and frame.onset < end:
            curves.add(frame)

    desk.recognizer.detect_heard(recording.heard, options=desk.options, on_scores=within)
    labels = [label for label in desk.recognizer.labels if not label.background]
    lanes = choose_lanes(clip, labels, recording.curves.arrays()[1])
    return JSONResponse(picture(start, start + len(samples) / rate, curves, spectrogram, lanes))


def sound(desk: Desk, request: Request) -> Response:
    """Return the sound of a stretch."""
    recording = desk.recordings[request.path_params["number"]]
    return _opus(recording.path, *_span(request, recording.duration_s))


def hit_sound(desk: Desk, request: Request) -> Response:
    """Return the sound of a stretch that a search of the archive found, with a margin."""
    assert desk.found is not None
    match = desk.found[request.path_params["number"]]
    return _opus(
        source_at(match.clip), max(0.0, match.onset - 0.5), min(match.offset, match.onset + 60) + 0.5
    )


def hit_answer(desk: Desk, request: Request) -> Response:
    """Take what a person says of a stretch: yes, no, or nothing any more."""
    number, answer = request.path_params["number"], json.loads(request.state.body)
    assert desk.found is not None
    desk.found[number]
    if answer is None:
        desk.answers.pop(number, None)
    else:
        desk.answers[number] = bool(answer)
    return JSONResponse(len(desk.answers))


def events(desk: Desk, request: Request) -> Response:
    """Return the events of all recordings as a file; in formats that hold one recording, those of one."""
    form = EVENT_FORMATS[request.query_params["format"]]
    number = int(request.query_params["number"])
    chosen = desk.recordings if form.combines else [desk.recordings[number]]
    clips = [clip for clip in map(desk.find, chosen) if clip is not None]
    return as_file(clips, request.query_params["format"])


def live_events(desk: Desk, request: Request) -> Response:
    """Return the events that the microphone heard as a file, with times of day."""
    events = tuple(sorted(desk.live_events))
    clip = ClipEvents("microphone", desk.live_seconds, desk.live_rate, events, started=desk.live_started)
    return as_file([clip], request.query_params["format"], clock=True)


def as_file(clips: list[ClipEvents], name: str, clock: bool = False) -> Response:
    """Return events in one of the formats of ``detect``, with times of day if ``clock`` is set."""
    form, place = EVENT_FORMATS[name], Place(clock=clock)
    text = form.header(place)
    for clip in clips:
        text += form.write(clip, place)
        place = place_after(place, clip)
    text += form.footer(place)
    headers = {"Content-Disposition": f'attachment; filename="events{form.suffix}"'}
    return Response(text, media_type="text/plain; charset=utf-8", headers=headers)


def _span(request: Request, duration_s: float) -> tuple[float, float]:
    start, end = (float(request.query_params[name]) for name in ("from", "to"))
    if not 0 <= start < end:
        raise ValueError
    return start, min(end, duration_s)


def _opus(source: Source, start: float, end: float) -> Response:
    samples, rate, _ = read_span(source, start, min(end, start + MOST_S))
    return Response(opus(np.asarray(samples.mean(axis=1)), rate), media_type="audio/ogg")
