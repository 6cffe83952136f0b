import json

import numpy as np
import pytest

from jaxsdgm.data.tokenizers import NORMALISERS, WordTokenizer, normaliser
from jaxsdgm.errors import UserError


@pytest.mark.parametrize(
    ("name", "language", "text", "tokens"),
    [
        # MLDoc as the paper's code reads it: nothing but case and single spaces.
        ("lower", "en", " On  Wednesday, 1439\tMen ", ["on", "", "wednesday,", "1439", "men"]),
        # Moses splits 's, @-@ and quotes; digits become 0; punctuation goes without a trace.
        ("europarl", "en", 'Mr. Smith\'s "well-known" 3,50 %', "mr smith s well known 000".split()),
        ("europarl", "de", "Herr Müller, 17. Mai 1999!", "herr müller 00 mai 0000".split()),
        ("europarl", "fr", "l'été c'est ²", "l été c est ²".split()),
        ("europarl", "en", "A & B + [c] ٣", "a b + c 0".split()),
        ("europarl", "en", " ... !? ", []),
        # With HTML escapes the entity names are left: the oddity of the reference code.
        ("europarl_escaped", "en", 'it\'s "x" & [a]', "it aposs quot x quot amp 00 a 00".split()),
        ("words", "en", "C++17's snake_case: Übung", "c 00 s snake case übung".split()),
        ("words", "zh", "用SSH2客户端。", ["用", "ssh0", "客", "户", "端"]),
        ("words", "ja", "カナ one", ["カ", "ナ", "one"]),
        ("words", "yo", "àwọn e\u0301", ["àwọn", "e\u0301"]),
    ],
)
def test_worked_examples(name, language, text, tokens):
    assert NORMALISERS[name](text, language) == tokens


def _trained(**options):
    lists = ["b a a".split(), ["", "c", "b"], ["d", "", ""]]
    return WordTokenizer.train(lists, language="en", normaliser="lower", size=3, **options)


def test_vocabulary_is_by_count_then_first_seen():
    tokenizer = _trained()
    assert tokenizer.words == ("<PAD>", "<UNK>", "b", "a", "c")
    assert tokenizer.counts == (0, 0, 2, 2, 1)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.unk_id) == (5, 0, 1)


def test_encode_pads_cuts_and_never_leaves_a_row_empty():
    ids, lengths = _trained().encode(["B a c  a", "d", "", "<PAD>"], 4)
    assert ids.tolist() == [[2, 3, 4, 1], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert lengths.tolist() == [4, 1, 1, 1]
    assert ids.dtype == lengths.dtype == np.int32
    assert _trained().encode(["a b c", "a"], 2)[0].shape == (2, 2)
    assert _trained().encode([], 4)[0].shape == (0, 0)
    assert _trained().encode_tokens([["A"], []], 9)[0].tolist() == [[1], [1]]


def test_decode_inverts_encode():
    tokenizer = _trained()
    ids, _ = tokenizer.encode(["a b", "c zz a"], 10)
    assert tokenizer.decode(ids) == ["a b", "c <UNK> a"]


def test_save_and_load(tmp_path):
    tokenizer = _trained()
    tokenizer.save(tmp_path)
    assert (tmp_path / "en.vocab").read_text() == "b\t2\na\t2\nc\t1\n"
    loaded = WordTokenizer.load(tmp_path, "en")
    assert loaded == tokenizer
    assert loaded.digest == tokenizer.digest
    assert json.loads((tmp_path / "en.json").read_text())["size"] == 3


def test_digest_tells_tokenizers_apart():
    fields = {"words": ("<PAD>", "<UNK>", "a"), "counts": (0, 0, 1)}
    digests = {
        WordTokenizer("en", "lower", **fields).digest,
        WordTokenizer("de", "lower", **fields).digest,
        WordTokenizer("en", "words", **fields).digest,
        WordTokenizer("en", "lower", ("<PAD>", "<UNK>", "b"), (0, 0, 1)).digest,
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("en.vocab", "b\t2\na\t2\n"),  # cut short
        ("en.vocab", "b\t2\na\t2\nc\t"),
        ("en.vocab", "b\t2\nq\t2\nc\t1\n"),
        ("en.vocab", ""),
        ("en.json", "{"),
        ("en.json", "{}"),
        ("en.json", "[]"),
    ],
)
def test_damaged_tokenizer(tmp_path, file, content):
    _trained().save(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=r"en\.vocab: damaged"):
        WordTokenizer.load(tmp_path, "en")


def test_missing_tokenizer_names_those_that_are_there(tmp_path):
    _trained().save(tmp_path)
    with pytest.raises(UserError, match=r"no tokenizer for 'de' \(there: en\)"):
        WordTokenizer.load(tmp_path, "de")


def test_nothing_to_train_on_and_unknown_normaliser():
    with pytest.raises(UserError, match="no words of 'en'"):
        WordTokenizer.train([[""], []], language="en", normaliser="lower", size=3)
    with pytest.raises(UserError, match="unknown normaliser 'stem'; choose one of lower"):
        normaliser("stem")
