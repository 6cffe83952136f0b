"""Pools in rotation, and the draws of the SSVAE paper."""

import numpy as np
import pytest

from jaxsdgm.data import generated
from jaxsdgm.data.pools import (
    draw_by_file,
    draw_together,
    make_pool,
    rotation_dev,
    rotation_subset,
)
from jaxsdgm.data.tokenizers import WordTokenizer
from jaxsdgm.errors import UserError
from tests.parity import golden

FOLDER = golden.ROOT / "ssvae"


@pytest.fixture(scope="module")
def splits():
    with np.load(FOLDER / "splits.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", ["agnews", "imdb"])
def test_the_papers_draws(splits, name):
    n, others = splits[f"in/{name}_sizes"]
    pool, rest = draw_together(int(n), int(others), pool=5000, unlabelled=10_000)
    np.testing.assert_array_equal(pool, splits[f"out/{name}_labelled_pool"])
    np.testing.assert_array_equal(rest, splits[f"out/{name}_unlabelled"])


@pytest.mark.parametrize("rotation", range(5))
def test_the_papers_rotations(splits, rotation):
    dev = rotation_dev(5000, rotation)
    assert [dev.start, dev.stop] == splits[f"out/dev_range_dev{rotation + 1}"].tolist()
    for key, ranges in splits.items():
        prefix = f"out/train_ranges_dev{rotation + 1}_p"
        if key.startswith(prefix):
            share = float(key.removeprefix(prefix))
            subset = rotation_subset(5000, round(share * 4000), rotation)
            theirs = [line for start, end in ranges.reshape(2, 2) for line in range(start, end)]
            assert subset.indices == tuple(theirs)
            assert not set(subset.indices) & set(dev)


def test_by_file_gives_lines_of_one_file():
    pool, rest = draw_by_file(100, 10, pool=40, unlabelled=80)
    assert (len(set(pool)), len(set(rest))) == (40, 80)
    assert set(pool) | set(rest) <= set(range(100))
    assert draw_by_file(100, 10, pool=40, unlabelled=80) == (pool, rest)


def test_a_pool_of_any_corpus():
    corpus = generated.generate("en", train=40, dev=8, test=8, unlabelled=5)
    pooled = make_pool(corpus, pool=20, unlabelled=0)
    sizes = {split: len(documents) for split, documents in pooled.splits.items()}
    assert sizes == {"train": 20, "dev": 4, "test": 8, "unlabelled": 25}
    train = dict(zip(corpus.splits["train"].texts, corpus.splits["train"].labels, strict=True))
    documents = pooled.splits["train"]
    for text, label in zip(documents.texts, documents.labels, strict=True):
        assert train[text] == label
    assert not set(documents.texts) & set(pooled.splits["unlabelled"].texts)
    assert len(make_pool(corpus, pool=20, unlabelled=7).splits["unlabelled"]) == 7


def test_bad_input():
    corpus = generated.generate("en", train=40, dev=8, test=8)
    with pytest.raises(UserError, match=r"config\.data\.pool is 50, but there are only 40"):
        make_pool(corpus, pool=50, unlabelled=0)
    with pytest.raises(UserError, match="divides 41 training documents by 5"):
        rotation_dev(41, 0)
    with pytest.raises(UserError, match="33 labels asked for, but only 32"):
        rotation_subset(40, 33, 0)


def test_the_papers_vocabulary():
    """Its words, in its order, and which tokens are known; ours has no start token."""
    with np.load(FOLDER / "numericalise.npz", allow_pickle=False) as arrays:
        known = dict(arrays)
    train = [str(text) for text in known["in/texts"]]
    words = [str(word) for word in known["out/itos"]]  # <unk>, <pad>, <go>, then by frequency
    blank = WordTokenizer("en", "whitespace", (), ())
    tokenizer = WordTokenizer.train(
        map(blank.tokens, train),
        language="en",
        normaliser="whitespace",
        size=int(known["in/max_size"]),
        alphabetical=True,
    )
    assert list(tokenizer.words[2:]) == words[3:]
    length = int(known["in/max_len"]) - 1  # theirs starts with <go>
    for split, texts in (("train", train), ("new", [str(x) for x in known["in/new_texts"]])):
        ids, lengths = tokenizer.encode(texts, length)
        theirs = known[f"out/{split}_text_ids"][:, 1:]
        ours = np.zeros_like(theirs)
        ours[:, : ids.shape[1]] = np.where(ids == 0, 1, np.where(ids == 1, 0, ids + 1))
        ours[:, ids.shape[1] :] = 1
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(lengths, (theirs != 1).sum(1))
