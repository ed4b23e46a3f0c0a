"""Print what a microphone hears, as it happens: ``python examples/microphone.py "siren, speech"``.

Needs sounddevice (``pip install sounddevice``), and on Linux the library libportaudio2.
"""

import argparse

import zsaudio

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("labels", nargs="?", default="@home")
parser.add_argument("--input", help="part of the microphone's name")
arguments = parser.parse_args()

try:
    recognizer = zsaudio.Recognizer(arguments.labels)
    source = zsaudio.microphone(arguments.input)
except zsaudio.ZsaudioError as error:  # such as no PortAudio, or no microphone
    raise SystemExit(f"microphone.py: {error}") from None
options = zsaudio.DetectionOptions.live(recognizer.model)  # early rather than exact
with source as microphone:
    print(f"listening to {microphone.name} at {microphone.sample_rate} Hz; Ctrl-C ends", flush=True)
    try:
        for event in recognizer.stream(microphone, options=options):
            clock = microphone.clock.at(event.onset)
            length_s = event.offset - event.onset
            print(f"{clock:%H:%M:%S}  {length_s:5.1f} s  {event.score:.2f}  {event.label}", flush=True)
    except KeyboardInterrupt:
        pass
print(f"{microphone.overruns} overruns")
