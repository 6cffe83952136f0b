"""Tokenizers of a BERT from scratch: the words of the normaliser, in Hugging Face's form."""

import random

import numpy as np

from jaxsdgm.data.bert_tokenizers import (
    SPECIAL,
    most_frequent,
    pieces_of_words,
    save_for_transformers,
    whole_words,
)
from jaxsdgm.data.huggingface import HuggingFaceTokenizer
from jaxsdgm.data.subwords import SentencePieceTokenizer, train_subwords
from jaxsdgm.data.tokenizers import words

TEXTS = [
    "Don't stop: l'Été, Größe 3.5² GB (U.S.) foo_bar-baz",
    "中文字 ひらカタ e\u0301te ½ Ⅷ ٣ a·b x+y=z",
    " tabs\tand  spaces ",
]


def tokenizer(texts=TEXTS, size=100):
    return whole_words([most_frequent([text.split()], "en", size) for text in texts], "all")


def test_words_are_those_of_the_normaliser():
    found = tokenizer()
    for text in TEXTS:
        ids, lengths = found.encode([text], 64)
        pieces = [found.words[i] for i in ids[0, : lengths[0]]]
        assert pieces == ["[CLS]", *words(text, "en"), "[SEP]"]


def test_union_by_frequency():
    english, german = ["a", "a", "b"], ["a", "c", "c", "c", "c"]
    counts = [most_frequent([english], "en", 2), most_frequent([german], "de", 1)]
    assert counts == [{"a": 2, "b": 1}, {"c": 4}]
    assert whole_words(counts, "all").words == (*SPECIAL, "c", "a", "b")


def test_unknown_words_and_pieces_without_special_ones():
    found = tokenizer()
    ids, _ = found.encode(["stop nowhere"], 3)
    assert ids.tolist() == [[2, found.words.index("stop"), 3]]
    assert list(found.pieces(["nowhere stop", "", "?"])) == [[1, ids[0, 1]], [], []]


def test_transformers_reads_it(tmp_path):
    save_for_transformers(tokenizer(), tmp_path)
    read = HuggingFaceTokenizer.from_checkpoint(tmp_path, language="all")
    assert read.digest == tokenizer().digest
    for text in TEXTS:
        np.testing.assert_array_equal(read.encode([text], 64)[0], tokenizer().encode([text], 64)[0])


def test_pieces_are_those_of_sentencepiece():
    rng = random.Random(0)
    make = lambda n: "".join(rng.choices("aeinrstüé", [9, 8, 7, 6, 5, 4, 3, 1, 1], k=n))
    known = [make(rng.randint(1, 12)) for _ in range(150)]
    lines = [rng.choices(known, k=12) for _ in range(400)]
    model = train_subwords(lines, size=120)
    theirs, ours = SentencePieceTokenizer("en", "words", model), pieces_of_words(model, "all")
    assert ours.vocab_size == 125
    assert ours.words[5:] == theirs.words[1:]
    texts = [" ".join([*line, make(9), "x0"]) for line in lines[:200]]
    rows = theirs.rows([text.split() for text in texts])
    expected = [[1 if i == theirs.unk_id else i + 4 for i in row] for row in rows]
    assert list(ours.pieces(texts)) == expected
    assert ours.decode(ours.encode([" ".join(known)], 9999)[0]) == [" ".join(known)]
