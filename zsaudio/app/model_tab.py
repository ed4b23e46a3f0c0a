"""The tab *Model*: which models listen, what they know of each label, and the card of the bundled one."""

from html import escape
from importlib import resources

import gradio as gr

from zsaudio.app import text
from zsaudio.app.desk import Settings, parse_labels
from zsaudio.errors import ZsaudioError
from zsaudio.models.known_names import Placed, place_labels
from zsaudio.models.registry import MODELS


def model_tab(settings: Settings) -> None:
    """Build the tab."""
    labels = gr.Textbox(settings.labels, label="Labels", lines=2, elem_id="model-labels")
    check = gr.Button("What does the model know of these?", elem_id="model-check")
    known = gr.HTML("", apply_default_css=False, elem_classes="zs-model", elem_id="model-known")
    gr.HTML(_about(settings), apply_default_css=False, elem_classes="zs-model")
    if settings.model == "nano":
        card = resources.files("zsaudio.models").joinpath("weights/nano/MODEL_CARD.md").read_text("utf-8")
        with gr.Accordion("Model card of nano", open=False):
            gr.Markdown(card.split("---", 2)[-1] if card.startswith("---") else card)

    def checked(labels: str) -> str:
        """Return where labels stand among the names that the model knows."""
        try:
            recognizer = settings.load(parse_labels(labels))
        except ZsaudioError as error:
            return text.wrong(str(error))
        sounds = [label for label in recognizer.labels if not label.is_keyword]
        if recognizer.model is None:
            return text.note("Spoken keywords need no known names: any English words can be one.")
        placed = place_labels(recognizer.model, sounds)
        if placed is None:
            return text.note(
                f"{recognizer.model.name} learned from sentences, not from a list of names: "
                "it scores any label, and the scores tell how well one is heard."
            )
        return _table(placed)

    check.click(checked, labels, known, api_visibility="private")


def _about(settings: Settings) -> str:
    rows = []
    for name in (settings.model, settings.keyword_model):
        info = MODELS.get(name)
        cells = (name, info.good_at, info.size, info.licence) if info else (name, "of your own", "", "")
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "<tr><th>Model</th><th>Good at</th><th>Size</th><th>Licence</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _table(placed: list[Placed]) -> str:
    rows = []
    for each in placed:
        nearest = ", ".join(f"{name} ({similarity:.2f})" for name, similarity in each.nearest)
        verdict = '<td class="zs-guess">guess</td>' if each.is_guess else "<td>known</td>"
        rows.append(f"<tr><td>{escape(each.label)}</td>{verdict}<td>{escape(nearest)}</td></tr>")
    return f"<table><tr><th>Label</th><th></th><th>Nearest known names</th></tr>{''.join(rows)}</table>"
