"""Events cut out of their recordings, as FLAC files to listen to.

A cut has the recording's own rate, and its channels where libsndfile can search in the recording; of others,
such as video files, it is the mean of the channels.
"""

import re
from pathlib import Path

from zsaudio.audio.encode import encoded
from zsaudio.audio.sources import Source
from zsaudio.audio.span import read_span
from zsaudio.files import write_atomically
from zsaudio.output.journal import writing
from zsaudio.results import ClipEvents

MARGIN_S = 0.5  # on either side of an event


def cut_events(clip: ClipEvents, source: Source, target: Path, margin_s: float = MARGIN_S) -> list[Path]:
    """Write each event of a recording into a file of its own.

    Parameters
    ----------
    clip
        The recording's events.
    source
        The recording.
    target
        What the files' names begin with; onset, offset and label follow.
    margin_s
        How much is cut out on either side of an event, in seconds.

    Returns
    -------
    paths
        The files, in the order of the events.

    Raises
    ------
    AudioError
        If the recording cannot be read.
    OutputError
        If a file cannot be written.
    """
    paths = []
    for event in clip.events:
        label = re.sub(r"[^\w-]+", "-", event.label).strip("-")[:60]
        path = target.with_name(f"{target.name}_{event.onset:.2f}-{event.offset:.2f}_{label}.flac")
        samples, rate, fine = read_span(source, event.onset - margin_s, event.offset + margin_s)
        flac = encoded(samples, rate, format="FLAC", subtype="PCM_24" if fine else "PCM_16")
        with writing(path):
            write_atomically(path, flac)
        paths.append(path)
    return paths
