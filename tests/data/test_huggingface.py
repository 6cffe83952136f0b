"""Subword tokenizers of checkpoints; the tiny ones are made here, without torch."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from jaxsdgm.data import huggingface
from jaxsdgm.data.huggingface import HuggingFaceTokenizer
from jaxsdgm.errors import UserError

TINY = Path(__file__).resolve().parents[2].parent / "shared" / "models" / "e5-tiny"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "##ed", "a", "game"]
SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}


@pytest.fixture
def folder(tmp_path):
    """A WordPiece tokenizer as a checkpoint has it, with truncation to 6 left on in its file."""
    path = tmp_path / "checkpoint"
    path.mkdir()
    vocab = {piece: i for i, piece in enumerate(PIECES)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(PIECES[:5])
    tokenizer.enable_truncation(6)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(path / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **SPECIAL}
    (path / "tokenizer_config.json").write_text(json.dumps(about))
    (path / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": 12}))
    return path


def make(folder, **options):
    return HuggingFaceTokenizer.from_checkpoint(folder, language="en", **options)


def test_special_tokens_padding_and_cutting(folder, caplog):
    tokenizer = make(folder)
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.mask_id) == (0, 1, 4)
    assert (tokenizer.vocab_size, tokenizer.words) == (10, tuple(PIECES))
    ids, lengths = tokenizer.encode(["playing a game played a", "zebra", ""], 9)
    assert ids.tolist() == [[2, 5, 6, 8, 9, 5, 7, 8, 3], [2, 1, 3] + 6 * [0], [2, 3] + 7 * [0]]
    assert lengths.tolist() == [9, 3, 2]
    assert ids.dtype == lengths.dtype == np.int32
    with caplog.at_level(logging.INFO, "jaxsdgm"):
        ids, lengths = tokenizer.encode(["playing a game", "a a", "game game game"], 4)
    assert ids.tolist() == [[2, 5, 6, 3], [2, 8, 8, 3], [2, 9, 9, 3]]
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 3 documents cut to 4 tokens"
    ]
    assert tokenizer.encode([], 9)[0].shape == (0, 0)
    assert tokenizer.encode(["a"], 9)[0].shape == (1, 3)


def test_texts_in_several_chunks(folder, monkeypatch):
    texts = ["a", "playing", "a game", "zebra", "game"]
    whole = make(folder).encode(texts, 9)
    monkeypatch.setattr(huggingface, "CHUNK", 2)
    parts = make(folder).encode(iter(texts), 9)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_array_equal(parts[1], whole[1])


def test_decode_shows_the_unknown_and_hides_the_frame(folder):
    tokenizer = make(folder)
    assert tokenizer.decode(tokenizer.encode(["playing a zebra game", ""], 9)[0]) == [
        "playing a [UNK] game",
        "",
    ]


def test_prefix_and_lower_case(folder):
    tokenizer = make(folder, prefix="game ", lower=True)
    assert tokenizer.encode(["PLAYING"], 9)[0].tolist() == [[2, 9, 5, 6, 3]]
    assert make(folder).encode(["PLAYING"], 9)[0].tolist() == [[2, 1, 3]]


def test_save_and_load(folder, tmp_path):
    tokenizer = make(folder, prefix="game ", lower=True)
    tokenizer.save(tmp_path / "run")
    loaded = HuggingFaceTokenizer.load(tmp_path / "run", "en")
    assert (loaded, loaded.digest) == (tokenizer, tokenizer.digest)
    assert loaded.encode(["A game"], 9)[0].tolist() == tokenizer.encode(["A game"], 9)[0].tolist()
    with pytest.raises(UserError, match="no Hugging Face tokenizer for 'de'"):
        HuggingFaceTokenizer.load(tmp_path / "run", "de")


def test_digest_tells_tokenizers_apart_but_not_how_they_were_used(folder):
    used = make(folder)
    used.encode(["a game"], 4)
    assert used.digest == make(folder).digest
    others = [make(folder, prefix="a "), make(folder, lower=True)]
    others.append(HuggingFaceTokenizer.from_checkpoint(folder, language="de"))
    assert len({used.digest, *(other.digest for other in others)}) == 4


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("en.json", "{"),
        ("en.json", "[]"),
        ("en.json", '{"kind": "huggingface"}'),
        ("en.tokenizer.json", "{}"),
        ("en.tokenizer.json", ""),
    ],
)
def test_damaged_tokenizer(folder, tmp_path, file, content):
    make(folder).save(tmp_path / "run")
    (tmp_path / "run" / file).write_text(content)
    with pytest.raises(UserError, match=r"en\.tokenizer\.json: damaged"):
        HuggingFaceTokenizer.load(tmp_path / "run", "en")


def test_more_entries_than_embeddings(folder):
    with pytest.raises(UserError, match="'en' has 10 entries, but the embeddings have 9 rows"):
        make(folder).require_rows(9)
    (folder / "config.json").write_text('{"vocab_size": 9}')
    with pytest.raises(UserError, match="has 10 entries, but the embeddings have 9 rows"):
        make(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config\.json: damaged or without vocab_size"):
        make(folder)


def test_no_room_for_text(folder):
    with pytest.raises(UserError, match="max_length 2 leaves no room for text beside 2 special"):
        make(folder).encode(["a"], 2)


def test_folders_without_a_tokenizer(folder, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        make(tmp_path / "nowhere")
    (folder / "tokenizer.json").write_text('{"version"')
    with pytest.raises(UserError, match="no tokenizer could be read") as caught:
        make(folder)
    assert "\n" not in str(caught.value)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="no tokenizer could be read"):
        make(folder)


def test_a_vocabulary_alone_is_read_whole_or_refused(folder, monkeypatch):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert make(folder).words == tuple(PIECES)
    from transformers import AutoTokenizer, BertTokenizerFast

    # what transformers 5 makes of the keyword of version 4: five entries, and no error
    empty = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: empty)
    with pytest.raises(UserError, match=r"vocab\.txt: 10 entries, but only 5 were read"):
        make(folder)


def test_no_padding_token(folder):
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "padding": None}))
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}'
    )
    with pytest.raises(UserError, match="the tokenizer has no pad_id"):
        make(folder)


def test_neither_torch_nor_jax(folder):
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from jaxsdgm.data.huggingface import HuggingFaceTokenizer as T\n"
        f"t = T.from_checkpoint({str(folder)!r}, language='en')\n"
        "print(t.encode(['a game'], 9)[0].tolist(), 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[[2, 8, 9, 3]] False\n", done.stderr


def test_e5_tiny():
    if not TINY.is_dir():
        pytest.skip("../shared is absent")
    golden = np.load(TINY / "golden.npz")
    tokenizer = HuggingFaceTokenizer.from_checkpoint(TINY, language="en")
    texts = golden["sentences"].tolist()
    ids, lengths = tokenizer.encode(texts, 128)
    np.testing.assert_array_equal(ids, golden["input_ids"])
    np.testing.assert_array_equal(lengths, golden["attention_mask"].sum(1))
    assert tokenizer.decode(ids)[0] == texts[0]
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.mask_id) == (1, 3, 1183)
    asked = [i for i, text in enumerate(texts) if text.startswith("query: ")]
    prefixed = HuggingFaceTokenizer.from_checkpoint(TINY, language="en", prefix="query: ")
    again, _ = prefixed.encode([texts[i].removeprefix("query: ") for i in asked], 128)
    np.testing.assert_array_equal(again, ids[asked][:, : again.shape[1]])
