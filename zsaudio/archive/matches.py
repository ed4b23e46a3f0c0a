"""What a search finds, as frozen dataclasses; and which stretches are searched at all."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from zsaudio.archive.shards import Shard
from zsaudio.errors import OptionError
from zsaudio.results import ClipEvents, Event
from zsaudio.tables import Table

if TYPE_CHECKING:
    import pandas as pd

GROUPINGS = ("hour", "day", "month", "recording")


@dataclass(frozen=True)
class Match:
    """A stretch of a recording that a search found.

    Parameters
    ----------
    label
        The label that it was found for.
    score
        Its peak, in [0, 1].
    clip
        Path of the recording.
    onset, offset
        Seconds from the start of the recording.
    peak
        Where the score is highest, in seconds from the start; of a keyword, where it ends.
    time
        When it was, where the time at which the recording began is known.
    loudness
        Root mean square of its loudest part, in dB of full scale.
    duration_s, sample_rate
        Of the recording: its length, and its rate in Hz.
    """

    label: str
    score: float
    clip: str
    onset: float
    offset: float
    peak: float
    time: datetime | None
    loudness: float
    duration_s: float = field(repr=False, default=0.0)
    sample_rate: int = field(repr=False, default=0)
    started: datetime | None = field(repr=False, default=None)

    @classmethod
    def of(
        cls, event: Event, peak: float, shard: Shard, number: int, path_of: Callable[[str], str]
    ) -> "Match":
        """Return an event in a recording of a shard as a match; ``path_of`` says where the recording is."""
        recording = shard.recordings[number]
        rows = slice(shard.starts[number], shard.starts[number + 1])
        first = min(int(np.searchsorted(shard.offsets[rows], event.onset, "right")), recording.n_rows - 1)
        end = max(int(np.searchsorted(shard.onsets[rows], event.offset)), first + 1)
        started = datetime.fromisoformat(recording.started) if recording.started else None
        return cls(
            event.label,
            event.score,
            path_of(recording.path),
            event.onset,
            event.offset,
            peak,
            started + timedelta(seconds=event.onset) if started else None,
            float(shard.loudness[rows][first:end].max()),
            recording.duration_s,
            recording.sample_rate,
            started,
        )


@dataclass(frozen=True)
class Matches(Sequence[Match], Table):
    """The matches of a search: those of the first label, best first, then those of the next.

    A notebook shows them as a table, and ``to_frame()`` returns one. ``problems`` holds one line for each
    part of the archive that could not be searched.
    """

    matches: tuple[Match, ...] = ()
    problems: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Match: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Match, ...]: ...
    def __getitem__(self, index: int | slice) -> Match | tuple[Match, ...]:
        """Return a match, or several."""
        return self.matches[index]

    def __len__(self) -> int:
        """Return the number of matches."""
        return len(self.matches)

    def _columns(self) -> Sequence[str]:
        return list(Match.__dataclass_fields__)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        return map(astuple, self.matches)

    def ranked(self) -> Iterator[ClipEvents]:
        """Yield each match as the events of its recording, best first."""
        for match in sorted(self.matches, key=lambda match: -match.score):
            yield _clip([match])

    def by_clip(self) -> Iterator[ClipEvents]:
        """Yield each recording once, with its events by onset; that with the best match first."""
        clips: dict[str, list[Match]] = {}
        for match in sorted(self.matches, key=lambda match: -match.score):
            clips.setdefault(match.clip, []).append(match)
        yield from map(_clip, clips.values())


@dataclass(frozen=True)
class Count:
    """How many events of a label there are in a group: an hour of the day, a day, a month or a recording."""

    label: str
    group: str
    n_events: int
    seconds: float


@dataclass(frozen=True)
class Counts(Sequence[Count], Table):
    """A table of counts; see ``Matches`` for ``problems``."""

    counts: tuple[Count, ...] = ()
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, matches: Matches, by: str, labels: Sequence[str]) -> "Counts":
        """Count matches by label, in the order of ``labels``, and by one of ``GROUPINGS``."""
        totals: dict[tuple[str, str], tuple[int, float]] = {}
        for match in matches:
            key = match.label, _group(match, by)
            n_events, seconds = totals.get(key, (0, 0.0))
            totals[key] = n_events + 1, seconds + match.offset - match.onset
        rows = sorted(totals, key=lambda key: (labels.index(key[0]), key[1]))
        return cls(tuple(Count(*key, *totals[key]) for key in rows), matches.problems)

    @overload
    def __getitem__(self, index: int) -> Count: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Count, ...]: ...
    def __getitem__(self, index: int | slice) -> Count | tuple[Count, ...]:
        """Return a count, or several."""
        return self.counts[index]

    def __len__(self) -> int:
        """Return the number of counts."""
        return len(self.counts)

    def _columns(self) -> Sequence[str]:
        return list(Count.__dataclass_fields__)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        return map(astuple, self.counts)

    def to_frame(self) -> "pd.DataFrame":
        """Return a pandas table, a row a label and a column a group."""
        return (
            super().to_frame().pivot(index="label", columns="group", values="n_events").fillna(0).astype(int)
        )


@dataclass(frozen=True)
class Where:
    """Which stretches are searched.

    Parameters
    ----------
    path
        A pattern such as ``site-3/*``, for the whole path or its end.
    since, until
        Times of day and date; ``until`` is not included.
    hours
        From an hour of the day to another, not included: ``(22, 4)`` is the night.

    Raises
    ------
    OptionError
        If hours are not in 0 to 24, or ``until`` is not after ``since``.
    """

    path: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    hours: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.hours is not None and not all(0 <= hour <= 24 for hour in self.hours):
            raise OptionError(f"hours must be between 0 and 24, not {self.hours[0]}-{self.hours[1]}")
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise OptionError(
                f"no time is from {self.since} to {self.until}: the end must be after the start"
            )

    @property
    def asks_for_time(self) -> bool:
        """Whether recordings without a known time are left out."""
        return self.since is not None or self.until is not None or self.hours is not None

    def rows(self, shard: Shard, live: Sequence[int]) -> np.ndarray:
        """Return ``(n_rows,)`` booleans: the stretches of a shard that are searched.

        ``live`` are the numbers of the recordings that are not superseded.
        """
        wanted = np.zeros(len(shard.recordings), bool)
        for number in live:
            recording = shard.recordings[number]
            named = self.path is None or any(
                fnmatch(recording.path, form) for form in (self.path, f"*/{self.path}")
            )
            wanted[number] = named and not (self.asks_for_time and recording.started is None)
        rows = wanted[shard.owner]
        if self.asks_for_time and rows.any():
            started = np.array([each.started or "NaT" for each in shard.recordings], "datetime64[ms]")
            times = started[shard.owner] + (1000 * shard.onsets).astype("timedelta64[ms]")
            if self.since is not None:
                rows &= times >= np.datetime64(self.since)
            if self.until is not None:
                rows &= times < np.datetime64(self.until)
            if self.hours is not None:
                hour = (times - times.astype("datetime64[D]")) / np.timedelta64(1, "h")
                first, last = self.hours
                inside = (hour >= first) & (hour < last)
                rows &= inside if first < last else (hour >= first) | (hour < last)
        return np.asarray(rows)


def _group(match: Match, by: str) -> str:
    """Return the group of a match: ``unknown`` where its time is not known."""
    if by == "recording":
        return match.clip
    if match.time is None:
        return "unknown"
    return match.time.strftime({"hour": "%H", "day": "%Y-%m-%d", "month": "%Y-%m"}[by])


def _clip(matches: Sequence[Match]) -> ClipEvents:
    first = matches[0]
    events = sorted(Event(match.onset, match.offset, match.label, match.score) for match in matches)
    return ClipEvents(first.clip, first.duration_s, first.sample_rate, tuple(events), started=first.started)
