"""Sentences packed into sequences: nothing is lost, and the form is BERT's."""

import numpy as np

from jaxsdgm.data.bert_tokenizers import CLS, PAD, SEP, SPECIAL
from jaxsdgm.data.sequences import join, pack

ROOM = 17


def sentences(seed, n):
    rng = np.random.default_rng(seed)
    return [rng.integers(len(SPECIAL), 99, rng.integers(0, 9)).tolist() for _ in range(n)]


def packed(rows, **fields):
    return pack(rows, max_length=ROOM + 3, **{"short_share": 0.1, "seed": 0, **fields})


def test_all_tokens_in_order():
    rows = sentences(0, 300)
    found = packed(rows)
    words = found["ids"][found["ids"] >= len(SPECIAL)]
    np.testing.assert_array_equal(words, [i for row in rows for i in row])


def test_form():
    found = packed(sentences(1, 300))
    with_b = 0
    for ids, length, second in zip(*(found[k] for k in ("ids", "lengths", "second")), strict=True):
        assert ids[0] == CLS
        assert (ids[length:] == PAD).all()
        assert (ids[:length] != PAD).all()
        ends = np.flatnonzero(ids == SEP)
        assert ends[-1] == length - 1
        assert ends[0] == second - 1
        assert len(ends) == 1 + (second < length)
        with_b += second < length
    assert with_b > 0.9 * len(found["ids"])


def test_most_are_full_and_some_are_short():
    rows = sentences(2, 3000)
    lengths = packed(rows)["lengths"]
    assert (lengths > ROOM + 3 - 9).mean() > 0.85
    assert packed(rows, short_share=0.0)["lengths"][:-1].min() > ROOM + 3 - 9 - 1
    assert lengths.min() < ROOM / 2
    assert len(packed(rows, short_share=1.0)["lengths"]) > 1.3 * len(lengths)


def test_long_and_empty_sentences():
    found = packed([[], [7] * 50, [], [8]])
    assert (found["ids"] == 7).sum() == ROOM
    assert (found["ids"] == 8).sum() == 1
    assert found["ids"].shape == (2, ROOM + 2)
    assert packed([])["ids"].shape[0] == 0


def test_join_pads_the_narrower():
    one, other = packed([[7, 7]]), packed([[8] * 9, [9]])
    found = join([one, other])
    assert found["ids"].shape == (2, other["ids"].shape[1])
    np.testing.assert_array_equal(found["lengths"], [4, 13])
    assert (found["ids"][0, 4:] == PAD).all()
