"""Steps of Ray Data: a dataset of recordings in, a dataset of tags, events or embeddings out.

    import ray
    from zsaudio.ray import tag_dataset

    ds = ray.data.read_parquet("s3://bucket/recordings.parquet")  # with a column "path"
    tag_dataset(ds, ["dog barking", "rain"], actors=8).write_parquet("s3://bucket/tags")

Each actor loads the models once. Windows are batched across recordings, and decoding runs in the actor's
threads. A dataset without a step that consumes it does nothing, as always with Ray Data.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zsaudio.detection.hysteresis import DetectionOptions
from zsaudio.detection.scoring import Pool
from zsaudio.errors import MissingExtraError, OptionError, install_command
from zsaudio.labels import Label, LabelSet
from zsaudio.ray.work import Work, Worker, check_columns

if TYPE_CHECKING:
    from ray.data import Dataset

Labels = LabelSet | str | Iterable[str | Label]
USUAL_ROWS = 64


def tag_dataset(
    ds: "Dataset",
    labels: Labels = "@everyday",
    model: str = "nano",
    *,
    top_k: int | None = None,
    min_score: float | None = None,
    exclusive: bool = False,
    pool: Pool = "max",
    channel: int | None = None,
    actors: int | tuple[int, int] = 1,
    num_cpus: float = 1,
    num_gpus: float = 0,
    rows: int = USUAL_ROWS,
    **recognizer: Any,
) -> "Dataset":
    """Return the tags of recordings: one row each.

    Parameters
    ----------
    ds
        Rows with a column ``path``, a file or a URL that ``pyarrow.fs`` takes, or ``bytes``, the content of
        a file. With ``start`` and ``end``, in seconds, only this part of the recording counts. Other columns
        are kept.
    labels, model
        As for ``zsaudio.Recognizer``.
    top_k, min_score, exclusive, pool, channel
        As for ``Recognizer.tag``.
    actors
        How many processes, or the fewest and the most of them. Leave Ray at least one CPU for its other
        steps, reading and writing.
    num_cpus, num_gpus
        What each of them takes.
    rows
        Recordings that go to an actor together. What an actor was doing when it was lost is done again.
    recognizer
        ``keyword_model``, ``device``, ``dtype`` and ``batch_size`` of ``zsaudio.Recognizer``.

    Returns
    -------
    Dataset
        The columns of ``ds`` without ``bytes``, and ``duration_s``, ``tags``, a list of
        ``{"label", "score"}``, best first, and ``error``: why a recording could not be read, or not all of
        it. It is null otherwise.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    OptionError
        If ``ds`` lacks a column, or has one that is called as one of the results.
    """
    options = {
        "top_k": top_k,
        "min_score": min_score,
        "exclusive": exclusive,
        "pool": pool,
        "channel": channel,
    }
    work = Work("tag", LabelSet.of(labels), {"model": model, **recognizer}, options)
    return _mapped(ds, work, actors, num_cpus, num_gpus, rows)


def detect_dataset(
    ds: "Dataset",
    labels: Labels = "@everyday",
    model: str = "nano",
    *,
    options: DetectionOptions | None = None,
    channel: int | None = None,
    actors: int | tuple[int, int] = 1,
    num_cpus: float = 1,
    num_gpus: float = 0,
    rows: int = USUAL_ROWS,
    **recognizer: Any,
) -> "Dataset":
    """Return the events of recordings: one row each, and one without a label for a recording without events.

    Parameters
    ----------
    ds, labels, model, actors, num_cpus, num_gpus, rows, recognizer
        As for ``tag_dataset``.
    options, channel
        As for ``Recognizer.detect``.

    Returns
    -------
    Dataset
        The columns of ``ds`` without ``bytes``, and ``duration_s``, ``onset`` and ``offset`` in seconds from
        the start of the recording, ``label``, ``score`` and ``error``.
    """
    work = Work(
        "detect",
        LabelSet.of(labels),
        {"model": model, **recognizer},
        {"options": options, "channel": channel},
    )
    return _mapped(ds, work, actors, num_cpus, num_gpus, rows)


def embed_dataset(
    ds: "Dataset",
    model: str = "nano",
    *,
    hop_s: float | None = None,
    channel: int | None = None,
    actors: int | tuple[int, int] = 1,
    num_cpus: float = 1,
    num_gpus: float = 0,
    rows: int = USUAL_ROWS,
    **recognizer: Any,
) -> "Dataset":
    """Return recordings as vectors: one row for each stretch of time.

    Parameters
    ----------
    ds, model, actors, num_cpus, num_gpus, rows, recognizer
        As for ``tag_dataset``.
    hop_s, channel
        As for ``Recognizer.embed``.

    Returns
    -------
    Dataset
        The columns of ``ds`` without ``bytes``, and ``duration_s``, ``onset``, ``offset``, ``loudness`` in dB
        of full scale, ``vector``, ``(dim,)`` float16, and ``error``.
    """
    work = Work("embed", "sound", {"model": model, **recognizer}, {"hop_s": hop_s, "channel": channel})
    return _mapped(ds, work, actors, num_cpus, num_gpus, rows)


def require_ray() -> None:
    """Raise MissingExtraError where Ray Data is not installed."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"running on a cluster needs Ray: {install_command('ray')}") from error


def _mapped(
    ds: "Dataset", work: Work, actors: int | tuple[int, int], num_cpus: float, num_gpus: float, rows: int
) -> "Dataset":
    require_ray()
    from ray.data import ActorPoolStrategy

    if rows < 1:
        raise OptionError(f"rows must be at least 1, not {rows}")
    least, most = (actors, actors) if isinstance(actors, int) else actors
    if not 1 <= least <= most:
        raise OptionError(f"actors must be 1 or more, or the fewest and the most, not {actors}")
    columns = ds.columns()
    check_columns(columns or [], work.kind)
    return ds.map_batches(
        Worker,
        fn_constructor_args=(work,),
        batch_size=rows,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )
