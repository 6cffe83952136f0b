"""Embeddings that start from a file of word vectors: the paper's FT, MUSE and NXEMB (spec §5)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxsdgm.data.tokenizers import WordTokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.experiments.setup import Config
from jaxsdgm.training.progress import log
from jaxsdgm.weights.word_vectors import name_of, read_vectors


@dataclass(frozen=True)
class StartingVectors:
    """Vectors `[n, e]` of the words that the file has, and the ids `[n]` of these."""

    name: str
    ids: np.ndarray
    vectors: np.ndarray
    vocabulary: int  # words, PAD and UNK not counted
    token_share: float  # of the training texts' tokens in the vocabulary

    @property
    def coverage(self) -> dict[str, Any]:
        """For results.json."""
        return {
            "name": self.name,
            "found": len(self.ids),
            "vocabulary": self.vocabulary,
            "share": round(len(self.ids) / self.vocabulary, 4),
            "token_share": round(self.token_share, 4),
        }


def check_vectors(config: Config) -> None:
    """Raises UserError where something else gives the embeddings, or nothing has any."""
    if not config.vectors:
        return
    if config.pretrained:
        raise UserError(
            "config.vectors and config.pretrained both give the embeddings; leave one empty"
        )
    if config.encoder.checkpoint or not config.encoder.trainable:
        raise UserError(
            "config.vectors is for the embeddings of a BiLSTM that is trained; leave it empty, or "
            "set config.encoder.checkpoint='' and config.encoder.trainable=True"
        )


def load_vectors(config: Config, tokenizer: WordTokenizer) -> StartingVectors | None:
    """The vectors of the vocabulary's words that `config.vectors` has; None without a file."""
    if not config.vectors:
        return None
    ids = {word: number for number, word in enumerate(tokenizer.words[2:], 2)}
    found = read_vectors(config.vectors, wanted=ids, width=config.model.embedding)
    rows = np.array([ids[word] for word in found.words])
    counts = np.array(tokenizer.counts)
    share = float(counts[rows].sum() / counts.sum())
    vectors = StartingVectors(name_of(config.vectors), rows, found.vectors, len(ids), share)
    log.info(
        "%s: vectors for %d of %d words (%.1f%% of the tokens); the others start at random",
        *(config.vectors, len(rows), len(ids), 100 * share),
    )
    return vectors


def start_from(variables: Any, language: str, vectors: StartingVectors) -> Any:
    """`variables` with the embeddings of the words that have a vector."""
    encoder = dict(variables["params"]["encoder"])
    name = f"embeddings_{language}"
    table = encoder[name]["table"].at[vectors.ids].set(vectors.vectors)
    encoder[name] = {**encoder[name], "table": table}
    return {**variables, "params": {**variables["params"], "encoder": encoder}}
