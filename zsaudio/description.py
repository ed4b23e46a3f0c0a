"""A recording in one or two plain sentences: what is heard when, and how the rest of it sounds.

No language model: sentences are made of events. Their scores are those of ``Recognizer.detect``. A
recording is embedded once, and its vectors are compared with the labels, and with 300 everyday sounds of
which a table says how they sound (``zsaudio/configs/attributes.csv``): the attributes of what no label
explains are the mean of those of the sounds that it is most like. Silence, a steady tone and steady noise
are found in the signal.

Conventions: loudness is the root mean square in dB of full scale.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zsaudio.archive.query import Query, Scorer
from zsaudio.archive.ranking import detected_spans, smooth
from zsaudio.audio.reader import AudioReader
from zsaudio.audio.sources import Source
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.stretches import SILENCE_DB, Stretches, embed_stretches
from zsaudio.errors import has_result
from zsaudio.evaluation.embeddings import as_encoder
from zsaudio.labels import LabelSet
from zsaudio.models.base import Model
from zsaudio.models.learned.class_tables import AttributeTable
from zsaudio.models.registry import load_model
from zsaudio.results import Embeddings

SILENT_DB = -70.0  # a recording that never gets louder is silence
AUDIBLE_DB = 25.0  # what is further below the loudest stretch is not described
STEADY_DB = 0.35  # how much the level of stationary noise changes from one tenth of a second to the next
TONE_SHARE = 0.9  # of the power, in three neighbouring bins of the spectrum
STATED = 0.6  # from which mean an attribute is stated
SHARPNESS = 3.0  # a sound whose log-odds are higher by one counts e ** SHARPNESS times as much for attributes
MOST_SOUNDS, MOST_ATTRIBUTES, MOST_LIKE = 3, 4, 2
WORDS = {
    "metal": "metallic",
    "wood": "wooden",
    "glass": "like glass",
    "liquid": "liquid",
    "impact": "like an impact",
    "friction": "scraping",
    "low": "low",
    "high": "high-pitched",
    "voiced": "voice-like",
    "gliding": "rising or falling",
    "pitched": "pitched",
    "noisy": "noisy",
    "impulsive": "sudden",
    "steady": "steady",
    "repeated": "repeated",
    "regular": "regular",
    "rapid": "rapid",
    "ringing": "ringing",
    "rough": "rough",
    "loud": "loud",
    "harmonic": "harmonic",
    "swelling": "swelling",
    "machine": "mechanical",
    "electronic": "electronic",
    "animal": "like an animal",
    "human": "human",
    "air": "airy",
}
"""Attributes of the table that are stated, and in which words."""


@dataclass(frozen=True)
class Sound:
    """A label that is heard.

    Parameters
    ----------
    label, score
        Its name, and its highest score.
    times
        Onset and offset of each event, in seconds.
    loudness
        Of its events, in dB of full scale.
    against_rest
        How much louder they are than the rest of the recording, in dB; None: there is no rest.
    """

    label: str
    score: float
    times: tuple[tuple[float, float], ...]
    loudness: float
    against_rest: float | None


@dataclass(frozen=True)
class Unnamed:
    """The audible part of a recording that no label explains.

    Parameters
    ----------
    times
        Onset and offset of each stretch, in seconds.
    attributes
        How it sounds, in words.
    resembles
        The labels that come nearest, with their scores.
    """

    times: tuple[tuple[float, float], ...]
    attributes: tuple[str, ...]
    resembles: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Description:
    """What is to be said of a recording.

    Parameters
    ----------
    clip, duration_s
        Its path or name, and its length in seconds.
    text
        One or two sentences.
    kind
        ``"sounds"``, ``"silence"``, ``"tone"`` or ``"noise"``.
    sounds
        The labels that are heard, the most important first.
    unnamed
        What no label explains, if there is such a part.
    error
        Why there is no description, or one of a part only.
    """

    clip: str
    duration_s: float
    text: str = ""
    kind: str = "sounds"
    sounds: tuple[Sound, ...] = ()
    unnamed: Unnamed | None = None
    error: Exception | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON can hold it."""
        record = asdict(self)
        record["error"] = None if self.error is None else str(self.error)
        return record


