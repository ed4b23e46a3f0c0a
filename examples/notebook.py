"""A recording in a notebook: tables, a figure, and the audio of an event.

The parts that start with ``# %%`` are the cells of a notebook: VS Code and Spyder run them one by one, and
jupytext makes a notebook of them. Needs the extras ``pandas`` and ``plot``; the audio is played if there is
IPython.
"""

# %% The best tags of a clip: a notebook shows them as a table
from pathlib import Path

import zsaudio

recognizer = zsaudio.Recognizer(["speech", "smoke alarm", "siren", "keyword: good evening"])
clip = Path(__file__).parent / "audio" / "speech_and_smoke_alarm.flac"
recognizer.tag(clip)

# %% Its events as a DataFrame
events = recognizer.detect(clip)
frame = events.to_frame()
print(frame[["onset", "offset", "label", "score"]].round(2).to_string(index=False))

# %% Spectrogram, scores over time and events
recognizer.plot(clip)

# %% The audio of one event, with half a second on either side
samples, rate = events[0].clip(clip, margin_s=0.5)
print(f"{events[0].label}: {len(samples) / rate:.2f} s at {rate} Hz")
try:
    from IPython.display import Audio, display
except ImportError:
    pass
else:
    display(Audio(samples, rate=rate))

# %% Other labels, with the same models
others = recognizer.with_labels(["alarm clock", "doorbell", "fire alarm"])
print(others.tag(clip, exclusive=True))
