"""Spoken words and sounds, in one pass: labels that start with "keyword:" are what somebody says."""

from pathlib import Path

import zsaudio

recognizer = zsaudio.Recognizer(
    [
        "smoke alarm",
        "speech",
        "keyword: good evening",
        "keyword: neighbours",
        "keyword: good morning",
        "keyword: parcel /p ɑː s ə l/",  # a pronunciation by hand, as for a name that no dictionary has
    ]
)
clip = Path(__file__).parent / "audio" / "speech_and_smoke_alarm.flac"

print("Is it there?")
for tag in recognizer.tag(clip):
    print(f"  {tag.score:.2f}  {tag.label}")

print("From when to when?")
for event in recognizer.detect(clip):
    print(f"  {event.onset:.2f} to {event.offset:.2f} s  {event.label}")
