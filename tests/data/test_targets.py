"""The words that a bag-of-words decoder explains."""

import numpy as np
import pytest

from jaxsdgm.data import counts
from jaxsdgm.data.targets import choose_targets

# word 2 is in every document, 3 in two, 4 in one; 0 is PAD and 1 is UNK
DOCUMENTS = np.array([[2, 3, 3, 3, 1], [2, 4, 0, 0, 0], [2, 1, 3, 0, 0]])


@pytest.mark.parametrize("block", [2, counts.BLOCK])
def test_words_in_between_are_kept_and_counted_up_to_the_cap(monkeypatch, block):
    monkeypatch.setattr(counts, "BLOCK", block)
    targets = choose_targets(DOCUMENTS, min_documents=2, max_share=0.7, cap=2)
    np.testing.assert_array_equal(targets.ids, [0, 3])
    np.testing.assert_array_equal(targets.encode(DOCUMENTS), [[1, 1], [0, 0], [1, 0]])


def test_without_a_cap_every_occurrence_counts():
    targets = choose_targets(DOCUMENTS, min_documents=1, max_share=1.0, cap=0)
    np.testing.assert_array_equal(targets.ids, [0, 2, 3, 4])
    np.testing.assert_array_equal(targets.encode(DOCUMENTS)[0], [1, 2, 2, 2])


def test_words_that_training_never_saw_are_no_targets():
    targets = choose_targets(DOCUMENTS, min_documents=1, max_share=1.0, cap=0)
    np.testing.assert_array_equal(targets.encode(np.array([[9, 3]])), [[2]])
