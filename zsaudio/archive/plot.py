"""When the matches of a search are: a picture with a row a day and a column an hour.

Needs matplotlib, the extra ``plot``.
"""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from zsaudio.archive.matches import Matches
from zsaudio.errors import OptionError
from zsaudio.output.plot import require_matplotlib

_MOST_ROWS = 60  # days; more are put together into weeks or months of equal length


def draw_activity(found: Matches, path: Path) -> None:
    """Draw how many matches there are in each hour of each day into an image file.

    Raises
    ------
    OptionError
        If the time of no match is known, or the file cannot be written.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    days, counts, step = activity(found)
    labels = list(dict.fromkeys(match.label for match in found))
    figure = Figure(figsize=(11, 1.8 + 0.24 * max(4, len(days))), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True, height_ratios=[1, max(2.0, 0.3 * len(days))])
    axes[0].bar(np.arange(24) + 0.5, counts.sum(axis=0), width=0.9, color="#1f77b4")
    axes[0].set_ylabel("events")
    axes[0].spines[["top", "right"]].set_visible(False)
    title = ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
    axes[0].set_title(f"{title}    {int(counts.sum())} events", loc="left", fontsize=11)
    image = axes[1].imshow(
        np.where(counts > 0, counts, np.nan),
        aspect="auto",
        extent=(0, 24, len(days), 0),
        cmap="viridis",
        interpolation="nearest",
        vmin=0,
    )
    axes[1].set_xticks(range(0, 25, 2), [f"{hour:02}" for hour in range(0, 25, 2)])
    axes[1].set_xlabel("hour of the day")
    shown = range(0, len(days), -(-len(days) // 24))
    axes[1].set_yticks([row + 0.5 for row in shown], [days[row].isoformat() for row in shown])
    if step > 1:
        axes[1].set_ylabel(f"{step} days from")
    figure.colorbar(image, ax=axes[1], label="events", pad=0.01)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise OptionError(f"{path}: cannot be written ({error})") from error


def activity(found: Matches) -> tuple[list[date], np.ndarray, int]:
    """Return the first day of each row, the counts ``(n_rows, 24)``, and how many days a row holds."""
    times = [match.time for match in found if match.time is not None]
    if not times:
        raise OptionError(
            "no match has a time of day to draw: names of recordings such as 20260131_053000.wav carry it"
        )
    first, last = min(times).date(), max(times).date()
    n_days = (last - first).days + 1
    step = -(-n_days // _MOST_ROWS)
    numbers = Counter(((time.date() - first).days // step, time.hour) for time in times)
    counts = np.zeros((-(-n_days // step), 24), int)
    for (row, hour), number in numbers.items():
        counts[row, hour] = number
    return [first + timedelta(days=step * row) for row in range(len(counts))], counts, step
