"""Checkpoints by their Hugging Face id, without a network."""

import json
import logging
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from zsaudio.errors import ModelError
from zsaudio.models.checkpoint import read_config


def test_what_is_in_the_cache_is_read_without_asking_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clap"}))
    asked = []

    def download(source: str, name: str, **options: Any) -> str:
        asked.append((source, name, options))
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert read_config("some/model") == {"model_type": "clap"}
    assert asked == [("some/model", "config.json", {"local_files_only": True})]


def test_without_a_connection_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def download(source: str, name: str, local_files_only: bool = False) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        logging.getLogger("huggingface_hub.utils").warning("Retrying in 1s")
        raise OSError("no route to host\nmore")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(ModelError, match=r"'some/model' is neither.*\(no route to host\): check the name"):
        read_config("some/model")
    assert caplog.messages == []  # what the hub's library says of every attempt is left out
