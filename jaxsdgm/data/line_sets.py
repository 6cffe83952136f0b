"""Sentences of SNLI and of Yelp's reviews through TFDS, sampled as the text VAE paper did (§1).

The paper's own samples are not public: figures are comparable in kind, not digit for digit.
"""

import re
from collections.abc import Iterable

import numpy as np

from jaxsdgm.data.lines import LineCorpus, Lines
from jaxsdgm.data.text_sets import tfds_rows
from jaxsdgm.errors import UserError

SIZES = {"train": 100_000, "dev": 10_000, "test": 10_000}
#: words of a sentence of "short Yelp", at most
SHORT = 15
_TOKEN = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def fetch_snli(*, seed: int) -> LineCorpus:
    """Distinct premises and hypotheses of the training pairs, in lower case."""
    rows, _ = tfds_rows("snli", "train")
    texts = (row[name].decode() for row in rows for name in ("premise", "hypothesis"))
    found = dict.fromkeys(tuple(_TOKEN.findall(text.lower())) for text in texts)
    return _sampled("SNLI through TFDS", [(words, -1) for words in found if words], (), seed)


def fetch_yelp(*, seed: int) -> LineCorpus:
    """Sentences of at most SHORT words, each with its review's label."""
    rows, features = tfds_rows("yelp_polarity_reviews", "train")
    found: dict[tuple[str, ...], int] = {}
    for row in rows:
        for sentence in _SENTENCE_END.split(row["text"].decode()):
            words = tuple(_TOKEN.findall(sentence.lower()))
            if 0 < len(words) <= SHORT:
                found.setdefault(words, int(row["label"]))
    return _sampled("Yelp through TFDS", found.items(), ("0", "1"), seed)


def _sampled(
    source: str,
    rows: Iterable[tuple[tuple[str, ...], int]],
    names: tuple[str, ...],
    seed: int,
) -> LineCorpus:
    """SIZES of the rows, drawn without replacement."""
    rows = list(rows)
    if len(rows) < sum(SIZES.values()):
        raise UserError(f"{source}: {len(rows)} sentences, fewer than {sum(SIZES.values())}")
    order, start, splits = np.random.default_rng(seed).permutation(len(rows)), 0, {}
    for split, size in SIZES.items():
        chosen = [rows[i] for i in order[start : start + size]]
        labels = np.array([label for _, label in chosen], np.int32) if names else None
        splits[split] = Lines(tuple(words for words, _ in chosen), labels)
        start += size
    return LineCorpus(source, splits, names)
