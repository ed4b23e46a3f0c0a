"""``python -m zsaudio``."""

from zsaudio.cli import main

main()
