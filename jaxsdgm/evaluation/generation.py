"""Words that a decoder generates, made readable: top words, greedy text, and stop words."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxsdgm.data.counts import word_counts

PAD, UNK = 0, 1
PRIOR = "z2 drawn from its prior"  # how the title of such a table begins


def frequent_words(
    ids: ArrayLike, lengths: ArrayLike, vocab_size: int, *, share: float = 0.3
) -> frozenset[int]:
    """Stop words without a list: the ids of the words in more than a share of the documents.

    PAD and UNK are never among them. Arguments as for `word_counts`.
    """
    _, counts = word_counts(ids, lengths, vocab_size)
    frequent = np.flatnonzero(counts > share * len(np.asarray(lengths)))
    return frozenset(frequent[frequent > UNK].tolist())


def top_words(
    logits: ArrayLike,
    words: Sequence[str],
    *,
    k: int = 20,
    stop: Collection[int] = frozenset(),
    show_unk: bool = True,
) -> list[list[str]]:
    """The k most probable words of each bag of words, best first (the paper's Tables 14 and 15).

    Args:
        logits: [rows, v] scores of the decoder's one softmax, z1 E^T + b.
        words: the v words by id, PAD first and UNK second.
        k: words a row; fewer come back where the vocabulary has no more.
        stop: ids left out, say `frequent_words`. PAD always is.
        show_unk: keep UNK in the list, as the paper does.
    """
    scores = np.array(logits, np.float64)  # [rows, v], a copy
    scores[:, [PAD, *([] if show_unk else [UNK]), *stop]] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return [
        [words[int(i)] for i in row if row_scores[i] > -np.inf]
        for row, row_scores in zip(order, scores, strict=True)
    ]


def greedy_text(ids: ArrayLike, words: Sequence[str]) -> str:
    """One decoded sequence as text, up to its first PAD (the decoder's end, spec section 10).

    Args:
        ids: [t] word ids.
        words: the words by id.
    """
    sequence = np.asarray(ids)
    ends = np.flatnonzero(sequence == PAD)
    return " ".join(words[int(i)] for i in sequence[: ends[0] if len(ends) else None])
