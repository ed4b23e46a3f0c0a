"""``zsaudio app``, before its page is built."""

import sys
from pathlib import Path

import pytest
from conftest import Run


def test_others_are_let_in_by_a_login_only(zs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZSAUDIO_USER", raising=False)
    monkeypatch.setenv("ZSAUDIO_PASSWORD", "secret")
    ran = zs("app", "--host", "0.0.0.0", "--no-open")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == [
        "zsaudio: --host 0.0.0.0 opens the page to others: set ZSAUDIO_USER and ZSAUDIO_PASSWORD in the "
        "environment"
    ]


def test_the_folder_must_be_one(zs: Run, tmp_path: Path) -> None:
    ran = zs("app", "--folder", "none", "--no-open")
    assert (ran.code, ran.err) == (2, ["zsaudio: --folder none: is not a folder"])


def test_without_gradio_a_line_says_what_to_install(zs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zsaudio.app.server", None)
    ran = zs("app", "--no-open")
    assert ran.code == 2
    assert ran.err[0].startswith("zsaudio: the page needs Gradio: pip install ")


def test_a_model_that_cannot_be_loaded_ends_the_page(zs: Run) -> None:
    pytest.importorskip("gradio")
    ran = zs("app", "--model", "nope", "--no-open", "--port", "0")
    assert ran.code == 2
    assert next(line for line in ran.err if "localhost" not in line).startswith(
        "zsaudio: unknown model 'nope'; known are nano"
    )
