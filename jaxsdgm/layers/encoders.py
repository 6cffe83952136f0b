"""Token ids to one vector per document, and from there to the posterior of a latent variable."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import Array

from jaxsdgm.distributions import DiagonalGaussian, at_least_float32
from jaxsdgm.layers.bert import BertEncoder, BertSize
from jaxsdgm.layers.dropout import RowDropout
from jaxsdgm.layers.linear import Linear
from jaxsdgm.layers.normalization import MaskedBatchNorm
from jaxsdgm.layers.recurrent import BiLSTM, longest_first

PAD = 0
SHARED = "shared"  # the name of a vocabulary that all languages have in common


def vocabulary(sizes: Mapping[str, Any], language: str) -> str:
    """Which of these vocabularies a language has: its own, or the one that all share."""
    return SHARED if SHARED in sizes else language


def embeddings_of(params: Mapping[str, Any], language: str) -> Any:
    """The embeddings `[v, e]` of a language among a `TextEncoder`'s parameters, or None."""
    for name in (language, SHARED):
        if f"embeddings_{name}" in params:
            return params[f"embeddings_{name}"]["table"]
    return None


def word_vectors(key: Array, shape: tuple[int, int], dtype: Any) -> Array:
    """Initial embeddings `[v, e]` in U(-0.5/e, 0.5/e), as word2vec's; zero at PAD."""
    table = jax.random.uniform(key, shape, dtype, -0.5, 0.5) / shape[1]
    return table.at[PAD].set(0)


class Embedding(nn.Module):
    """A table `[v, e]`; the row of PAD is zero and receives no gradient."""

    vocab_size: int
    features: int
    dropout: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        shape = (self.vocab_size, self.features)
        self.table = self.param("table", word_vectors, shape, self.param_dtype)
        self.drop = RowDropout(self.dropout)

    def __call__(self, ids: Array, row: Array, *, train: bool) -> Array:
        """`ids [b, t]`, row numbers `[b]` to `[b, t, e]`, zero at PAD."""
        (table,) = promote_dtype(self.table, dtype=self.dtype)
        vectors = table[ids] * (ids != PAD)[..., None]
        return self.drop(vectors, row, train=train)


#: words [b, t, e], outputs [b, t, 2h], last states [b, 2h], mask [b, t, 1] -> [b, d]
POOLING = {
    "last": lambda words, outputs, last, mask: last,
    "mean": lambda words, outputs, last, mask: outputs.sum(1) / mask.sum(1),
    "max": lambda words, outputs, last, mask: jnp.where(mask, outputs, -jnp.inf).max(1),
    "words": lambda words, outputs, last, mask: words.sum(1) / mask.sum(1),
}


