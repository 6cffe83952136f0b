"""The words that a bag-of-words decoder has to explain, where these are not all of them.

Words of one or two documents cannot be predicted and words of most documents say nothing about
them; both drown the label in the likelihood. A selection keeps the words in between.
"""

from dataclasses import dataclass

import numpy as np

PAD, UNK = 0, 1


@dataclass(frozen=True)
class TargetWords:
    """`ids[i]` is the tokenizer's id of target i; target 0 is PAD. `cap` counts each word so often.

    Target ids are a vocabulary of their own, much smaller than the encoder's.
    """

    ids: np.ndarray  # [k] int32, ascending
    cap: int

    @property
    def size(self) -> int:
        """Targets, PAD included."""
        return len(self.ids)

    def encode(self, documents: np.ndarray) -> np.ndarray:
        """Documents `[n, t]` of the tokenizer as targets `[n, t']`, other words left out."""
        index = np.zeros(max(int(self.ids.max()), int(documents.max())) + 1, np.int32)
        index[self.ids] = np.arange(self.size)
        rows = [_capped(row[row != PAD], self.cap) for row in index[documents]]
        width = max(1, *map(len, rows))
        return np.array([np.pad(row, (0, width - len(row))) for row in rows], np.int32)


def _capped(row: np.ndarray, cap: int) -> np.ndarray:
    """`row` sorted, with at most `cap` of each value; 0: as it is."""
    if not cap:
        return row
    values, counts = np.unique(row, return_counts=True)
    return np.repeat(values, np.minimum(counts, cap))


def choose_targets(
    documents: np.ndarray, *, min_documents: int, max_share: float, cap: int
) -> TargetWords:
    """The words in at least `min_documents` and at most a `max_share` of the documents `[n, t]`."""
    counts = np.bincount(np.concatenate([np.unique(row) for row in documents]))
    kept = (counts >= min_documents) & (counts <= max_share * len(documents))
    kept[[PAD, UNK]] = False
    return TargetWords(np.concatenate([[PAD], np.flatnonzero(kept)]).astype(np.int32), cap)
