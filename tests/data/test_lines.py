"""Sentences a line: vocabulary, labels, files, bad lines."""

import numpy as np
import pytest

from jaxsdgm.data.batches import EqualLengthPlan
from jaxsdgm.data.lines import SPECIALS, Vocabulary, read_corpus
from jaxsdgm.errors import UserError


def write(folder, **texts):
    texts = {"train": "b a\nb\n", "valid": "a\n", "test": "c a\n", **texts}
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def test_words_come_in_the_order_of_train():
    vocabulary = Vocabulary.of([["b", "<unk>", "a"], ["b", "_UNK", "c"]])
    assert vocabulary.words == (*SPECIALS, "b", "a", "c")
    found = vocabulary.encode([["a", "z", "<s>"], ["_UNK"]])
    np.testing.assert_array_equal(found["ids"], [[1, 5, 3, 3, 2], [1, 3, 2, 0, 0]])
    np.testing.assert_array_equal(found["lengths"], [5, 3])
    assert vocabulary.decode([5, 4, 2, 6]) == ["a", "b"]
    assert Vocabulary.of([["b", "a"], ["b"]], min_count=2).words == (*SPECIALS, "b")


def test_it_is_kept(tmp_path):
    vocabulary = Vocabulary.of([["b", "a"]])
    vocabulary.save(tmp_path)
    assert Vocabulary.load(tmp_path, vocabulary.digest) == vocabulary
    with pytest.raises(UserError, match="words.txt: damaged"):
        Vocabulary.load(tmp_path, "0")


def test_files(tmp_path):
    corpus = read_corpus(write(tmp_path, train="a b\n\n c \n"))
    assert corpus.splits["train"].words == (("a", "b"), ("c",))
    assert corpus.splits["dev"].words == (("a",),)


def test_the_usual_names_of_ptb(tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / f"ptb.{name}.txt").write_text(f" {name} \n")
    assert read_corpus(tmp_path).splits["dev"].words == (("valid",),)


def test_labels(tmp_path):
    lines = {"train": "neg\ta b\npos\tc\n", "valid": "pos\ta\n", "test": "neg\tb\n"}
    corpus = read_corpus(write(tmp_path, **lines), labelled=True)
    assert corpus.label_names == ("neg", "pos")
    np.testing.assert_array_equal(corpus.splits["train"].labels, [0, 1])
    write(tmp_path, **{**lines, "test": "neg\tb\nfine\tb\n"})
    with pytest.raises(UserError, match="test.txt, line 2: the label 'fine' is not in train"):
        read_corpus(tmp_path, labelled=True)
    write(tmp_path, **{**lines, "valid": "a b\n"})
    with pytest.raises(UserError, match="valid.txt, line 1: no label before a tab"):
        read_corpus(tmp_path, labelled=True)


def test_what_is_missing(tmp_path):
    with pytest.raises(UserError, match="no file of train sentences"):
        read_corpus(tmp_path)
    with pytest.raises(UserError, match=r"test.txt: no sentence in it"):
        read_corpus(write(tmp_path, test="\n \n"))


def test_batches_of_one_length():
    lengths = np.array([5, 3, 5, 5, 3, 9])
    plan = EqualLengthPlan("sentences", lengths, 2, seed=0)
    assert [batch.tolist() for batch in plan.batches] == [[1, 4], [0, 2], [3], [5]]
    rows = plan(0, 8)["sentences"]
    for epoch in (slice(0, 4), slice(4, 8)):
        there = rows["index"][epoch][rows["mask"][epoch] > 0]
        assert sorted(there) == [0, 1, 2, 3, 4, 5]
    again = plan(3, 3)["sentences"]  # any window of steps
    np.testing.assert_array_equal(again["index"], rows["index"][3:6])