class TextEncoder(nn.Module):
    """Embeddings per language, then a BiLSTM shared by the languages (spec §3.1, §3.2).

    With one entry `SHARED` in `vocab_sizes` all languages have the same embeddings.
    `pooling` makes one vector of a document: the BiLSTM's last states (the paper), the mean or
    maximum of its outputs over the tokens, the mean of the word embeddings, or several of these
    side by side ("mean+words"). `backend` is the recurrence's: see `recurrent.BACKENDS`.
    """

    vocab_sizes: Mapping[str, int]
    embedding: int = 300
    hidden: int = 600
    layers: int = 2
    dropout: float = 0.2
    pooling: str = "last"
    backend: str = "scan"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    inputs = ("ids", "lengths")

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.embeddings = {
            name: Embedding(size, self.embedding, self.dropout, **types)
            for name, size in self.vocab_sizes.items()
        }
        self.lstm = BiLSTM(self.hidden, self.layers, self.dropout, self.backend, **types)

    def __call__(
        self,
        rows: Mapping[str, Array],
        *,
        language: str,
        train: bool,
        lstm: BiLSTM | None = None,
    ) -> Array:
        """Rows with ids `[b, t]`, lengths `[b]` >= 1 and row numbers `[b]` to h `[b, d]`.

        Another BiLSTM may read the same embeddings.
        """
        ids, lengths, row = (jnp.asarray(rows[name]) for name in ("ids", "lengths", "row"))
        lstm = lstm or self.lstm
        if self.backend != "packed":
            return self._encode(lstm, ids, lengths, row, language, train)
        order, back = longest_first(lengths)
        return self._encode(lstm, ids[order], lengths[order], row[order], language, train)[back]

    def encode_pairs(
        self, rows: Mapping[str, Array], *, languages: Sequence[str], train: bool
    ) -> Array:
        """Texts that follow each other, one in each language, to h `[b, d]`.

        `rows` have ids `[b, languages, t]`, lengths `[b, languages]` >= 1, row numbers `[b]`.
        """
        ids, lengths, row = (jnp.asarray(rows[name]) for name in ("ids", "lengths", "row"))
        if self.backend != "packed":
            return self._encode_pairs(ids, lengths, row, languages, train)
        order, back = longest_first(lengths.sum(1))
        return self._encode_pairs(ids[order], lengths[order], row[order], languages, train)[back]

    def _encode_pairs(
        self, ids: Array, lengths: Array, row: Array, languages: Sequence[str], train: bool
    ) -> Array:
        sides = [
            self._embedding(language)(ids[:, i], row, train=train)
            for i, language in enumerate(languages)
        ]
        b, n, t = ids.shape
        pads = (jnp.arange(t) >= lengths[..., None]).reshape(b, n * t)
        order = jnp.argsort(pads, axis=1, stable=True)  # of each row: padding to the end
        x = jnp.take_along_axis(jnp.concatenate(sides, 1), order[..., None], 1)
        return self._read(self.lstm, x, lengths.sum(1), row, train)

    def _encode(
        self, lstm: BiLSTM, ids: Array, lengths: Array, row: Array, language: str, train: bool
    ) -> Array:
        x = self._embedding(language)(ids, row, train=train)
        return self._read(lstm, x, lengths, row, train)

    def _read(self, lstm: BiLSTM, x: Array, lengths: Array, row: Array, train: bool) -> Array:
        outputs, last = lstm(x, lengths, row, train=train)
        mask = (jnp.arange(x.shape[1]) < lengths[:, None])[..., None]  # b t 1
        parts = [POOLING[kind](x, outputs, last, mask) for kind in self.pooling.split("+")]
        return jnp.concatenate(parts, -1)

    def table(self, language: str) -> Array:
        """The embeddings `[v, e]` of a language, for a decoder that is tied to them."""
        return self._embedding(language).table

    def words(self, ids: Array, *, language: str) -> Array:
        """Embeddings `[b, t, e]` of `ids [b, t]` without dropout, zero at PAD."""
        return self._embedding(language)(ids, jnp.zeros(len(ids), int), train=False)

    def _embedding(self, language: str) -> Embedding:
        return self.embeddings[vocabulary(self.vocab_sizes, language)]


class TransformerEncoder(nn.Module):
    """A BERT-like transformer over wordpieces, one for all languages (spec §11.3).

    `pooling` is "cls" (the checkpoint's pooled first token), "first" (that token's state) or "mean"
    (over the document's pieces).
    """

    size: BertSize
    pooling: str = "cls"
    remat: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    inputs = ("ids", "lengths")

    @property
    def embedding(self) -> int:
        return self.size.hidden

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.bert = BertEncoder(self.size, remat=self.remat, **types)

    def __call__(self, rows: Mapping[str, Array], *, language: str, train: bool) -> Array:
        """Rows with ids `[b, t]`, lengths `[b]` and row numbers `[b]` to h `[b, d]`."""
        hidden = self.bert(rows["ids"], rows["lengths"], rows["row"], train=train)
        return self.bert.pool(hidden, rows["lengths"], self.pooling)

    def table(self, language: str) -> Array:
        """The wordpiece embeddings `[v, d]`, for a decoder that is tied to them."""
        return jnp.asarray(self.bert.table())


class FrozenFeatures(nn.Module):
    """Documents that are vectors already, made once by an encoder that is not trained.

    It stands where an encoder stands; there is no word table, so nothing can be tied to it.
    """

    inputs = ("features",)
    embedding = None

    def __call__(self, rows: Mapping[str, Array], *, language: str, train: bool) -> Array:
        """Rows with features `[b, d]` to h `[b, d]`."""
        return rows["features"]


class GaussianHead(nn.Module):
    """Linear, BatchNorm, ReLU, then two Linears for mean and log-variance (spec §3.3).

    The hidden layer is as wide as the Gaussian (the paper) or `hidden` wide; without `batch_norm`
    nothing stands between it and the ReLU.
    """

    features: int
    hidden: int = 0
    batch_norm: bool = True
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array, *, train: bool, groups: int = 1) -> DiagonalGaussian:
        """`x [rows, d]`, `mask [rows]` to a Gaussian over `[rows, features]`."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = Linear(self.hidden or self.features, **types, name="hidden")(x)
        if self.batch_norm:
            norm = MaskedBatchNorm(self.axis_name, **types, name="norm")
            x = norm(x, mask, train=train, groups=groups)
        x = nn.relu(x)
        mean = Linear(self.features, **types, name="mean")(x)
        log_var = Linear(self.features, **types, name="log_var")(x)
        return DiagonalGaussian(at_least_float32(mean), at_least_float32(log_var))
