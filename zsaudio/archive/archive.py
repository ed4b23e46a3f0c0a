"""An archive: recordings listened to once, searched as often as one likes.

    archive = Archive.create("season", model="nano")
    for added in archive.add(paths): ...
    archive.search(["a dog barks far away"], k=20)

Paths are stored relative to a *root*, the folder that the first recordings have in common, so that recordings
may move together: ``Archive.open(..., root=new)``.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from zsaudio.archive.adding import Added, Hear, listen
from zsaudio.archive.corrections import choose, learn
from zsaudio.archive.header import check_keyword_model, check_model, make_header
from zsaudio.archive.matches import GROUPINGS, Counts, Matches, Where
from zsaudio.archive.query import SHARPNESS, STRENGTH, Query, Scorer
from zsaudio.archive.review import USUAL_N, Candidate, read_candidates
from zsaudio.archive.search import Search
from zsaudio.archive.shards import Stored, live_recordings
from zsaudio.archive.sketch import build
from zsaudio.archive.store import Store
from zsaudio.archive.words import WordSearch, speech_header
from zsaudio.audio.sources import Source, is_url
from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.stretches import Stretches, embed_stretches
from zsaudio.errors import ArchiveError, DataError, OptionError, has_result
from zsaudio.evaluation.embeddings import as_encoder
from zsaudio.labels import Label, LabelSet
from zsaudio.models.base import Model, SpeechModel
from zsaudio.models.learned.adapted import Adapted
from zsaudio.models.registry import load_keyword_model, load_model
from zsaudio.results import Embeddings
from zsaudio.storage.locations import exists, source_at, state_of

USUAL_K = 10
INDEXED_FROM = 1_000_000  # vectors; below, an exact search is fast
QUESTIONS = "@audioset"  # what an index expects to be asked
_COMPACT_BYTES = 256 * 2**20  # of vectors in a shard


class Archive:
    """Recordings as vectors on disk. Use ``Archive.open`` and ``Archive.create``.

    Parameters
    ----------
    store
        The files.
    header
        What the vectors are.
    model
        A loaded model, the name of one, or None: the one that the archive was made with.
    root
        Where the recordings are now; None: where they were.
    device, dtype
        As for ``Recognizer``.
    keyword_model
        As ``model``, for spoken words.
    """

    def __init__(
        self,
        store: Store,
        header: dict[str, Any],
        model: Model | str | None,
        root: str | os.PathLike[str] | None,
        device: str,
        dtype: str,
        keyword_model: SpeechModel | str | None = None,
    ) -> None:
        self._store, self._header = store, header
        self._model, self._device, self._dtype = model, device, dtype
        self._keyword_model = keyword_model
        self.root = os.path.abspath(root) if root is not None else str(header["root"])
        self.set_aside: list[str] = []  # a line for each damaged shard that the last add() set aside

    @classmethod
    def open(
        cls,
        location: str | os.PathLike[str],
        *,
        model: Model | str | None = None,
        root: str | os.PathLike[str] | None = None,
        device: str = "auto",
        dtype: str = "auto",
        keyword_model: SpeechModel | None = None,
    ) -> "Archive":
        """Open an archive.

        Parameters
        ----------
        location
            A folder, or a URL such as ``s3://bucket/folder``.
        model
            The model that it was made with, or one that ``zsaudio adapt`` made from that; None: the former,
            loaded when it is needed.
        root
            Where the recordings are now, if they have moved.
        device, dtype
            As for ``Recognizer``.
        keyword_model
            The model of speech that it was made with, loaded; None: it is loaded when it is needed.

        Raises
        ------
        ArchiveError
            If there is no archive, or it cannot be read.
        """
        store = Store(location)
        return cls(store, store.read_header(), model, root, device, dtype, keyword_model)

    @classmethod
    def create(
        cls,
        location: str | os.PathLike[str],
        *,
        model: Model | str = "nano",
        hop_s: float | None = None,
        root: str | os.PathLike[str] = ".",
        device: str = "auto",
        dtype: str = "auto",
        keyword_model: SpeechModel | str | None = None,
    ) -> "Archive":
        """Make an archive without recordings.

        Parameters
        ----------
        location
            A folder that does not exist or is empty, or a URL.
        model
            A name for ``load_model``, or a loaded encoder, whose name must then load it later.
        hop_s
            Distance between vectors; None: what ``detect`` takes. See ``zsaudio.detection.stretches``.
        root
            The folder that paths are stored relative to.
        device, dtype
            As for ``Recognizer``.
        keyword_model
            What listens for speech, such as ``"nano-keyword"``, so that keywords can be searched; None: none.

        Raises
        ------
        ArchiveError
            If there is one already, or something else.
        OptionError
            If the model or the hop cannot be used.
        """
        store = Store(location)
        if store.exists():
            raise ArchiveError(f"{location}: there is an archive already; open it instead")
        if store.is_local and os.path.isdir(location) and set(os.listdir(location)) - {"lock", "shards"}:
            raise ArchiveError(f"{location}: is not empty and no archive; choose another name")
        loaded = load_model(model, device=device, dtype=dtype) if isinstance(model, str) else model
        if hasattr(loaded, "base"):
            raise OptionError(
                f"an archive is made with a model as it was before it learned; search with '{loaded.name}'"
            )
        encoder = as_encoder(loaded, "an archive")
        name = model if isinstance(model, str) else loaded.name
        header = make_header(name, Stretches(encoder, hop_s), os.path.abspath(root))
        speech = (
            load_keyword_model(keyword_model, device=device)
            if isinstance(keyword_model, str)
            else keyword_model
        )
        if speech is not None:
            name = keyword_model if isinstance(keyword_model, str) else speech.name
            header["speech"] = speech_header(speech, name)
        with store.locked():
            store.write_header(header)
        return cls(store, header, loaded, None, device, dtype, speech)

    @property
    def model_name(self) -> str:
        """What the vectors were made with."""
        return str(self._header["model"])

    @property
    def hop_s(self) -> float:
        """The distance between vectors, in seconds."""
        return float(self._header["hop_s"])

    def __len__(self) -> int:
        """Return the number of recordings."""
        return sum(map(len, live_recordings(self._store.shards()[0]).values()))

    def recordings(self) -> list[Stored]:
        """Return the recordings, in the order in which they were stored."""
        shards, _ = self._store.shards()
        live = live_recordings(shards)
        return [shard.recordings[number] for shard in shards for number in live[shard.name]]

    def n_bytes(self) -> int:
        """Return how much the vectors take on disk."""
        return self._store.n_bytes()

    @cached_property
    def model(self) -> Model:
        """The model, checked against the vectors.

        Raises
        ------
        ArchiveError
            If it is another than the one, or another version of the one, that made them.
        """
        chosen = self._model if self._model is not None else self.model_name
        model = (
            load_model(chosen, device=self._device, dtype=self._dtype) if isinstance(chosen, str) else chosen
        )
        check_model(model, self._header, self._store.location)
        return model

    @property
    def holds_words(self) -> bool:
        """Whether keywords can be searched."""
        return "speech" in self._header

    @cached_property
    def keyword_model(self) -> SpeechModel:
        """The model of speech, checked against what is stored.

        Raises
        ------
        ArchiveError
            If it is another version of the one that listened.
        """
        chosen = self._keyword_model or self._header["speech"]["model"]
        model = load_keyword_model(chosen, device=self._device) if isinstance(chosen, str) else chosen
        check_keyword_model(model, self._header, self._store.location)
        return model

    @cached_property
    def _stretches(self) -> Stretches:
        model: Any = self.model
        return Stretches(getattr(model, "base", model), self.hop_s)

    def _scorer(self, query: Query) -> Scorer:
        encoder, model = self._stretches.encoder, self.model
        if isinstance(model, Adapted):
            adapted: Any = replace(model, base=encoder)
            return Scorer(adapted, query, by_recording=True)
        if hasattr(model, "base"):
            raise ArchiveError(
                f"{model.name}: judges whole recordings, so it cannot search the stretches of an archive"
            )
        return Scorer(encoder, query)

    def add(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        prune: bool = False,
        batch_size: int = 16,
        channel: int | None = None,
        hear: Hear | None = None,
        states: Mapping[str, tuple[int, int]] | None = None,
    ) -> Generator[Added]:
        """Listen to recordings that are new or have changed, and store them; yield what became of each.

        Recordings are committed together, every some seconds. Interrupted at any moment, call it again: it
        goes on after the last commit, with nothing twice and nothing lost.

        Parameters
        ----------
        paths
            Recordings: files, or URLs such as ``s3://bucket/night.flac``.
        prune
            Remove recordings from the archive whose files are gone.
        batch_size, channel
            As for ``Recognizer``.
        hear
            Takes paths and returns what ``listen`` does, such as by several processes; None: ``listen``.
        states
            Sizes and times of change in ns of recordings, where they are known, such as from the listing of
            a bucket. A recording behind a URL that is not among them is taken for unchanged.

        Raises
        ------
        ArchiveError
            If another process is writing, or the archive cannot be written.
        """
        hear = hear or partial(self.listen, batch_size=batch_size, channel=channel)
        with self._store.locked():
            self.set_aside = self._store.set_aside_damaged()
            known = {each.path: each for each in self.recordings()}
            states = dict(states or {})
            todo: list[str] = []
            named: dict[str, str] = {}
            for path in (os.fspath(path) for path in paths):
                named.setdefault(self._relative(path), path)
            for name, path in named.items():  # each recording once, in whatever ways it is named
                before = known.get(name)
                if not is_url(path):
                    states.setdefault(path, state_of(path))
                if before is not None and (state := (before.size, before.mtime_ns)) == states.get(
                    path, state
                ):
                    yield Added(path, "unchanged", before.duration_s)
                else:
                    todo.append(path)
            if todo:
                yield from listen(self._store, hear, todo, states, self._relative, set(known))
            gone = [path for path in known if prune and not exists(self.path_of(path))]
            if gone:
                self._store.append([], removed=gone, dim=self._header["dim"])
                for path in gone:
                    yield Added(self.path_of(path), "removed", known[path].duration_s)

    def listen(
        self, paths: Sequence[str], *, batch_size: int = 16, channel: int | None = None
    ) -> Iterator[Embeddings]:
        """Yield recordings as this archive stores them, without storing them.

        ``batch_size`` and ``channel`` are those of ``Recognizer``.
        """
        speech = self.keyword_model if self.holds_words else None
        sources = map(source_at, paths)
        return embed_stretches(self._stretches, sources, batch_size, channel=channel, speech=speech)

    def search(
        self,
        labels: LabelSet | str | Iterable[str | Label] | None = None,
        *,
        like: Sequence[Source | np.ndarray] = (),
        unlike: Sequence[Source | np.ndarray] = (),
        k: int | None = None,
        min_score: float | None = None,
        where: Where | None = None,
        options: DetectionOptions | None = None,
    ) -> Matches:
        """Return the best matches of each label: neighbouring stretches are merged into events.

        Scores are those that ``Recognizer.detect`` gives with the archive's hop, to the precision of float16.

        Parameters
        ----------
        labels
            What is asked in words; None: by ``like`` alone.
        like, unlike
            Sounds that the answer is like and unlike: recordings, or vectors ``(dim,)`` of them (``embed``).
        k
            Events of each label; None: 10, or all that reach ``min_score`` where that is given.
        min_score
            The threshold from which ``detect`` would report an event; None: none.
        where
            Which stretches are searched.
        options
            How neighbours are smoothed and merged; by default as in ``detect``.

        Raises
        ------
        ArchiveError
            If the model is not the archive's.
        OptionError
            If nothing is asked, or a value is out of its range.
        """
        if k is not None and k < 1:
            raise OptionError(f"k must be at least 1, not {k}")
        if min_score is not None and not 0 < min_score < 1:
            raise OptionError(f"min_score must be above 0 and below 1, not {min_score}")
        query = self._query(labels, like, unlike)
        options = options or DetectionOptions()
        if min_score is None:
            return self._collect(query, where, options, k or USUAL_K, detect=False)
        return self._collect(query, where, replace(options, threshold=min_score), k, detect=True)

    def count(
        self,
        labels: LabelSet | str | Iterable[str | Label],
        by: str = "hour",
        *,
        where: Where | None = None,
        options: DetectionOptions | None = None,
    ) -> Counts:
        """Return how many events of each label there are, by hour of the day, day, month or recording.

        Parameters
        ----------
        labels
            What is counted.
        by
            ``"hour"``, ``"day"``, ``"month"`` or ``"recording"``.
        where
            Which stretches are searched.
        options
            How events are found, thresholds included; by default as in ``detect``.
        """
        if by not in GROUPINGS:
            raise OptionError(f"counts are by {', '.join(GROUPINGS)}, not by '{by}'")
        query = self._query(labels, (), ())
        found = self._collect(query, where, options or DetectionOptions(), None, detect=True)
        return Counts.of(found, by, [label.name for label in query.reported])

    def candidates(
        self,
        labels: LabelSet | str | Iterable[str | Label],
        n: int = USUAL_N,
        *,
        where: Where | None = None,
        options: DetectionOptions | None = None,
    ) -> list[Candidate]:
        """Return stretches to be judged by a person: ``n`` for each label, half best and half unsure.

        See ``zsaudio.archive.corrections.choose``.
        """
        if n < 2:
            raise OptionError(f"at least 2 candidates are needed, not {n}")
        if any(label.is_keyword for label in LabelSet.of(labels)):
            raise OptionError("corrections are of sounds; keywords do not learn from them")
        return choose(self.search(labels, k=20 * n, where=where, options=options), n)

    def adapt(
        self,
        judged: Iterable[Candidate] | str | os.PathLike[str],
        *,
        strength: float = STRENGTH,
        sharpness: float = SHARPNESS,
    ) -> Adapted:
        """Return a model that has learned from what a person said of stretches, without listening again.

        Where the answer is yes, the stretch becomes an example of its label, where it is no, a
        counter-example (``zsaudio.models.learned.adapted``). If the archive was opened with a model that had
        learned before, what it had learned is kept.

        Parameters
        ----------
        judged
            Candidates with answers, or a file or folder of them (``zsaudio.archive.review``).
        strength, sharpness
            As for ``Adapted``.

        Raises
        ------
        DataError
            If the file cannot be used, nothing is answered, or no recording of it is in the archive.
        """
        if isinstance(judged, (str, os.PathLike)):
            judged = read_candidates(
                judged, {each.path: self.path_of(each.path) for each in self.recordings()}
            )
        answered = [each for each in judged if each.answer is not None]
        if not answered:
            raise DataError("nothing is answered: write yes or no for some candidates")
        labels = LabelSet(list(dict.fromkeys(each.label for each in answered)))
        shards, _ = self._store.shards()
        keys = learn(answered, labels, shards, self._scorer(Query(labels)), self.path_of, self.hop_s)
        model: Any = self.model
        before = (
            model
            if isinstance(model, Adapted)
            else Adapted(model, self.model_name, np.zeros((0, model.dim), np.float32), ())
        )
        return keys.added_to(replace(before, strength=strength, sharpness=sharpness))

    def embed(self, source: Source, sample_rate: int | None = None) -> np.ndarray:
        """Return the vector ``(dim,)`` of a sound, float32: the mean over its stretches, for ``like``."""
        (clip,) = embed_stretches(self._stretches, [source], 1, sample_rate=sample_rate)
        if not has_result(clip.error):
            raise cast(Exception, clip.error)
        lengths = clip.offsets - clip.onsets
        return np.average(clip.vectors.astype(np.float32), axis=0, weights=lengths).astype(np.float32)

    def move(self, root: str | os.PathLike[str]) -> None:
        """Note for good that the recordings are in another folder now."""
        self.root = os.path.abspath(root)
        self._header = {**self._header, "root": self.root}
        with self._store.locked():
            self._store.write_header(self._header)

    def path_of(self, stored: str) -> str:
        """Return where a recording is, from its stored path."""
        if is_url(stored):
            return stored
        return os.path.normpath(os.path.join(self.root, stored))

    def _relative(self, path: str) -> str:
        if is_url(path):
            return path
        try:
            return Path(os.path.relpath(path, self.root)).as_posix()
        except ValueError:  # another drive
            return Path(os.path.abspath(path)).as_posix()

    def _query(
        self,
        labels: LabelSet | str | Iterable[str | Label] | None,
        like: Sequence[Source | np.ndarray],
        unlike: Sequence[Source | np.ndarray],
    ) -> Query:
        if labels is None and not like:
            raise OptionError("nothing is asked: give words, or a sound that the answer is like")
        label_set = None if labels is None else LabelSet.of(labels)

        def vectors(sounds: Sequence[Source | np.ndarray]) -> np.ndarray:
            rows = [each if isinstance(each, np.ndarray) else self.embed(each) for each in sounds]
            if any(row.shape != (self._header["dim"],) for row in rows):
                raise OptionError(
                    f"a sound as an array must be a vector ({self._header['dim']},); see embed()"
                )
            return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

        return Query(label_set, vectors(like), vectors(unlike))

    def _collect(
        self, query: Query, where: Where | None, options: DetectionOptions, k: int | None, detect: bool
    ) -> Matches:
        searches: list[Search | WordSearch] = []
        sounds, keywords = query.of_sounds, query.keywords
        where = where or Where()
        if keywords and not self.holds_words:
            raise ArchiveError(
                f"{self._store.location}: holds no speech, so '{keywords[0].name}' cannot be found; index "
                "the recordings with --words into another archive"
            )
        if sounds is not None:
            searches.append(Search(self._store, self._scorer(sounds), sounds, where, options, self.hop_s))
        if keywords:
            n_symbols = len(self._header["speech"]["probe"])
            searches.append(WordSearch(self._store, self.keyword_model, keywords, where, options, n_symbols))
        parts = [
            each.detected(k, self.path_of) if detect else each.best(k or USUAL_K, self.path_of)
            for each in searches
        ]
        order = {label.name: number for number, label in enumerate(query.reported)}
        found = [match for part in parts for match in part]
        ranked = sorted(found, key=lambda match: order.get(match.label, len(order)))
        return Matches(tuple(ranked), tuple(dict.fromkeys(line for part in parts for line in part.problems)))

    def optimize(self) -> bool:
        """Put shards together, and index them where there are more than a million vectors.

        Returns
        -------
        indexed
            Whether there is an index now. With one, ``search`` without ``min_score`` looks at likely vectors
            only; those that are added later are all looked at, until the next ``optimize``.

        Raises
        ------
        ArchiveError
            If the model, which says what questions look like, is not the one that made the vectors.
        """
        with self._store.locked():
            self._store.compact(max(1, _COMPACT_BYTES // (2 * int(self._header["dim"]))))
            shards, _ = self._store.shards()
            if sum(shard.n_rows for shard in shards) < INDEXED_FROM:
                return False
            questions = self._scorer(Query(LabelSet.of(QUESTIONS))).vectors()
            build(shards, questions).save(self._store)
        return True
