"""What pretraining reads: vocabularies, sentences as ids, windows over documents."""

from itertools import chain
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsdgm.data.europarl import PretrainText
from jaxsdgm.data.tokenizers import WordTokenizer, normaliser
from jaxsdgm.errors import UserError
from jaxsdgm.experiments.setup import Config
from jaxsdgm.training.trials import shapes_of

Encoded = dict[str, dict[str, np.ndarray]]  # {language: {"ids": [n, t], "lengths": [n]}}

TARGET_LENGTH = 160  # tokens of a document that its windows are to explain


def make_tokenizers(
    config: Config,
    texts: dict[str, PretrainText],
    documents: dict[str, tuple[str, ...]],
    folder: Path,
) -> dict[str, WordTokenizer]:
    """Vocabularies of the training sentences and documents, saved in the workdir."""
    tokenizers, name = {}, config.data.normaliser
    for language, text in texts.items():
        size = config.data.vocab_size[language] if language in config.data.vocab_size else 50_000
        tokens = (normaliser(name)(x, language) for x in documents.get(language, ()))
        tokenizers[language] = WordTokenizer.train(
            chain(text.lines("train"), tokens), language=language, normaliser=name, size=size
        )
        tokenizers[language].save(folder)
    return tokenizers


def encode(
    texts: dict[str, PretrainText], tokenizers: dict[str, WordTokenizer], split: str, limit: int
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


def windows(
    config: Config, texts: tuple[str, ...], tokenizer: WordTokenizer
) -> dict[str, np.ndarray]:
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
