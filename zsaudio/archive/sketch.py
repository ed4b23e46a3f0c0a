"""An approximate index for archives of millions of vectors: which rows are worth an exact look.

An inverted file (Jegou, Douze & Schmid, Product quantization for nearest neighbor search, TPAMI 2011) over a
*sketch* of each vector: its ``N_AXES`` principal components in 8 bits. Sketches lie cluster by cluster. A
query looks at those of the clusters whose centres are nearest to it, and returns the rows with the largest
inner products; the archive then scores these exactly. Building it is a few passes of matrix products, so it
takes minutes where a graph takes hours, and it takes 68 bytes a vector.

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

N_AXES, N_CLUSTERS = 64, 1024
PROBED, LEAST_PROBED = 0.1, 100_000  # rows that are looked at: a share, and a number
_SAMPLE, _CHUNK, _ROUNDS = 65_536, 16_384, 8
_NAMES = ("basis", "centres", "ends", "rows", "codes", "shards")


@dataclass
class Sketch:
    """The index.

    Parameters
    ----------
    basis
        ``(dim, N_AXES)``: maps a vector to its components, in units of a code's step.
    centres
        ``(n_clusters, N_AXES)``: of the clusters, in the same units.
    ends
        ``(n_clusters,)``: where the rows of each cluster end.
    rows
        ``(n,)``: the number of each row, counted over all shards, by cluster.
    codes
        ``(n, N_AXES)``, int8, in the order of ``rows``.
    shards
        Names of the shards, in the order in which rows are counted, and their numbers of rows.
    """

    basis: np.ndarray
    centres: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    codes: np.ndarray
    shards: list[tuple[str, int]]

    def best_rows(self, queries: np.ndarray, n: int) -> dict[str, np.ndarray]:
        """Return the rows of each shard that may be among the ``n`` best for any of the queries.

        ``queries`` are ``(n_queries, dim)``; the larger its inner product with one, the better is a row.
        """
        import torch

        # the basis holds the axes divided by their steps: inner products need the steps back, twice
        steps = 1.0 / np.maximum(np.linalg.norm(self.basis, axis=0), 1e-12)
        weights = (queries @ self.basis) * steps**2
        near = weights @ self.centres.T
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


def build(shards: Sequence[Shard], seed: int = 0) -> Sketch:
    """Make an index of all rows of some shards."""
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
    _, axes = torch.linalg.eigh(sample.T @ sample)
    axes = axes.flip(1)[:, :N_AXES]
    steps = _tops(sample @ axes) / 127
    basis = axes / steps.clamp(min=1e-9)
    codes_of_sample = sample @ basis
    weight = steps  # distances are those of the vectors, not of their codes
    centres = _k_means(codes_of_sample * weight, min(N_CLUSTERS, max(1, n_rows // 64)), rng)

    codes = np.empty((n_rows, basis.shape[1]), np.int8)
    clusters = np.empty(n_rows, np.int32)
    half_norms = centres.square().sum(1) / 2
    at = 0
    for shard in shards:
        for start in range(0, shard.n_rows, _CHUNK):
            chunk = torch.from_numpy(np.array(shard.vectors[start : start + _CHUNK])).float()
            projected = chunk @ basis
            codes[at : at + len(chunk)] = projected.round().clamp(-127, 127).to(torch.int8).numpy()
            nearest = (projected * weight) @ centres.T - half_norms
            clusters[at : at + len(chunk)] = nearest.argmax(1).numpy()
            at += len(chunk)
    order = np.argsort(clusters, kind="stable").astype(np.uint32)
    ends = np.cumsum(np.bincount(clusters, minlength=len(centres)))
    return Sketch(
        basis.numpy(),
        (centres / weight.clamp(min=1e-9)).numpy(),
        ends,
        order,
        codes[order],
        [(shard.name, shard.n_rows) for shard in shards],
    )


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
