"""Word vectors of two languages into one space: Procrustes, then CSLS.

After Conneau et al. 2018, "Word translation without parallel data". Vectors are rows of unit
length; no more than BLOCK rows of the matrix of all cosines are held at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import orthogonal_procrustes

BLOCK = 1024
NEIGHBOURS = 10  # k of CSLS
ROUNDS = 5


@dataclass(frozen=True)
class Round:
    """A mapping `[d, d]`, from how many pairs it was made, and how well it fits."""

    mapping: np.ndarray
    pairs: int
    criterion: float


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """`[n, d]` with rows of length one; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def rounds(
    source: np.ndarray, target: np.ndarray, pairs: np.ndarray, *, frequent: int
) -> Iterator[Round]:
    """Yields the orthogonal W that the pairs give, then ROUNDS refined ones.

    W minimises |source W - target| over the pairs. Those of the next round are each other's best
    translations by CSLS. The criterion is the mean cosine of a source word and its translation; it
    needs no dictionary and tells which round is best.

    Args:
      source, target: [n, d] and [m, d] at unit length, frequent words first.
      pairs: [p, 2] rows of source and target, p > 0.
      frequent: translations are looked for among so many first rows of each side.
    """
    for _ in range(ROUNDS + 1):
        mapping, _ = orthogonal_procrustes(source[pairs[:, 0]], target[pairs[:, 1]])
        mapped, others = source[:frequent] @ mapping, target[:frequent]
        forth, back = translations(mapped, others), translations(others, mapped)
        yield Round(mapping, len(pairs), float((mapped * others[forth]).sum(1).mean()))
        mutual = np.flatnonzero(back[forth] == np.arange(len(forth)))
        pairs = np.stack([mutual, forth[mutual]], 1)


def translations(rows: np.ndarray, others: np.ndarray, *, k: int = NEIGHBOURS) -> np.ndarray:
    """The row of `others [m, d]` that is best by CSLS for each of `rows [n, d]`, `[n]`.

    CSLS(x, y) = 2 cos(x, y) - r(x) - r(y), r being the mean cosine to the k nearest vectors of the
    other side; r(x) is the same for all y.
    """
    hubness = mean_similarity(others, rows, k=k)  # m
    best = np.empty(len(rows), np.int64)
    for start in range(0, len(rows), BLOCK):
        cosines = rows[start : start + BLOCK] @ others.T
        best[start : start + BLOCK] = (cosines - hubness / 2).argmax(1)
    return best


def mean_similarity(rows: np.ndarray, others: np.ndarray, *, k: int) -> np.ndarray:
    """The mean cosine `[n]` of each of `rows [n, d]` to the k nearest of `others [m, d]`."""
    k = min(k, len(others))
    means = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BLOCK):
        cosines = rows[start : start + BLOCK] @ others.T
        means[start : start + BLOCK] = np.partition(cosines, -k, axis=1)[:, -k:].mean(1)
    return means
