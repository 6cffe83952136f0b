"""The words that a bag-of-words decoder has to explain, where these are not all of them.

Words of one or two documents cannot be predicted and words of most documents say nothing about
them; both drown the label in the likelihood. A selection keeps the words in between.
"""

from dataclasses import dataclass

import numpy as np

from jaxsdgm.data.counts import blocks, word_counts

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
        n = len(documents)
        kept = [_kept(index[documents[block]], self.cap) for block in blocks(n)]
        found = np.full((n, max(rows.shape[1] for rows in kept)), PAD, np.int32)
        for block, rows in zip(blocks(n), kept, strict=True):
            found[block, : rows.shape[1]] = rows
        return found


def choose_targets(
    documents: np.ndarray, *, min_documents: int, max_share: float, cap: int
) -> TargetWords:
    """The words in at least `min_documents` and at most a `max_share` of the documents `[n, t]`."""
    lengths = (documents != PAD).sum(1)
    _, counts = word_counts(documents, lengths, max(UNK, int(documents.max())) + 1)
    kept = (counts >= min_documents) & (counts <= max_share * len(documents))
    kept[[PAD, UNK]] = False
    return TargetWords(np.concatenate([[PAD], np.flatnonzero(kept)]).astype(np.int32), cap)


def _kept(rows: np.ndarray, cap: int) -> np.ndarray:
    """Rows without PAD in between; with a cap sorted, and each value at most so often."""
    if cap:
        rows = np.sort(rows, axis=1)
    keep = rows != PAD
    if cap:
        keep &= _repetition(rows) < cap
    width = max(1, keep.sum(1).max())
    first = np.argsort(~keep, axis=1, kind="stable")[:, :width]
    return np.where(np.take_along_axis(keep, first, 1), np.take_along_axis(rows, first, 1), PAD)


def _repetition(ordered: np.ndarray) -> np.ndarray:
    """How many equal values stand before each one of sorted rows."""
    place = np.arange(ordered.shape[1])
    new = np.pad(ordered[:, 1:] != ordered[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    return place - np.maximum.accumulate(np.where(new, place, 0), axis=1)
