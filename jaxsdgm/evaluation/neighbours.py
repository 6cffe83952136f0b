"""Nearest words across languages: do words that mean the same lie close (the paper's Table 3)?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxsdgm.data.counts import word_counts
from jaxsdgm.evaluation.generation import UNK

FREQUENT = 500  # queries come from this many most frequent words
BEGINS = "▁"  # in front of a subword that begins a word
LETTERS = 4  # and have at least so many letters, where the language has enough of those


def nearest_words(
    tables: Mapping[str, ArrayLike],
    words: Mapping[str, Sequence[str]],
    queries: Sequence[tuple[str, str]],
    *,
    k: int = 3,
    min_id: int = 2,
    max_id: int | None = None,
) -> list[dict[str, Any]]:
    """The k words of every language with the highest cosine to each query.

    Args:
        tables: embeddings [v, e] by language, all in one space.
        words: the v words by id, by language.
        queries: (language, word) pairs.
        k: neighbours a language.
        min_id: the first id that may be a neighbour; the two before it are PAD and UNK.
        max_id: one past the last id; ids go by frequency, so it keeps rare words out.

    Returns:
        For each query {query, language, neighbours: {language: [(word, cosine)]}}, best first. The
        query itself is left out in its own language; the same spelling in another language is
        another word. A query that is not in the vocabulary has no neighbours ({}): a typing error
        must not cost a finished run its report.
    """
    index = {language: {word: i for i, word in enumerate(ws)} for language, ws in words.items()}
    unit = {language: _unit_rows(table) for language, table in tables.items()}
    rows = []
    for language, word in queries:
        here = index.get(language, {}).get(word)
        row: dict[str, Any] = {"query": word, "language": language, "neighbours": {}}
        if here is not None:
            for other, table in unit.items():
                cosines = table @ unit[language][here]  # [v]
                cosines[:min_id] = -np.inf
                cosines[len(cosines) if max_id is None else max_id :] = -np.inf
                if other == language:
                    cosines[here] = -np.inf
                row["neighbours"][other] = _best(cosines, words[other], k=k)
        rows.append(row)
    return rows


def pick_queries(
    ids: ArrayLike, lengths: ArrayLike, words: Sequence[str], *, n: int = 8
) -> list[str]:
    """Frequent content words of one language, chosen from its documents, the most telling first.

    Function words are spread evenly over documents, content words come in bursts. So the frequent
    words are ranked by residual IDF, log2(1 - exp(-occurrences / N)) - log2(documents / N) for N
    documents: what their document count lacks of a Poisson word's (Church and Gale 1995, "Poisson
    mixtures").

    Args:
        ids: [n, length] word ids, ordered by frequency from 2 on.
        lengths: [n] true lengths.
        words: the v words by id.
        n: how many words.
    """
    occurrences, documents = word_counts(ids, lengths, len(words))  # [v]
    n_documents = len(np.asarray(lengths))
    seen = np.maximum(documents, 1) / n_documents
    burst = np.log2(-np.expm1(-np.maximum(occurrences, 1) / n_documents)) - np.log2(seen)
    frequent = range(UNK + 1, min(FREQUENT, len(words)))
    spelled = [word.removeprefix(BEGINS) for word in words]
    content = [i for i in frequent if spelled[i].isalpha() and documents[i]]
    # Short words last, not never: Chinese has words of one sign.
    ranked = sorted(content, key=lambda i: (len(spelled[i]) < LETTERS, -burst[i]))
    return [words[i] for i in ranked[:n]]


def _unit_rows(table: ArrayLike) -> np.ndarray:
    """Rows of length one; a row of zeros (PAD) stays zero."""
    table = np.asarray(table, np.float32)
    norms = np.linalg.norm(table, axis=1, keepdims=True)
    return table / np.where(norms > 0, norms, 1.0)


def _best(cosines: np.ndarray, words: Sequence[str], *, k: int) -> list[tuple[str, float]]:
    order = np.argsort(-cosines, kind="stable")[:k]
    return [(words[int(i)], float(cosines[i])) for i in order if cosines[i] > -np.inf]
