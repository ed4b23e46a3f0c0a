"""What can be given as a recording, and what it is called in messages and results.

Conventions: NumPy arrays are ``(n_samples,)`` or ``(n_samples, n_channels)``, as soundfile reads them. Torch
tensors and the arrays of ``datasets`` are ``(n_channels, n_samples)``, as torchaudio and librosa read them.
"""

import io
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Union

import numpy as np

from zsaudio.errors import AudioError

if TYPE_CHECKING:
    import torch

Source = Union[
    str, os.PathLike[str], IO[bytes], bytes, np.ndarray, "torch.Tensor", Mapping[str, Any], Callable[[], Any]
]
"""A recording, in any of these forms:

- a path;
- a binary file object, which may be a pipe;
- ``bytes``: the content of a file;
- an array or a torch tensor, with its ``sample_rate``; integers are scaled by their type's full scale;
- an item of the ``datasets`` library: a dict ``{"array", "sampling_rate"}`` or ``{"bytes", "path"}``, or an
  ``AudioDecoder`` of torchcodec;
- a function without arguments that returns one of these, called where the recording is read: in a thread,
  ahead of the model. Its attribute ``name``, if it has one, is what the recording is called.
"""

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")  # two letters at least: C:/ is a drive


@dataclass(frozen=True)
class Resolved:
    """A source in one of three forms.

    Parameters
    ----------
    name
        What to call it.
    data
        A path, a binary file object, or float32 samples ``(n_samples, n_channels)``.
    sample_rate
        Rate of the samples, in Hz; None for a path or a file object.
    """

    name: str
    data: str | IO[bytes] | np.ndarray
    sample_rate: int | None = None


def resolve(source: Source, sample_rate: int | None = None) -> Resolved:
    """Return a source as a path, a file object or an array.

    Parameters
    ----------
    source
        See ``Source``.
    sample_rate
        Rate of an array or a tensor, in Hz. Everything else knows its own.

    Raises
    ------
    AudioError
        If the source is nothing that can hold audio, or the sample rate is missing or given twice.
    """
    name = source_name(source)
    if callable(source):
        source = source()
    if isinstance(source, Mapping):
        source, own_rate = _from_dict(source, name)
        if sample_rate is not None:
            raise AudioError(f"{name}: a dict has its own sampling_rate; leave sample_rate out")
        sample_rate = own_rate
    elif hasattr(source, "get_all_samples"):
        decoded = source.get_all_samples()
        source, sample_rate = decoded.data, int(decoded.sample_rate)
    elif sample_rate is not None and (_is_path(source) or _is_bytes(source) or hasattr(source, "read")):
        raise AudioError(f"{name}: a file has its own sample rate; leave sample_rate out")
    given: Any = source
    if _is_path(given):
        return Resolved(name, os.fsdecode(given))
    if _is_bytes(given):
        return Resolved(name, io.BytesIO(given))
    if hasattr(given, "read"):
        return Resolved(name, given)
    if sample_rate is None:
        raise AudioError(f"{name}: an array needs its sample_rate")
    return Resolved(name, _samples(given, name), sample_rate)


def source_name(source: Any) -> str:
    """Return what to call a source in messages and results: its path, its name, or what it is."""
    if _is_path(source):
        return os.fsdecode(source)
    if isinstance(source, Mapping):
        return source_name(source["path"]) if source.get("path") else "<dict>"
    if _is_bytes(source):
        return "<bytes>"
    name = getattr(source, "name", None)
    if isinstance(name, str):
        return name
    return "<file object>" if hasattr(source, "read") else "<array>"


def sources_of(sources: Iterable[Source]) -> Iterable[Source]:
    """Return the sources of a batch; raise AudioError where a single source is given instead.

    Iterating over a path would yield its letters, over an array its samples.
    """
    is_single = (
        isinstance(sources, Mapping)
        or _is_path(sources)
        or _is_bytes(sources)
        or hasattr(sources, "read")
        or hasattr(sources, "get_all_samples")
        or getattr(sources, "ndim", 2) < 2
    )
    if is_single or not isinstance(sources, Iterable):
        raise AudioError(f"{source_name(sources)}: is one recording; a batch needs a list of them")
    return sources


def is_url(text: str) -> bool:
    """Return whether a text looks like a URL rather than a path.

    >>> is_url("https://example.org/a.wav"), is_url("C:/a.wav"), is_url("2026-01-31T05:30:00.wav")
    (True, False, False)
    """
    return bool(_URL.match(text))


def _is_path(source: Any) -> bool:
    return isinstance(source, (str, os.PathLike))


def _is_bytes(source: Any) -> bool:
    return isinstance(source, (bytes, bytearray, memoryview))


def _from_dict(source: Mapping[str, Any], name: str) -> tuple[Any, int | None]:
    """Return what an item of an audio dataset holds, and its rate where that is an array."""
    if source.get("array") is not None:
        if source.get("sampling_rate") is None:
            raise AudioError(f"{name}: a dict with an array needs its sampling_rate")
        array = source["array"]
        is_2d = getattr(array, "ndim", 1) == 2 and not _is_tensor(array)
        return (array.T if is_2d else array), int(source["sampling_rate"])
    for key in ("bytes", "path"):
        if source.get(key) is not None:
            return source[key], None
    raise AudioError(f'{name}: a dict needs "array" and "sampling_rate", or "bytes", or "path"')


def _is_tensor(source: Any) -> bool:
    return hasattr(source, "detach")


def _samples(source: Any, name: str) -> np.ndarray:
    """Return an array or tensor as float32 ``(n_samples, n_channels)``."""
    if _is_tensor(source):
        tensor = source.detach().cpu()
        array: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).numpy().T
        expected = "(n_samples,) or (n_channels, n_samples)"
    else:
        try:
            array = np.asarray(source)
        except ValueError as error:  # a list of lists of different lengths
            raise AudioError(f"{name}: is not an array of numbers") from error
        expected = "(n_samples,) or (n_samples, n_channels)"
    if array.ndim not in (1, 2):
        raise AudioError(f"{name}: an array must be {expected}")
    if array.ndim == 1:
        array = array[:, None]
    elif 0 < array.shape[0] < array.shape[1]:
        raise AudioError(
            f"{name}: {source.shape} has more channels than samples; did you mean its transpose?"
        )
    if np.issubdtype(array.dtype, np.unsignedinteger):
        half = float(np.iinfo(array.dtype).max // 2 + 1)
        return ((array.astype(np.float64) - half) / half).astype(np.float32)
    if np.issubdtype(array.dtype, np.signedinteger):
        return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    if not np.issubdtype(array.dtype, np.floating):
        raise AudioError(f"{name}: an array of {array.dtype} is not audio; give floats or integers")
    with np.errstate(over="ignore"):  # a float64 that becomes infinite is reported by the reader
        return array.astype(np.float32, copy=False)
