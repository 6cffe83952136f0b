"""How often words occur in a token array, which may be of a million documents."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

BLOCK = 4096  # documents at a time: what is made of all of them at once would not fit


def blocks(n: int) -> Iterator[slice]:
    """Some documents after others, all n of them."""
    return (slice(start, start + BLOCK) for start in range(0, n, BLOCK))


def word_counts(
    ids: ArrayLike, lengths: ArrayLike, vocab_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """How often each word occurs, and in how many documents: [v] each.

    Args:
        ids: [n, length] word ids.
        lengths: [n] true lengths; what lies beyond is not looked at.
        vocab_size: v.
    """
    ids, lengths = np.asarray(ids), np.asarray(lengths)
    occurrences, documents = np.zeros((2, vocab_size), np.int64)
    for block in blocks(len(ids)):
        outside = np.arange(ids.shape[1]) >= lengths[block, None]
        ordered = np.sort(np.where(outside, -1, ids[block]), axis=1)
        first = np.diff(ordered, axis=1, prepend=-1) != 0  # never true of -1 itself
        occurrences += np.bincount(ordered[ordered >= 0], minlength=vocab_size)
        documents += np.bincount(ordered[first], minlength=vocab_size)
    return occurrences, documents
