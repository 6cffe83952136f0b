"""Words counted a block of documents at a time."""

import numpy as np
import pytest

from jaxsdgm.data import counts

IDS = np.array([[2, 2, 3], [2, 1, 0], [4, 2, 2], [5, 3, 3]])
LENGTHS = np.array([3, 2, 1, 3])


@pytest.mark.parametrize("block", [1, 3, counts.BLOCK])
def test_words_are_counted_within_their_length_and_documents_once(monkeypatch, block):
    monkeypatch.setattr(counts, "BLOCK", block)
    occurrences, documents = counts.word_counts(IDS, LENGTHS, 6)
    np.testing.assert_array_equal(occurrences, [0, 1, 3, 3, 1, 1])
    np.testing.assert_array_equal(documents, [0, 1, 2, 2, 1, 1])
