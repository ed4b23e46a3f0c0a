"""Tag recordings: ``python examples/tag_files.py [FILE ...]``."""

import sys
from pathlib import Path

import zsaudio

paths = [Path(name) for name in sys.argv[1:]] or sorted((Path(__file__).parent / "audio").iterdir())
recognizer = zsaudio.Recognizer(["speech", "smoke alarm", "siren", "piano", "trumpet", "dog barking"])

for clip in recognizer.tag_batch(paths, top_k=2):
    if clip.error is not None:
        print(clip.error, file=sys.stderr)
    if clip.tags:  # a damaged recording has both, the tags of the part that can be decoded
        heard = ", ".join(f"{tag.label} {tag.score:.2f}" for tag in clip.tags)
        print(f"{Path(clip.clip).name:<30} {heard}")
