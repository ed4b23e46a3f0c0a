"""The two kinds of HTML on the page: a line that says how things stand, and a part that ``page.js`` draws."""

import gradio as gr

from zsaudio.app import text


def status(said: str, name: str) -> gr.HTML:
    """Return the line of a tab that says how things stand, first ``said``."""
    return gr.HTML(text.note(said), apply_default_css=False, elem_classes="zs-status", elem_id=name)


def drawn(function: str, name: str) -> gr.HTML:
    """Return a part that a function of ``page.js`` draws, of the JSON that is its value.

    Each part imports the script (a browser loads it once), since Gradio draws the page before a script in its
    head has come.
    """
    script = "import(new URL('zsaudio/static/page.js', document.baseURI))"
    return gr.HTML(
        "",
        html_template="<div></div>",
        js_on_load=f"{script}.then((page) => page.{function}(element, props, watch))",
        apply_default_css=False,
        elem_id=name,
    )
