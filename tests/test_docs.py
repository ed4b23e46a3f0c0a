"""The commands and the Python of the documents work, and print what the documents say."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.core
import typer.main

from zsaudio import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The commands of zsaudio in a page, without what is piped into them."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    code = "\n".join(blocks(text, "sh") + blocks(text, "console"))
    return re.findall(r"^(?:\$ |.* \| )?(zsaudio .*)", code, flags=re.MULTILINE) + re.findall(
        r"^    (zsaudio .*)", text, flags=re.MULTILINE
    )


@pytest.mark.parametrize(
    "command", [pytest.param(c, id=f"{page.name}: {c[:50]}") for page in PAGES for c in commands(page)]
)
def test_commands_can_be_parsed(command: str) -> None:
    name, *arguments = shlex.split(command, comments=True)
    root = typer.main.get_command(cli.app)
    assert isinstance(root, typer.core.TyperGroup)
    context = root.make_context(name, list(arguments))
    _, subcommand, rest = root.resolve_command(context, arguments)
    assert subcommand is not None
    subcommand.make_context(subcommand.name, rest, parent=context)


def masked(text: str) -> list[list[str]]:
    """Lines without the digits and bars of scores, which differ a little from computer to computer."""
    return [re.sub(r"\d", "0", line.replace("█", "")).split() for line in text.splitlines()]


@pytest.mark.parametrize("block", blocks(README, "console"))
def test_commands_print_what_the_readme_shows(block: str) -> None:
    command, _, expected = block.removeprefix("$ ").partition("\n")
    arguments = [sys.executable, "-m", *shlex.split(command)]
    ran = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8")
    assert masked(ran.stdout) == masked(expected)


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_python_runs(page: str) -> None:
    """The examples that are whole programs: those with an import."""
    for code in blocks((ROOT / page).read_text(encoding="utf-8"), "python"):
        if code.startswith("import zsaudio"):
            command = [sys.executable, "-c", code]
            ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            assert "smoke alarm" in ran.stdout
