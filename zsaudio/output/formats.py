"""What an output format is.

A format gives the text of one recording at a time, so that an output can grow by whole recordings or hold one
each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from zsaudio.results import ClipEvents, ClipTags

Clip = TypeVar("Clip", bound=ClipEvents | ClipTags)


@dataclass(frozen=True)
class Place:
    """Where in an output the text of a recording goes, and how it is written.

    Parameters
    ----------
    n_clips, n_items, seconds
        What stands in the output already: recordings, their events or tags, and their total length.
    clock
        Whether times of day are written too, in the formats that have room for them.
    escape
        Whether cells that a spreadsheet would take for a formula get a ``'`` in front.
    """

    n_clips: int = 0
    n_items: int = 0
    seconds: float = 0.0
    clock: bool = False
    escape: bool = True


def _nothing(place: Place) -> str:
    return ""


@dataclass(frozen=True)
class Format(Generic[Clip]):
    """How results become text.

    Parameters
    ----------
    suffix
        Suffix of a file in this format.
    write
        Returns the text of one recording.
    header, footer
        Return the first and the last text of an output.
    combines
        Whether one output can hold several recordings.
    failure
        Returns the text of a recording without results, in the formats that name it.
    """

    suffix: str
    write: Callable[[Clip, Place], str]
    header: Callable[[Place], str] = _nothing
    footer: Callable[[Place], str] = _nothing
    combines: bool = True
    failure: Callable[[Clip, Place], str] | None = None


def n_items(clip: ClipEvents | ClipTags) -> int:
    """Return the number of events or tags of a recording."""
    return len(clip.events if isinstance(clip, ClipEvents) else clip.tags)
