"""What pretraining reads: vocabularies, sentences as ids, windows over documents."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsdgm.data.europarl import PretrainText
from jaxsdgm.data.subwords import SentencePieceTokenizer, train_subwords
from jaxsdgm.data.tokenizers import WordTokenizer, normaliser
from jaxsdgm.errors import UserError
from jaxsdgm.experiments.setup import Config
from jaxsdgm.training.trials import shapes_of

#: what a pretraining makes of its text
Vocabulary = WordTokenizer | SentencePieceTokenizer
Encoded = dict[str, dict[str, np.ndarray]]  # {language: {"ids": [n, t], "lengths": [n]}}

TARGET_LENGTH = 160  # tokens of a document that its windows are to explain


def make_tokenizers(
    config: Config,
    texts: dict[str, PretrainText],
    documents: dict[str, tuple[str, ...]],
    folder: Path,
) -> dict[str, Vocabulary]:
    """Vocabularies of the training sentences and documents, saved in the workdir.

    Those of words are the languages' own; subwords are the same for all.
    """
    tokenizers: dict[str, Vocabulary] = {}
    name = config.data.normaliser

    def token_lists(language: str) -> Iterator[list[str]]:
        of_documents = (normaliser(name)(x, language) for x in documents.get(language, ()))
        return chain(texts[language].lines("train"), of_documents)

    if config.data.subwords:
        mixed = chain.from_iterable(map(token_lists, texts))
        model = train_subwords(mixed, size=config.data.subwords)
        tokenizers = {lang: SentencePieceTokenizer(lang, name, model) for lang in texts}
    else:
        for language in texts:
            sizes = config.data.vocab_size
            size = sizes[language] if language in sizes else 50_000
            tokenizers[language] = WordTokenizer.train(
                token_lists(language), language=language, normaliser=name, size=size
            )
    for tokenizer in tokenizers.values():
        tokenizer.save(folder)
    return tokenizers


def in_pieces(
    texts: Mapping[str, PretrainText], tokenizers: Mapping[str, Vocabulary]
) -> dict[str, PretrainText]:
    """The same texts, with their lengths in the tokenizers' units, which need not be words."""
    counted = dict(texts)
    for language, tokenizer in tokenizers.items():
        if isinstance(tokenizer, SentencePieceTokenizer):
            lengths = Counter(map(len, tokenizer.rows(texts[language].lines("train"))))
            counted[language] = replace(texts[language], lengths=tuple(sorted(lengths.items())))
    return counted


def encode(
    texts: dict[str, PretrainText], tokenizers: dict[str, Vocabulary], split: str, limit: int
) -> Encoded:
    """The sentences of a split as ids, cut at `limit` tokens."""
    encoded = {}
    for language, text in texts.items():
        ids, lengths = tokenizers[language].encode_tokens(text.lines(split), limit)
        if not len(ids):
            raise UserError(f"{text.dev}: there are no {split} sentences")
        encoded[language] = {"ids": ids, "lengths": lengths}
        if split == "train" and shapes_of(encoded[language]) != sentence_shapes(text, limit):
            raise UserError(f"{text.train}: changed since it was prepared; delete its folder")
    return encoded


def median_limit(texts: dict[str, PretrainText]) -> int:
    """The median length of the training sentences, of the language where it is longest."""
    return max(text.percentile(50) for text in texts.values())


def sentence_shapes(text: PretrainText, limit: int) -> Any:
    """The shapes of the training sentences that `encode` makes, which need not be read for it."""
    if not text.lengths:
        raise UserError(f"{text.train}: there are no training sentences")
    lengths, counts = np.array(text.lengths).T
    n, width = int(counts.sum()), min(limit, int(lengths.max()))
    ids, of_one = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((n, width), (n,)))
    return {"ids": ids, "lengths": of_one}


def in_pairs(encoded: Encoded) -> Encoded:
    """Aligned sentences of several languages as one phase: ids [n, languages, t], lengths alike."""
    sides = list(encoded.values())
    width = max(side["ids"].shape[1] for side in sides)
    wide = [np.pad(x["ids"], ((0, 0), (0, width - x["ids"].shape[1]))) for x in sides]
    lengths = np.stack([side["lengths"] for side in sides], 1)
    return {"-".join(encoded): {"ids": np.stack(wide, 1), "lengths": lengths}}


def pair_shapes(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The shapes of what `in_pairs` makes of sentences of these shapes."""
    sizes = [of_one["ids"].shape for of_one in shapes.values()]
    (n, _), width = sizes[0], max(width for _, width in sizes)
    ids, lengths = (n, len(sizes), width), (n, len(sizes))
    of_both = {"ids": ids, "lengths": lengths}
    both = {name: jax.ShapeDtypeStruct(shape, jnp.int32) for name, shape in of_both.items()}
    return {"-".join(shapes): both}


def by_language(phases: Encoded, languages: Sequence[str]) -> Encoded:
    """Every language's own sentences, of pairs too."""
    if list(phases) == list(languages):
        return phases
    (pairs,) = phases.values()
    return {
        language: {name: x[:, i] for name, x in pairs.items()}
        for i, language in enumerate(languages)
    }


def windows(config: Config, texts: tuple[str, ...], tokenizer: Vocabulary) -> dict[str, np.ndarray]:
    """Half-overlapping windows over unlabelled documents, each with its whole document as target.

    A classifier reads documents; an encoder that has met sentences only makes less of them.
    """
    documents, lengths = tokenizer.encode(texts, TARGET_LENGTH)
    width = config.data.document_length
    starts = [range(0, max(1, n - width // 2), width // 2) for n in lengths]
    padded = np.pad(documents, ((0, 0), (0, width)))
    rows = [(i, start) for i, of_one in enumerate(starts) for start in of_one]
    return {
        "ids": np.array([padded[i, start : start + width] for i, start in rows]),
        "lengths": np.array([min(width, lengths[i] - start) for i, start in rows], np.int32),
        "targets": documents[[i for i, _ in rows]],
    }
