"""SentencePiece BPE: ids in the paper's order, and files that are what they were."""

import json

import numpy as np
import pytest
import sentencepiece

from jaxsdgm.data import generated
from jaxsdgm.data.huggingface import load_saved
from jaxsdgm.data.subwords import MODEL, SentencePieceTokenizer, train_subwords
from jaxsdgm.data.tokenizers import WordTokenizer, lower
from jaxsdgm.errors import UserError

PIECES = 300


def sentences():
    texts = [t for c in ("en", "de") for t in generated.generate(c, train=60).splits["train"].texts]
    return [lower(text, "en") for text in texts]


@pytest.fixture(scope="module")
def tokenizer():
    return SentencePieceTokenizer("en", "lower", train_subwords(sentences(), size=PIECES))


def test_ids_are_pad_then_the_pieces_in_the_models_order(tokenizer):
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    assert tokenizer.vocab_size == PIECES + 1
    assert tokenizer.words[:4] == ("<pad>", "<unk>", "<s>", "</s>")
    assert tokenizer.words[1:] == tuple(processor.id_to_piece(i) for i in range(PIECES))
    assert (tokenizer.pad_id, tokenizer.unk_id) == (0, processor.unk_id() + 1)
    (text,) = generated.generate("de", train=1).splits["train"].texts
    ids, lengths = tokenizer.encode([text], 1000)
    expected = processor.encode(text.lower())
    assert (ids[0] - 1).tolist() == expected
    assert lengths.tolist() == [len(expected)]
    assert ids.dtype == lengths.dtype == np.int32


def test_one_vocabulary_for_the_languages_and_few_unknown(tokenizer):
    other = SentencePieceTokenizer("de", "lower", tokenizer.model)
    for one, language in ((tokenizer, "en"), (other, "de")):
        texts = generated.generate(language, train=60).splits["train"].texts
        ids, _ = one.encode(texts, 200)
        assert np.mean(ids == one.unk_id) < 1e-3
        assert one.decode(ids[:3]) == [text.lower() for text in texts[:3]]
    assert tokenizer.encode(["bo ka"], 9)[0].tolist() == other.encode(["bo ka"], 9)[0].tolist()


def test_equal_text_gives_equal_bytes(tokenizer):
    assert train_subwords(sentences(), size=PIECES) == tokenizer.model


def test_encode_pads_cuts_and_never_leaves_a_row_empty(tokenizer):
    ids, lengths = tokenizer.encode(["ka", "", "\u4e00", "ka bo ka bo ka"], 4)
    assert lengths.tolist()[1] == 1
    assert ids[1].tolist() == [1, 0, 0, 0]
    assert 1 in ids[2]
    assert lengths[3] == 4
    assert tokenizer.encode([], 4)[0].shape == (0, 0)
    assert "<s>" not in [tokenizer.words[i] for i in tokenizer.encode(["<s> <pad>"], 9)[0][0]]


def test_save_and_load(tokenizer, tmp_path):
    other = SentencePieceTokenizer("de", "lower", tokenizer.model)
    for one in (tokenizer, other):
        one.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["de.json", "en.json", MODEL]
    assert load_saved(tmp_path, "en") == tokenizer
    assert load_saved(tmp_path, "de") == other
    digests = {tokenizer.digest, other.digest, SentencePieceTokenizer("en", "words", b"").digest}
    assert len(digests) == 3
    assert json.loads((tmp_path / "en.json").read_text())["size"] == PIECES


def test_words_are_found_beside(tmp_path):
    words = WordTokenizer.train([["a"]], language="en", normaliser="lower", size=1)
    words.save(tmp_path)
    assert load_saved(tmp_path, "en") == words
    with pytest.raises(UserError, match=r"no tokenizer for 'de' \(there: en\)"):
        load_saved(tmp_path, "de")
    (tmp_path / "en.json").write_text("{")
    with pytest.raises(UserError, match=r"en\.json: damaged"):
        load_saved(tmp_path, "en")


@pytest.mark.parametrize("damage", ["cut", "other", "json", "field"])
def test_damaged_model(tokenizer, tmp_path, damage, capfd):
    tokenizer.save(tmp_path)
    model, about = tmp_path / MODEL, tmp_path / "en.json"
    if damage == "cut":
        model.write_bytes(tokenizer.model[:1000])
    elif damage == "other":  # of another size
        model.write_bytes(train_subwords(sentences(), size=PIECES - 50))
    else:
        fields = json.loads(about.read_text())
        fields.pop("digest" if damage == "field" else "normaliser")
        about.write_text(json.dumps(fields))
    with pytest.raises(UserError, match=r"subwords\.model: damaged or another model") as caught:
        load_saved(tmp_path, "en")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_missing_model(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    (tmp_path / MODEL).unlink()
    with pytest.raises(UserError, match=r"subwords\.model: missing"):
        load_saved(tmp_path, "en")


def test_too_little_text():
    with pytest.raises(UserError, match="no training text"):
        train_subwords([[], [""]], size=PIECES)
    with pytest.raises(UserError, match=r"subwords=9000 cannot be made .* <= \d+") as caught:
        train_subwords(sentences(), size=9000)
    assert "\n" not in str(caught.value)
