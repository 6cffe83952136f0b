"""Tokenizers in Hugging Face's form for a BERT that is trained from scratch (spec §11.1)."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from jaxsdgm.data.documents import write_text
from jaxsdgm.data.huggingface import HuggingFaceTokenizer
from jaxsdgm.data.tokenizers import words

#: the first ids, of all that is no word
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL))

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}"
#: a word as the normaliser `words` has it
_WORD = rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+"
_WORDS = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
_DIGITS = normalizers.Replace(Regex(r"\p{Nd}"), "0")


def most_frequent(lines: Iterable[Sequence[str]], language: str, size: int) -> Counter[str]:
    """The most frequent words of normalised sentences, with their counts."""
    counts: Counter[str] = Counter()
    for tokens in lines:
        counts.update(words(" ".join(tokens), language))
    return Counter(dict(counts.most_common(size)))


def whole_words(vocabularies: Iterable[Counter[str]], language: str) -> HuggingFaceTokenizer:
    """Whole words or [UNK], from the union of vocabularies, frequent words first.

    Digits become 0, letters lower case; what is neither letter nor digit is left out. Accents stay:
    the paper's tokenizer strips them, which makes most words with an umlaut unknown (spec §13).
    """
    union: Counter[str] = Counter()
    for counts in vocabularies:
        union.update(counts)
    ids = {word: i for i, word in enumerate([*SPECIAL, *(word for word, _ in union.most_common())])}
    tokenizer = Tokenizer(models.WordLevel(ids, SPECIAL[UNK]))
    tokenizer.normalizer = normalizers.Sequence([_DIGITS, normalizers.Lowercase()])
    tokenizer.pre_tokenizer = _WORDS
    return _as_bert(tokenizer, language)


def pieces_of_words(model: bytes, language: str) -> HuggingFaceTokenizer:
    """The pieces of a SentencePiece BPE model, of words as `whole_words` has them.

    SentencePiece joins the two neighbours that give the piece of the lowest number; the same is
    said here by a list of all pairs that give a piece, in the order of the pieces. Its own `<unk>`,
    `<s>` and `</s>` keep their places and are not used.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = processor.id_to_piece(list(range(processor.vocab_size())))
    ids = {piece: i for i, piece in enumerate([*SPECIAL, *pieces])}
    pairs = [
        (piece[:i], piece[i:])
        for number, piece in enumerate(pieces)
        if not (processor.is_control(number) or processor.is_unknown(number))
        for i in range(1, len(piece))
        if piece[:i] in ids and piece[i:] in ids
    ]
    tokenizer = Tokenizer(models.BPE(ids, pairs, unk_token=SPECIAL[UNK], fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), _DIGITS, normalizers.Lowercase()]
    )
    begin = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([_WORDS, begin])
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return _as_bert(tokenizer, language)


def _as_bert(tokenizer: Tokenizer, language: str) -> HuggingFaceTokenizer:
    """A tokenizer whose first ids are SPECIAL, as `[CLS] text [SEP]`."""
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.BertProcessing((SPECIAL[SEP], SEP), (SPECIAL[CLS], CLS))
    return HuggingFaceTokenizer(language, tokenizer.to_str(), pad_id=PAD, unk_id=UNK, mask_id=MASK)


def save_for_transformers(tokenizer: HuggingFaceTokenizer, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json, which `AutoTokenizer` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    write_text(folder / "tokenizer.json", tokenizer.definition)
    write_text(folder / "tokenizer_config.json", json.dumps(about, indent=1) + "\n")
