"""Labels with prompts, a threshold and a background, scored both ways."""

from pathlib import Path

import zsaudio
from zsaudio import Label, LabelSet

labels = LabelSet(
    [
        Label("alarm", prompts=("a smoke alarm", "an alarm beeping"), threshold=0.5),
        Label("somebody talks", prompts=("speech", "a person speaking")),
        Label("hum", prompts=("a steady hum",), background=True),
    ]
)
clip = Path(__file__).parent / "audio" / "speech_and_smoke_alarm.flac"

recognizer = zsaudio.Recognizer(labels)

print("Is it there? Both can be:")
for tag in recognizer.tag(clip):
    print(f"  {tag.score:.2f}  {tag.label}")

print("Which one is it? The scores share one:")
for tag in recognizer.tag(clip, exclusive=True, min_score=0):
    print(f"  {tag.score:.2f}  {tag.label}")
