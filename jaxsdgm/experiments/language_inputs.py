"""What a language model run reads: sentences, their vocabulary, and both as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jaxsdgm.data.line_sets import fetch_snli, fetch_yelp
from jaxsdgm.data.lines import SPLITS, LineCorpus, Lines, Vocabulary, read_corpus
from jaxsdgm.errors import UserError
from jaxsdgm.experiments.setup import Config

#: what comes through TFDS where there is no folder
FETCHED = {"snli": fetch_snli, "yelp": fetch_yelp}
#: those whose lines start with a label
LABELLED = ("yelp",)
SOURCES = ("ptb", "yahoo", "snli", "yelp", "files")

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class LanguageInputs:
    """`arrays[split]` has ids `[n, t]`, lengths `[n]` and row `[n]`, in the order of the corpus."""

    corpus: LineCorpus
    name: str  # of the corpus, in tables
    vocabulary: Vocabulary
    arrays: Mapping[str, Arrays]

    @property
    def tokens(self) -> dict[str, int]:
        """Words to predict in each split, `</s>` with them."""
        return {split: int((x["lengths"] - 1).sum()) for split, x in self.arrays.items()}


def load_inputs(config: Config) -> LanguageInputs:
    """Reads and checks everything before anything is compiled."""
    data = config.data
    if data.source not in SOURCES:
        raise UserError(f"config.data.source is {data.source!r}; use one of {', '.join(SOURCES)}")
    if data.dir:
        corpus = read_corpus(data.dir, labelled=data.labelled or data.source in LABELLED)
    elif data.source in FETCHED:
        corpus = FETCHED[data.source](seed=data.sample_seed)
    else:
        raise UserError(
            f"config.data.dir is empty; name the folder with the sentences of {data.source!r}"
        )
    if data.max_words:
        corpus = replace(
            corpus, splits={k: _cut(x, data.max_words) for k, x in corpus.splits.items()}
        )
    vocabulary = Vocabulary.of(corpus.splits["train"].words, min_count=data.min_count)
    arrays = {}
    for split in SPLITS:
        found = vocabulary.encode(corpus.splits[split].words)
        arrays[split] = {**found, "row": np.arange(len(found["ids"]), dtype=np.int32)}
    name = data.source if data.source != "files" else Path(data.dir).resolve().name
    return LanguageInputs(corpus, name, vocabulary, arrays)


def _cut(lines: Lines, most: int) -> Lines:
    """The first words of every sentence."""
    return replace(lines, words=tuple(words[:most] for words in lines.words))
