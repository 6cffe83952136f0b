"""Nearest words on tables small enough to see, and the choice of queries."""

import math

import numpy as np

from jaxsdgm.evaluation.neighbours import nearest_words, pick_queries

WORDS = {
    "en": ["<PAD>", "<UNK>", "president", "mr", "fish"],
    "de": ["<PAD>", "<UNK>", "präsident", "fisch", "president"],
}
TABLES = {
    "en": np.array([[0, 0], [1, 0], [2, 0], [1, 1], [0, 3]], np.float32),
    "de": np.array([[0, 0], [1, 0], [4, 0.4], [0.1, 1], [5, 0]], np.float32),
}


def test_cosines_in_both_languages():
    (row,) = nearest_words(TABLES, WORDS, [("en", "president")], k=2)
    assert (row["query"], row["language"]) == ("president", "en")
    own, other = row["neighbours"]["en"], row["neighbours"]["de"]
    assert [word for word, _ in own] == ["mr", "fish"]
    np.testing.assert_allclose([cosine for _, cosine in own], [math.sqrt(0.5), 0], atol=1e-6)
    # UNK points exactly where the query does and is left out; the same spelling in German stays.
    assert [word for word, _ in other] == ["president", "präsident"]
    np.testing.assert_allclose(other[1][1], 4 / math.hypot(4, 0.4), rtol=1e-6)


def test_rare_words_can_be_kept_out():
    (row,) = nearest_words(TABLES, WORDS, [("en", "fish")], k=3, max_id=4)
    assert [word for word, _ in row["neighbours"]["de"]] == ["fisch", "präsident"]
    assert [word for word, _ in row["neighbours"]["en"]] == ["mr", "president"]


def test_an_unknown_query_has_no_neighbours():
    queries = [("en", "prezident"), ("fr", "président")]
    rows = nearest_words(TABLES, WORDS, queries)
    assert [row["neighbours"] for row in rows] == [{}, {}]


def test_queries_are_the_words_that_come_in_bursts():
    words = ["<PAD>", "<UNK>", "with", "music", "is", "2000", "image"]
    documents = [[2, 4, 5], [2, 3, 3, 3, 3], [2, 4, 5], [2, 6, 6, 5]]
    lengths = np.array([len(document) for document in documents])
    ids = np.full((4, 6), 2)  # what lies beyond the length must not count
    for row, document in zip(ids, documents, strict=True):
        row[: len(document)] = document
    assert pick_queries(ids, lengths, words, n=3) == ["music", "image", "with"]
    assert pick_queries(ids, lengths, words, n=9) == ["music", "image", "with", "is"]
    subwords = [*words[:2], *(f"▁{word}" for word in words[2:])]
    found = pick_queries(ids, lengths, subwords, n=9)
    assert found == ["▁music", "▁image", "▁with", "▁is"]
