"""Sentences of SNLI and Yelp through TFDS, whose rows are invented here."""

import pytest

from jaxsdgm.data import line_sets
from jaxsdgm.errors import UserError

SNLI = [
    {"premise": b"A man sleeps.", "hypothesis": b"It's a man."},
    {"premise": b"A man sleeps.", "hypothesis": b"Two dogs eat."},
    {"premise": b"Nobody eats.", "hypothesis": b""},
]
YELP = [
    {"text": b"Great food! Will come back. " + b"so " * 16 + b".", "label": 1},
    {"text": b"Bad. Never again!", "label": 0},
]


@pytest.fixture
def rows(monkeypatch):
    """Three sentences of each."""
    monkeypatch.setattr(line_sets, "SIZES", {"train": 2, "dev": 1, "test": 1})
    found = {"snli": SNLI, "yelp_polarity_reviews": YELP}
    monkeypatch.setattr(line_sets, "tfds_rows", lambda name, split: (found[name], None))


def test_snli(rows):
    corpus = line_sets.fetch_snli(seed=0)
    words = {w for split in corpus.splits.values() for w in split.words}
    expected = {"a man sleeps .", "it's a man .", "two dogs eat .", "nobody eats ."}
    assert {" ".join(w) for w in words} == expected
    assert [len(split) for split in corpus.splits.values()] == [2, 1, 1]
    assert line_sets.fetch_snli(seed=0).splits["train"].words == corpus.splits["train"].words


def test_yelp(rows):
    corpus = line_sets.fetch_yelp(seed=0)
    found = {
        " ".join(words): int(label)
        for split in corpus.splits.values()
        for words, label in zip(split.words, split.labels, strict=True)
    }
    assert found == {"great food !": 1, "will come back .": 1, "bad .": 0, "never again !": 0}
    assert corpus.label_names == ("0", "1")


def test_too_few(rows, monkeypatch):
    monkeypatch.setattr(line_sets, "SIZES", {"train": 20, "dev": 1, "test": 1})
    with pytest.raises(UserError, match="4 sentences, fewer than 22"):
        line_sets.fetch_snli(seed=0)
