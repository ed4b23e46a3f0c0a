"""The tab *Archive*: search recordings that were indexed, hear the hits, say yes or no, learn from that."""

import json
from typing import Any

import gradio as gr

from zsaudio.app import text
from zsaudio.app.desk import Desk, Desks, parse_labels
from zsaudio.app.panels import drawn, status
from zsaudio.archive.archive import Archive
from zsaudio.archive.matches import Match
from zsaudio.archive.review import Candidate
from zsaudio.errors import OptionError, ZsaudioError
from zsaudio.output.overview import label_colour

Answer = tuple[str, str]  # the hits, and a line on the state


def archive_tab(desks: Desks) -> None:
    """Build the tab."""
    with gr.Row():
        with gr.Column(scale=1, min_width=290):
            words = gr.Textbox(label="Sounds", info="Separated by commas", elem_id="archive-words")
            like = gr.Audio(
                sources=["upload"], type="filepath", label="and like this recording", elem_id="archive-like"
            )
            number = gr.Slider(5, 100, 20, step=5, label="Hits of each label")
            search = gr.Button("Search", variant="primary", elem_id="archive-search")
            learn = gr.Button("Learn from the answers", elem_id="archive-learn")
        with gr.Column(scale=3, min_width=320):
            state = status(f"Archive: {desks.settings.archive}", "archive-state")
            hits = drawn("hits", "archive-hits")

    def searched(request: gr.Request, words: str, like: str | None, number: float) -> Answer:
        """Search the archive."""
        desk = desks.of(request.session_hash)
        try:
            return _search(desk, words, like, int(number))
        except ZsaudioError as error:
            return "", text.wrong(str(error))

    def learned(request: gr.Request, words: str, like: str | None, number: float) -> Answer:
        """Learn from the answers so far, and search again."""
        desk = desks.of(request.session_hash)
        try:
            said = _learn(desk)
            value, state = _search(desk, words, like, int(number))
        except ZsaudioError as error:
            return gr.skip(), text.wrong(str(error))
        return value, text.note(said) + state

    inputs, outputs = [words, like, number], [hits, state]
    for event in (search.click, words.submit):
        event(searched, inputs, outputs, show_progress="minimal", api_visibility="private")
    learn.click(learned, inputs, outputs, show_progress="minimal", api_visibility="private")


def _archive(desk: Desk) -> Archive:
    if desk.archive is None:
        assert desk.settings.archive is not None
        desk.archive = Archive.open(desk.settings.archive)
    return desk.archive


def _search(desk: Desk, words: str, like: str | None, number: int) -> Answer:
    archive = _archive(desk)
    labels = parse_labels(words) if words.strip() else None
    if labels is None and like is None:
        raise OptionError("name a sound, or drop a recording of one")
    vectors = [archive.embed(like)] if like else []
    found = archive.search(labels, like=vectors, k=number)
    desk.found, desk.answers = found, {}
    desk.version += 1
    order = list(dict.fromkeys(match.label for match in found))
    root = archive.root.rstrip("/") + "/"
    hits = [_hit(match, label_colour(order.index(match.label)), root) for match in found]
    value = json.dumps({"desk": desk.key, "version": desk.version, "hits": hits})
    line = f"{len(found)} hits in {len(archive)} recordings, best first. Say yes or no to what you hear."
    return value, text.note(line) + text.wrong(*found.problems)


def _hit(match: Match, colour: str, root: str) -> dict[str, Any]:
    when = f"{int(match.onset) // 60}:{match.onset % 60:04.1f}"
    if match.time is not None:
        when = f"{match.time:%Y-%m-%d %H:%M:%S}"
    return {
        "label": match.label,
        "colour": colour,
        "score": match.score,
        "clip": match.clip.removeprefix(root),
        "when": when,
    }


def _learn(desk: Desk) -> str:
    """Take the answers of now to those of before, and let a model learn from all."""
    archive = _archive(desk)
    if desk.found is not None:
        desk.judged = [
            Candidate(match.clip, match.onset, match.offset, match.label, match.score, "best", answer)
            for match, answer in ((desk.found[number], answer) for number, answer in desk.answers.items())
        ]
    if not desk.judged:
        raise OptionError("nothing is answered: say yes or no to some hits")
    adapted = archive.adapt(desk.judged)
    desk.archive = Archive.open(str(desk.settings.archive), model=adapted)
    n_yes = sum(each.answer is True for each in desk.judged)
    desk.judged = []
    return f"Learned from {n_yes} yes and {len(desk.answers) - n_yes} no."
