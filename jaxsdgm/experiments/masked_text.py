"""What the pretraining of a BERT reads: one vocabulary, packed sentences, a yardstick."""

from collections.abc import Mapping
from functools import partial
from itertools import chain

import jax
import numpy as np

from jaxsdgm.data.bert_tokenizers import (
    PAD,
    SPECIAL,
    most_frequent,
    pieces_of_words,
    whole_words,
)
from jaxsdgm.data.europarl import PretrainText
from jaxsdgm.data.huggingface import HuggingFaceTokenizer
from jaxsdgm.data.sequences import pack
from jaxsdgm.data.subwords import train_subwords
from jaxsdgm.errors import UserError
from jaxsdgm.experiments.setup import Config
from jaxsdgm.models.masked_lm import MaskedLM
from jaxsdgm.training.progress import log

#: {language: {"ids": [n, t], "lengths": [n], "second": [n]}}; of dev masked, see `masked_once`
Sequences = dict[str, dict[str, np.ndarray]]

ALL = "all"  # what is of all languages together
SMOOTHING = 0.1  # of the unigram model: added to every count


def make_tokenizer(config: Config, texts: Mapping[str, PretrainText]) -> HuggingFaceTokenizer:
    """One vocabulary for all languages: pieces of words, or the union of whole words."""
    if config.data.subwords:
        mixed = chain.from_iterable(text.lines("train") for text in texts.values())
        return pieces_of_words(train_subwords(mixed, size=config.data.subwords), ALL)
    sizes = config.data.vocab_size
    found = (
        most_frequent(text.lines("train"), language, sizes.get(language, 50_000))
        for language, text in texts.items()
    )
    return whole_words(found, ALL)


def read(
    config: Config, texts: Mapping[str, PretrainText], tokenizer: HuggingFaceTokenizer, split: str
) -> Sequences:
    """The sentences of a split, packed."""
    found = {}
    for i, (language, text) in enumerate(texts.items()):
        found[language] = pack(
            tokenizer.pieces(" ".join(tokens) for tokens in text.lines(split)),
            max_length=config.data.max_length,
            short_share=config.data.short_share,
            seed=config.seed + i,
        )
        if not len(found[language]["ids"]):
            raise UserError(f"{text.dev}: there are no {split} sentences")
        log.info("%s %s: %d sequences", language, split, len(found[language]["ids"]))
    return found


def masked_once(model: MaskedLM, dev: Sequences) -> Sequences:
    """Sequences masked for good, so that all evaluations ask the same: `nll` reads them."""
    mask = jax.jit(partial(model.mask, jax.random.key(0)))

    def masked(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = mask({**rows, "row": np.arange(len(rows["ids"]))})
        return {**rows, **jax.tree.map(np.asarray, found._asdict())}

    return {language: masked(rows) for language, rows in dev.items()}


def losses(nll: Mapping[str, np.ndarray], dev: Sequences) -> dict[str, float]:
    """Nats a masked token, and their exponential: of all languages, then of each."""
    counts = {lang: int((rows["targets"] != PAD).sum()) for lang, rows in dev.items()}
    sums = {lang: float(x.sum(dtype=np.float64)) for lang, x in nll.items()}
    loss = sum(sums.values()) / max(sum(counts.values()), 1)
    each = {f"loss/{lang}": sums[lang] / max(counts[lang], 1) for lang in nll}
    return {"loss": loss, "perplexity": float(np.exp(loss)), **each}


def unigram(train: Sequences, dev: Sequences, vocab_size: int) -> dict[str, float]:
    """As `losses`, of a model that knows the language and how frequent its words are."""
    nll = {}
    for language, rows in dev.items():
        ids, targets = train[language]["ids"], rows["targets"]
        counts = np.bincount(ids[ids >= len(SPECIAL)], minlength=vocab_size) + SMOOTHING
        log_p = np.log(counts / counts[len(SPECIAL) :].sum())
        nll[language] = -np.where(targets == PAD, 0, log_p[targets])
    return losses(nll, dev)
