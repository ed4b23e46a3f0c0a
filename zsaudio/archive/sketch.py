"""An approximate index for archives of millions of vectors: which rows are worth an exact look.

An inverted file (Jegou, Douze & Schmid, Product quantization for nearest neighbor search, TPAMI 2011) over a
*sketch* of each vector: ``N_AXES`` numbers in 8 bits. Sketches lie cluster by cluster. A query looks at those
of the clusters whose centres are nearest to it, and returns the rows with the largest inner products; the
archive then scores these exactly. Building it is a few passes of matrix products, so it takes minutes where a
graph takes hours, and it takes 132 bytes a vector.

Labels lie in directions in which vectors of sounds differ little. So the axes of the sketch are not the
principal components of the vectors x, which would lose these directions, but those that keep the inner
products with questions q: the first eigenvectors of Q^(1/2) X Q^(1/2), where Q are the second moments of some
questions, and X the covariance of the vectors. They minimise the mean square of q.x - q.x' over both.

Recall falls with ``PROBED``, the share of rows that is looked at, and with the number of rows returned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zsaudio.archive.query import threads
from zsaudio.archive.shards import Shard
from zsaudio.archive.store import Store

if TYPE_CHECKING:
    import torch

N_AXES, N_CLUSTERS = 128, 1024
PROBED, LEAST_PROBED = 0.1, 300_000  # rows that are looked at: a share, and a number
_SAMPLE, _CHUNK, _ROUNDS = 65_536, 16_384, 8
_OWN_SHARE = 0.5  # of the vectors themselves among the questions: a sound may be one
_NAMES = ("axes", "centres", "basis", "asks", "ends", "rows", "codes", "shards")


@dataclass
class Sketch:
    """The index.

    Parameters
    ----------
    axes
        ``(dim, N_AXES)``: the principal axes, on which the clusters lie.
    centres
        ``(n_clusters, N_AXES)``: of the clusters.
    basis, asks
        ``(dim, N_AXES)``: map a vector to its codes, and a question to their weights.
    ends
        ``(n_clusters,)``: where the rows of each cluster end.
    rows
        ``(n,)``: the number of each row, counted over all shards, by cluster.
    codes
        ``(n, N_AXES)``, int8, in the order of ``rows``.
    shards
        Names of the shards, in the order in which rows are counted, and their numbers of rows.
    """

    axes: np.ndarray
    centres: np.ndarray
    basis: np.ndarray
    asks: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    codes: np.ndarray
    shards: list[tuple[str, int]]

    def best_rows(self, queries: np.ndarray, n: int) -> dict[str, np.ndarray]:
        """Return the rows of each shard that may be among the ``n`` best for any of the queries.

        ``queries`` are ``(n_queries, dim)``; the larger its inner product with one, the better is a row.
        """
        import torch

        weights = queries @ self.asks
        near = (queries @ self.axes) @ self.centres.T
        found = []
        starts = np.concatenate([[0], self.ends[:-1]])
        most = max(LEAST_PROBED, round(PROBED * len(self.rows)))
        for query, order in zip(weights.astype(np.float32), np.argsort(-near, axis=1), strict=True):
            sizes = np.cumsum((self.ends - starts)[order])
            probed = np.sort(order[: int(np.searchsorted(sizes, most)) + 1])
            vector = torch.from_numpy(query)
            spans = [slice(int(starts[cluster]), int(self.ends[cluster])) for cluster in probed.tolist()]

            def products(span: slice, vector: "torch.Tensor" = vector) -> np.ndarray:
                codes = torch.from_numpy(np.array(self.codes[span])).float()
                return np.asarray((codes @ vector).numpy())

            joined = np.concatenate(list(threads().map(products, spans)))
            where = np.concatenate([np.arange(span.start, span.stop) for span in spans])
            best = np.argpartition(-joined, min(n, len(joined)) - 1)[:n] if len(joined) else np.zeros(0, int)
            found.append(self.rows[where[best]])
        chosen = np.unique(np.concatenate(found)).astype(np.int64)
        ends = np.cumsum([number for _, number in self.shards])
        parts = np.split(chosen, np.searchsorted(chosen, ends[:-1]))
        firsts = ends - [number for _, number in self.shards]
        return {name: part - first for (name, _), part, first in zip(self.shards, parts, firsts, strict=True)}

    def save(self, store: Store) -> None:
        """Write the index beside the shards; that of the shards comes last and makes it whole."""
        for name in _NAMES[:-1]:
            store.write_array(f"index-{name}.npy", getattr(self, name))
        names = np.array([f"{name} {number}" for name, number in self.shards])
        store.write_array("index-shards.npy", names)

    @classmethod
    def load(cls, store: Store, shards: Sequence[Shard]) -> "Sketch | None":
        """Read the index; None where there is none, or one of shards that are there no more."""
        arrays = {name: store.read_array(f"index-{name}.npy") for name in _NAMES}
        if any(array is None for array in arrays.values()):
            return None
        pairs = [str(text).split() for text in np.asarray(arrays.pop("shards"))]
        listed = [(name, int(number)) for name, number in pairs]
        present = {shard.name: shard.n_rows for shard in shards}
        whole = all(present.get(name) == number for name, number in listed)
        if not whole or len(np.asarray(arrays["rows"])) != sum(number for _, number in listed):
            return None
        return cls(**arrays, shards=listed)  # type: ignore[arg-type]  # none is None


def build(shards: Sequence[Shard], questions: np.ndarray | None = None, seed: int = 0) -> Sketch:
    """Make an index of all rows of some shards, for questions ``(n, dim)`` such as those given."""
    import torch

    rng = np.random.default_rng(seed)
    n_rows = sum(shard.n_rows for shard in shards)
    share = min(1.0, _SAMPLE / max(1, n_rows))
    parts = []
    for shard in shards:
        chosen = np.sort(rng.choice(shard.n_rows, round(share * shard.n_rows), replace=False))
        parts.append(np.asarray(shard.vectors[chosen], np.float32))
    sample = torch.from_numpy(np.concatenate(parts))
    # not centred: what matters is the inner product, not the distance
    axes = torch.linalg.eigh(sample.T @ sample)[1].flip(1)[:, :N_AXES]
    centres = _k_means(sample @ axes, min(N_CLUSTERS, max(1, n_rows // 64)), rng)
    mean = sample.mean(0)  # adds the same to all inner products with a question
    basis, asks = _told_apart(sample - mean, questions)
    steps = (_tops((sample - mean) @ basis) / 127).clamp(min=1e-9)
    basis, asks = basis / steps, asks * steps

    codes = np.empty((n_rows, basis.shape[1]), np.int8)
    clusters = np.empty(n_rows, np.int32)
    half_norms = centres.square().sum(1) / 2
    at = 0
    for shard in shards:
        for start in range(0, shard.n_rows, _CHUNK):
            chunk = torch.from_numpy(np.array(shard.vectors[start : start + _CHUNK])).float()
            rounded = ((chunk - mean) @ basis).round().clamp(-127, 127)
            codes[at : at + len(chunk)] = rounded.to(torch.int8).numpy()
            clusters[at : at + len(chunk)] = ((chunk @ axes) @ centres.T - half_norms).argmax(1).numpy()
            at += len(chunk)
    order = np.argsort(clusters, kind="stable").astype(np.uint32)
    return Sketch(
        axes.numpy(),
        centres.numpy(),
        basis.numpy(),
        asks.numpy(),
        np.cumsum(np.bincount(clusters, minlength=len(centres))),
        order,
        codes[order],
        [(shard.name, shard.n_rows) for shard in shards],
    )


def _told_apart(centred: "torch.Tensor", questions: np.ndarray | None) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return matrices B and A, ``(dim, N_AXES)``, of which (xB).(qA) is nearest to x.q."""
    import torch

    own = centred.T @ centred
    own = own / own.trace()
    asked = _OWN_SHARE * own + 1e-4 * torch.eye(len(own)) / len(own)
    if questions is not None:
        rows = torch.from_numpy(np.asarray(questions, np.float32))
        moments = rows.T @ rows
        asked = asked + moments / moments.trace()
    values, vectors = torch.linalg.eigh(asked.double())
    root = vectors * values.clamp(min=1e-12).sqrt() @ vectors.T
    inverse = vectors / values.clamp(min=1e-12).sqrt() @ vectors.T
    kept = torch.linalg.eigh(root @ own.double() @ root)[1].flip(1)[:, :N_AXES]
    return (root @ kept).float(), (inverse @ kept).float()


def _tops(values: "torch.Tensor") -> "torch.Tensor":
    """Return what nearly all values of each column stay below."""
    import torch

    n_above = max(1, round(0.0005 * len(values)))
    return torch.topk(values.abs(), n_above, dim=0).values[-1]


def _k_means(points: "torch.Tensor", n_clusters: int, rng: np.random.Generator) -> "torch.Tensor":
    """Return the centres of clusters of points, by Lloyd's algorithm."""
    import torch

    centres = points[torch.from_numpy(rng.choice(len(points), min(n_clusters, len(points)), replace=False))]
    for _ in range(_ROUNDS):
        nearest = torch.cat(
            [
                (part @ centres.T - centres.square().sum(1) / 2).argmax(1)
                for part in torch.split(points, _CHUNK)
            ]
        )
        totals = torch.zeros_like(centres).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=len(centres))
        centres = torch.where(counts[:, None] > 0, totals / counts[:, None].clamp(min=1), centres)
    return centres
