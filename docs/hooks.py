"""For MkDocs: pages from elsewhere in the repository, the reference, and links that work in both places.

The pages in ``docs/`` are written for GitHub: their links are relative to the file. On the site, some of what
they link to is a page (``PAGES``); the rest (code) is not there, so those links go to the repository.

The reference is made from the command line's own help and from the public names of ``zsaudio``.
"""

import posixpath
import re
from pathlib import Path

import typer.cli
import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import zsaudio
import zsaudio.cli

ROOT = Path(__file__).parents[1]
PAGES = {  # file in the repository, page on the site
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/README.md": "examples.md",
    "training/README.md": "training.md",
    "zsaudio/models/weights/nano/MODEL_CARD.md": "nano.md",
    "zsaudio/models/weights/nano-keyword/MODEL_CARD.md": "nano-keyword.md",
}
SECTIONS = {  # of the Python reference: the first part of a name's module, and what the section is called
    "recognizer": "Recognizer",
    "results": "Results",
    "labels": "Labels",
    "audio": "Audio",
    "detection": "Events",
    "models": "Models",
    "evaluation": "Evaluation",
    "learning": "Learning",
    "listening": "Listening",
    "archive": "Archives",
    "description": "Descriptions",
    "errors": "Errors",
}
for _module in zsaudio._HOME.values():  # a part that is not named here is called as it is in the package
    SECTIONS.setdefault(_module.split(".")[0], _module.split(".")[0].capitalize())
ALSO = {"models": ["models.base"]}  # without a public name
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)")  # to a file: its target, without the fragment


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages of the reference."""
    pages = [
        "reference/command-line.md",
        *(f"reference/{section}.md" for section in SECTIONS if public(section)),
    ]
    (entry,) = [entry for entry in config.nav or [] if "Reference" in entry]
    entry["Reference"] = pages
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in ``docs/``."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "reference/command-line.md", content=command_line()))
    for section, title in SECTIONS.items():
        if names := public(section):
            content = "\n\n".join([f"# {title}", *(f"::: zsaudio.{name}" for name in names)])
            files.append(File.generated(config, f"reference/{section}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    here = next((source for source, name in PAGES.items() if name == page.file.src_uri), None)
    here = here or f"docs/{page.file.src_uri}"
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]

    def rewrite(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), match[2]))
        name = PAGES.get(target, target.removeprefix("docs/"))
        if files.get_file_from_path(name):
            link = posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or ".")
        elif (ROOT / target).exists():
            link = f"{config.repo_url}/blob/main/{target}"
        else:
            link = match[2]  # broken: --strict says so
        return match[1] + link

    return LINK.sub(rewrite, markdown)


def command_line() -> str:
    """Return a page of all commands with their options, as ``--help`` prints them."""
    command = typer.main.get_command(zsaudio.cli.app)
    text = typer.cli.get_docs_for_click(
        obj=command, ctx=typer.Context(command), name="zsaudio", title="Command line"
    )
    text = re.sub(
        r"\*\*Commands\*\*:\n\n(\* .*\n)+", "", text
    )  # cut off in the middle; the table of contents has them
    return re.sub(r"^\* `--help`: .*\n", "", text, flags=re.MULTILINE)


def public(section: str) -> list[str]:
    """Return the public names whose modules are in one part of the package, and what else belongs to them."""
    names = [name for name, module in zsaudio._HOME.items() if module.split(".")[0] == section]
    return [*names, *ALSO.get(section, ())] if names else []