class Describer:
    """Describes recordings.

    Parameters
    ----------
    labels
        What can be named: a list of names, a text, or a ``LabelSet``.
    model
        The name of a model with embeddings, or a loaded one.
    options
        How events are found.
    attributes
        What sounds are like; None: the table that comes with zsaudio.
    device, dtype
        As for ``Recognizer``.

    Examples
    --------
    >>> import numpy as np
    >>> Describer().describe(np.zeros(16_000), 16_000).text
    'Silence.'
    """

    def __init__(
        self,
        labels: LabelSet | str | Sequence[str] = "@everyday",
        model: Model | str = "nano",
        options: DetectionOptions | None = None,
        attributes: AttributeTable | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        loaded = load_model(model, device=device, dtype=dtype) if isinstance(model, str) else model
        self.stretches = Stretches(as_encoder(loaded, "a description"))
        encoder = self.stretches.encoder
        self._options = options or DetectionOptions()
        query = Query(LabelSet.of(labels))
        self._labels = query.reported
        self._scorer = Scorer(encoder, query)
        self.table = attributes or AttributeTable.builtin()
        self._likeness = Scorer(encoder, Query(LabelSet(list(self.table.names))))

    def describe(self, source: Source, sample_rate: int | None = None) -> Description:
        """Return the description of one recording; ``error`` says why there is none.

        Parameters
        ----------
        source
            What ``Recognizer.detect`` takes.
        sample_rate
            Rate of an array, in Hz.
        """
        (clip,) = embed_stretches(self.stretches, [source], 4, sample_rate=sample_rate)
        if not has_result(clip.error) or not len(clip.vectors):
            return Description(clip.clip, clip.duration_s, error=clip.error)
        if clip.loudness.max() < SILENT_DB:
            return Description(clip.clip, clip.duration_s, "Silence.", "silence", error=clip.error)
        signal = _Signal.of(source, sample_rate)
        if signal.tone is not None:
            text = f"A steady tone of {signal.tone:.0f} Hz."
            return Description(clip.clip, clip.duration_s, text, "tone", error=clip.error)
        sounds, unnamed = self._heard(clip)
        if signal.is_noise:
            return Description(
                clip.clip, clip.duration_s, "Steady noise.", "noise", sounds, unnamed, clip.error
            )
        text = _sentences(sounds, unnamed, clip.duration_s)
        return Description(clip.clip, clip.duration_s, text, "sounds", sounds, unnamed, clip.error)

    def _heard(self, clip: Embeddings) -> tuple[tuple[Sound, ...], Unnamed | None]:
        n, options = len(clip.vectors), self._options
        one, starts = np.zeros(n, int), np.array([0, n])
        half, gap = (
            int(s / self.stretches.hop_s + 1e-6) for s in (options.smooth_s / 2, options.merge_gap_s)
        )
        raw = self._scorer.scores(clip.vectors, starts)
        scores = smooth(raw, one, half, options.thresholds(self._labels)[0])
        flat = DetectionOptions(**{**asdict(options), "smooth_s": 0.0, "median_s": 0.0})
        lengths, named = clip.offsets - clip.onsets, np.zeros(n, bool)
        found = []
        for number, label in enumerate(self._labels):
            column = np.ascontiguousarray(scores[:, number])
            spans = detected_spans(column, one, clip.onsets, clip.offsets, label, flat, gap)
            if not spans:
                continue
            rows = np.concatenate([np.arange(span.first, span.last + 1) for span in spans])
            named[rows] = True
            times = tuple((float(clip.onsets[s.first]), float(clip.offsets[s.last])) for s in spans)
            best = max(span.score for span in spans)
            weight = float(column[rows] @ lengths[rows])
            rest = np.setdiff1d(np.arange(n), rows)
            loudness = _mean_db(clip.loudness[rows])
            against = loudness - _mean_db(clip.loudness[rest]) if lengths[rest].sum() >= 0.5 else None
            found.append((weight, Sound(label.name, best, times, loudness, against)))
        sounds = tuple(sound for _, sound in sorted(found, key=lambda pair: -pair[0]))
        audible = ~named & (clip.loudness > max(SILENT_DB, clip.loudness.max() - AUDIBLE_DB))
        if sounds and lengths[audible].sum() < max(0.5, 0.1 * lengths.sum()):
            return sounds, None
        if not audible.any():
            return sounds, None
        peak = raw[audible].max(axis=0)
        nearest = np.argsort(-peak)[:MOST_LIKE]
        resembles = tuple((self._labels[i].name, float(peak[i])) for i in nearest)
        return sounds, Unnamed(_runs(audible, clip), self.attributes(clip.vectors[audible]), resembles)

    def attributes(self, vectors: np.ndarray, without: str | None = None) -> tuple[str, ...]:
        """Return how vectors ``(n, dim)`` sound, in words; the surest first.

        ``without`` leaves a row of the table out, to test what the others say.
        """
        scores = self._likeness.scores(vectors, np.array([0, len(vectors)])).astype(np.float64)
        odds = (scores / np.maximum(1 - scores, 1e-6)).mean(axis=0)
        if without is not None:
            odds[self.table.names.index(without)] = 0.0
        weights = (odds / max(float(odds.max()), 1e-300)) ** SHARPNESS
        means = weights @ np.nan_to_num(self.table.values) / weights.sum()
        order = [i for i in np.argsort(-means) if self.table.attributes[i] in WORDS and means[i] >= STATED]
        return tuple(WORDS[self.table.attributes[i]] for i in order[:MOST_ATTRIBUTES])


@dataclass(frozen=True)
class _Signal:
    """What the spectrum says: the frequency of a steady tone in Hz, and whether it is stationary noise."""

    tone: float | None
    is_noise: bool

    @classmethod
    def of(cls, source: Source, sample_rate: int | None) -> "_Signal":
        reader = AudioReader(source, sample_rate)
        rate, size = reader.sample_rate, 4096
        taper = np.hanning(size)
        power, levels, rest = np.zeros(size // 2 + 1), [], np.zeros(0, np.float32)
        peaks: set[int] = set()
        for block in reader.blocks():
            step = rate // 10
            whole = block[: len(block) // step * step].reshape(-1, step)
            levels += (10 * np.log10(np.square(whole, dtype=np.float64).mean(axis=1) + 1e-12)).tolist()
            rest = np.concatenate([rest, block])
            n = len(rest) // size
            frames = np.abs(np.fft.rfft(rest[: n * size].reshape(n, size) * taper, axis=1)) ** 2
            peaks |= set(frames.argmax(axis=1).tolist())
            power += frames.sum(axis=0)
            rest = rest[n * size :]
        if not power.sum():
            return cls(None, False)
        top = int(power.argmax())
        steady = len(levels) >= 5 and float(np.std(np.diff(levels))) < STEADY_DB * np.sqrt(2)
        inside = power[max(0, top - 2) : top + 3].sum() / power.sum()
        if steady and inside >= TONE_SHARE and top > 1 and max(peaks) - min(peaks) <= 1:
            near = np.arange(top - 2, top + 3)
            near = near[(near > 0) & (near < len(power))]
            return cls(float((near * power[near]).sum() / power[near].sum() * rate / size), False)
        bands = np.array_split(power[8 : int(0.9 * len(power))], 24)
        flat = [np.exp(np.log(band + 1e-20).mean()) / (band.mean() + 1e-20) for band in bands]
        return cls(None, steady and float(np.median(flat)) > 0.8)


def _sentences(sounds: Sequence[Sound], unnamed: Unnamed | None, duration_s: float) -> str:
    parts = [_clause(sound, duration_s) for sound in sounds[:MOST_SOUNDS]]
    text = ""
    if parts:
        text = parts[0][0].upper() + parts[0][1:]
        text = "; ".join([text, *parts[1:]]) + "."
    if unnamed is not None:
        when = _when(unnamed.times, duration_s)
        how = (
            f"it sounds {_listed(unnamed.attributes)}" if unnamed.attributes else "it has no clear character"
        )
        like = _listed([name for name, _ in unnamed.resembles], "or")
        begin = "Something else" if parts else "Something without a name here"
        text += f"{' ' if text else ''}{begin}, {when}: {how}, and resembles {like} most."
    return text or "Hardly anything is heard."


def _clause(sound: Sound, duration_s: float) -> str:
    n = len(sound.times)
    times = "" if n == 1 else " twice" if n == 2 else f" {n} times"
    text = f"{sound.label}{times}, {_when(sound.times, duration_s)}"
    if sound.against_rest is not None and abs(sound.against_rest) >= 3:
        side = "above" if sound.against_rest > 0 else "below"
        text += f", {abs(sound.against_rest):.0f} dB {side} the rest"
    return text


def _when(times: Sequence[tuple[float, float]], duration_s: float) -> str:
    first, last = times[0][0], times[-1][1]
    covered = sum(offset - onset for onset, offset in times)
    if covered >= 0.9 * duration_s:
        return "throughout"
    word = "from" if len(times) == 1 else "between"
    link = "to" if len(times) == 1 else "and"
    return f"{word} {_time(first)} {link} {_time(last)}"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _listed(words: Sequence[str], link: str = "and") -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" {link} {words[-1]}"


def _runs(rows: np.ndarray, clip: Embeddings) -> tuple[tuple[float, float], ...]:
    numbers = np.flatnonzero(rows)
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return tuple((float(clip.onsets[run[0]]), float(clip.offsets[run[-1]])) for run in runs)


def _mean_db(loudness: np.ndarray) -> float:
    """Return the mean power of stretches, in dB."""
    if not len(loudness):
        return SILENCE_DB
    return float(10 * np.log10(np.mean(10 ** (loudness.astype(np.float64) / 10))))
