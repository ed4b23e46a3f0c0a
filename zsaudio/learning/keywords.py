"""Keywords from a few recordings: how somebody says a word becomes its pronunciation.

The network of nano-keyword writes each recording down as phonemes. What it writes, with its usual mistakes,
is what it will write again, so these sequences are candidates for the keyword's pronunciations, beside those
of the dictionary. One after another the candidate is taken that makes the *other* recordings likeliest: what
only one recording says does not vouch for itself. So a single recording does not change a word that the
dictionary has, and a word of any language can be learned, as far as English phonemes can write it.

The result is a label set whose keywords have pronunciations by hand: a label file, no model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from zsaudio.audio.reader import load_audio
from zsaudio.errors import AudioError, DataError
from zsaudio.evaluation.datasets import Dataset
from zsaudio.labels import KEYWORD_PREFIX, Label, LabelSet
from zsaudio.models.speech.alignment import Keywords, ordinary_level
from zsaudio.models.speech.nano_keyword import NanoKeyword
from zsaudio.models.speech.phonemes import PHONEMES
from zsaudio.models.speech.whole_clip import WholeClip

MOST_EXAMPLES = 20  # recordings of a word that are used
_LEARNED = 3  # pronunciations that are added, at most
_GAIN = 0.3  # by which another one must improve the mean logit
_SHORTEST = 2  # phonemes
_MARGIN_S = (0.1, 0.5)  # silence around a recording
_UNLIKELY = -1000.0

Symbols = tuple[int, ...]


@dataclass(frozen=True)
class LearnedKeywords:
    """Keywords made from recordings.

    Parameters
    ----------
    labels
        The keywords, with their pronunciations as prompts.
    examples
        How many recordings of each keyword were used.
    failed
        Recordings that could not be used, each with the reason.
    """

    labels: LabelSet
    examples: Mapping[str, int]
    failed: tuple[str, ...] = field(default=(), repr=False)


def learn_keywords(dataset: Dataset, model: NanoKeyword) -> LearnedKeywords:
    """Make a keyword of each class of a data set.

    Parameters
    ----------
    dataset
        Recordings of single words, one to twenty of each; the class is the word, in any language.
    model
        The model that will listen for them.

    Raises
    ------
    DataError
        If no word can be learned.
    """
    failed, labels, counts = [], [], {}
    for word in dataset.classes:
        heard: list[np.ndarray] = []
        for recording in dataset.recordings:
            if word in recording.labels and len(heard) < MOST_EXAMPLES:
                try:
                    samples = load_audio(recording.path, model.sample_rate)[0]
                except AudioError as error:
                    failed.append(str(error))
                    continue
                before, after = (round(seconds * model.sample_rate) for seconds in _MARGIN_S)
                (log_probs,) = model.log_probs([np.pad(samples, (before, after))])
                if len(_written(log_probs)) < _SHORTEST:
                    failed.append(f"{recording.path}: no word is heard in it")
                else:
                    heard.append(log_probs)
        if not heard:
            continue
        ways = pronunciations(heard, model.symbols(word) if model.pronounce.knows(word) else [], model)
        written = " ".join(f"/{' '.join(PHONEMES[symbol - 1] for symbol in way)}/" for way in ways)
        name = f"{KEYWORD_PREFIX} {word}"
        labels.append(Label(name, (f"{word} {written}",)))
        counts[name] = len(heard)
    if not labels:
        raise DataError(f"{dataset.name}: no keyword can be made of it ({failed[0] if failed else 'empty'})")
    return LearnedKeywords(LabelSet(labels), counts, tuple(failed))


def pronunciations(
    heard: Sequence[np.ndarray], known: Sequence[Symbols], model: NanoKeyword
) -> list[Symbols]:
    """Return the pronunciations of a word: the known ones, and those that its recordings call for.

    There is none if none is known and no word is heard.

    Parameters
    ----------
    heard
        The network's output for each recording, ``(n_frames, n_symbols)``.
    known
        The pronunciations of the dictionary; none for a word that it lacks.
    model
        The model.
    """
    written = [_written(log_probs) for log_probs in heard]
    candidates = list(dict.fromkeys([*known, *(way for way in written if len(way) >= _SHORTEST)]))
    chosen = list(range(len(known)))
    if not candidates or (known and len(heard) == 1):
        return list(known)
    keywords = [[way] for way in candidates]
    levels = ordinary_level(keywords, model.cohort, model.scoring)
    fits = []
    for log_probs, own in zip(heard, written, strict=True):
        clip = WholeClip(Keywords(keywords, levels))
        clip.push(log_probs)
        fits.append(clip.logits())
        if own in candidates[len(known) :] and written.count(own) == 1 < len(heard):
            fits[-1][candidates.index(own)] = _UNLIKELY
    fit = np.stack(fits)  # (recordings, candidates)
    if not chosen:
        chosen = [int(np.maximum(fit, -60.0).mean(axis=0).argmax())]  # one that nobody else says is no hope
    while len(chosen) < len(known) + _LEARNED:
        best = fit[:, chosen].max(axis=1)
        gains = np.maximum(fit, best[:, None]).mean(axis=0) - best.mean()
        if gains.max() < _GAIN:
            break
        chosen.append(int(gains.argmax()))
    return [candidates[k] for k in chosen]


def _written(log_probs: np.ndarray) -> Symbols:
    """Return the symbols that are likeliest, without blanks and repetitions."""
    best = log_probs.argmax(axis=1)
    return tuple(int(s) for i, s in enumerate(best) if s and (i == 0 or s != best[i - 1]))
