"""Recordings as one page of HTML that needs nothing else: spectrograms, scores, and events to hear.

The page makes no request: its policy forbids them, and allows only the script that it was written with.
Labels and names reach it as data, never as HTML.
"""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src '{digest}'; style-src 'unsafe-inline'; media-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main><h1>{title}</h1></main>
<script type="application/json" id="scenes">{data}</script>
<script>{script}</script>
</body>
</html>
"""
_STYLE = """
body { margin: 0; background: #f1f3f7; color: #1d2433; }
body.dark { background: #101217; color: #e6e9f0; }
main { max-width: 1180px; margin: 0 auto; padding: 20px 16px 8px; }
h1 { font: 600 15px system-ui, sans-serif; margin: 0 4px 12px; opacity: .65; overflow-wrap: anywhere; }
@media (max-width: 560px) { main { padding: 14px 8px; } }
"""
_SCRIPT = """
const darkness = matchMedia("(prefers-color-scheme: dark)");
const darken = () => document.body.classList.toggle("dark", darkness.matches);
darken();
darkness.addEventListener("change", darken);
for (const scene of JSON.parse(document.getElementById("scenes").textContent)) {
  const place = document.createElement("div");
  document.querySelector("main").append(place);
  new ZsViewer(place, scene);
}
"""


def viewer_files() -> tuple[str, str]:
    """Return script and style sheet of the viewer."""
    folder = resources.files("zsaudio.output")
    return folder.joinpath("viewer.js").read_text("utf-8"), folder.joinpath("viewer.css").read_text("utf-8")


def report_page(scenes: Sequence[dict[str, Any]], title: str) -> str:
    """Return the page for recordings, each as ``scene`` describes it."""
    viewer, style = viewer_files()
    script = viewer + _SCRIPT
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = json.dumps(scenes, ensure_ascii=True).replace("<", "\\u003c")  # no tag can end the element
    return _PAGE.format(
        digest=f"sha256-{digest}", title=html.escape(title), style=style + _STYLE, data=data, script=script
    )
