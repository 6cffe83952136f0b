"""Words of a decoder and stop words of a corpus."""

import numpy as np
import pytest

from jaxsdgm.evaluation.generation import frequent_words, greedy_text, top_words

WORDS = ["<PAD>", "<UNK>", "the", "bank", "goal", "rain"]
IDS = np.array([[2, 2, 3], [2, 1, 0], [4, 2, 2], [5, 3, 3]])
LENGTHS = np.array([3, 2, 1, 3])


@pytest.mark.parametrize(
    ("share", "stop"), [(0.3, {2, 3}), (0.5, set()), (0.49, {2, 3}), (0.0, {2, 3, 4, 5})]
)
def test_stop_words_are_those_in_more_than_the_share(share, stop):
    assert frequent_words(IDS, LENGTHS, 6, share=share) == stop


def test_top_words():
    logits = np.array([[9.0, 8, 7, 1, 3, 2], [9, 0, 7, 6, 5, 4]])
    assert top_words(logits, WORDS, k=3, stop={2}) == [
        ["<UNK>", "goal", "rain"],
        ["bank", "goal", "rain"],
    ]
    assert top_words(logits, WORDS, k=2, show_unk=False) == [["the", "goal"], ["the", "bank"]]
    assert logits[0, 0] == 9  # the caller's array is left alone


def test_fewer_words_than_asked_for():
    assert top_words(np.zeros((1, 6)), WORDS, stop={2, 3}) == [["<UNK>", "goal", "rain"]]


def test_greedy_text_stops_at_pad():
    assert greedy_text([3, 1, 4, 0, 5], WORDS) == "bank <UNK> goal"
    assert greedy_text([3, 4], WORDS) == "bank goal"
    assert greedy_text([0, 3], WORDS) == ""
