"""``python -m zsaudio``."""

from zsaudio.cli import run

run()
