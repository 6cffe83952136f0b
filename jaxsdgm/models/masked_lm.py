"""BERT's masked language model without its sentence task (Devlin et al. 2019; spec §11.1)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import Array

from jaxsdgm.data.bert_tokenizers import MASK, PAD, SPECIAL
from jaxsdgm.layers.bert import ACTIVATIONS, BertEncoder, BertSize
from jaxsdgm.layers.softmax import softmax_nll
from jaxsdgm.models.terms import Batch, Groups, Noise, masked_mean, whole

KEPT, RANDOM = 0.1, 0.1  # of the chosen positions; the others become [MASK]


class Masked(NamedTuple):
    """Corrupted ids `[b, t]`, chosen positions `[b, k]` and what stood there, PAD where none is."""

    ids: Array
    positions: Array
    targets: Array


def mask_tokens(
    key: Array,
    ids: Array,
    lengths: Array,
    row: Array,
    *,
    vocab_size: int,
    share: float,
    most: int,
) -> Masked:
    """Chooses `share` of each sequence's tokens, at most `most` and at least one.

    Of those 80 % become [MASK], 10 % another word and 10 % stay. Special tokens, [UNK] among them,
    and padding are neither chosen nor put in. The choice depends on the key and the row number
    alone. `ids [b, t]`, `lengths [b]` with special tokens, `row [b]`; k is a static bound.
    """
    count = min(most, max(1, round(share * ids.shape[1])))

    def one(ids: Array, length: Array, row: Array) -> Masked:
        place, kind, word = jax.random.split(jax.random.fold_in(key, row), 3)
        scores = jnp.where(ids < len(SPECIAL), -1, jax.random.uniform(place, ids.shape))
        best, positions = jax.lax.top_k(scores, count)
        wanted = jnp.clip(jnp.round(share * length), 1, count)
        chosen = (jnp.arange(count) < wanted) & (best >= 0)
        old = ids[positions]
        kinds = jax.random.uniform(kind, (count,))
        new = jax.random.randint(word, (count,), len(SPECIAL), vocab_size, ids.dtype)
        new = jnp.where(kinds < KEPT, old, jnp.where(kinds < KEPT + RANDOM, new, MASK))
        ids = ids.at[positions].set(jnp.where(chosen, new, old))
        return Masked(ids, positions, jnp.where(chosen, old, PAD))

    return jax.vmap(one)(ids, lengths, row)


class MaskedLM(nn.Module):
    """log p(x_i | the rest) = log softmax(norm(gelu(W h_i + b)) E^T + c), E the word embeddings.

    Sequences are masked anew whenever they are met. Only the states of masked positions reach the
    softmax, whose logits exist a tile at a time.
    """

    size: BertSize
    masked_share: float = 0.15
    max_masked: int = 30
    remat: bool = False
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        init = nn.initializers.normal(0.02)
        self.encoder = BertEncoder(self.size, remat=self.remat, **types)
        self.transform = nn.Dense(self.size.hidden, kernel_init=init, **types)
        self.norm = nn.LayerNorm(
            self.size.epsilon, jnp.float32, self.param_dtype, use_fast_variance=False
        )
        zeros = nn.initializers.zeros_init()
        self.bias = self.param("bias", zeros, (self.size.vocab_size,), self.param_dtype)

    def initialise(self, rows: Mapping[str, Array]) -> None:
        """Touches every parameter; for `init` only."""
        rows = whole(rows)
        masked = self.mask(jax.random.key(0), rows)
        self.nll({**rows, **masked._asdict()}, train=False)

    @nn.nowrap
    def mask(self, key: Array, rows: Mapping[str, Array]) -> Masked:
        """See `mask_tokens`; rows with ids, lengths and row numbers."""
        limits = {"share": self.masked_share, "most": self.max_masked}
        ids, lengths, row = (rows[name] for name in ("ids", "lengths", "row"))
        return mask_tokens(key, ids, lengths, row, vocab_size=self.size.vocab_size, **limits)

    def objective(
        self,
        batch: Batch,
        *,
        language: str,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
    ) -> Groups:
        """{"sequences": {"masked": [b], "loss": [b]}}, in nats.

        loss = NLL of a row's masked tokens over their mean number in the batch, so that its mean
        over the rows is the mean over the masked tokens. `batch["sequences"]`: ids `[b, t]`,
        lengths, second, row and mask `[b]`; `language` is not looked at.
        """
        rows = batch["sequences"]
        masked = self.mask(self.make_rng("masking"), rows)
        count = (masked.targets != PAD).sum(-1).astype(jnp.float32)
        nll = self.nll({**rows, **masked._asdict()}, train=train)
        mean = masked_mean(count, rows["mask"], self.axis_name)
        return {"sequences": {"masked": count, "loss": nll / jnp.maximum(mean, 1)}}

    def nll(self, rows: Mapping[str, Array], *, train: bool) -> Array:
        """- sum of log p(target) over the masked positions, in nats, `[b]`.

        Rows: ids `[b, t]` (corrupted), lengths, second and row `[b]`, positions and targets
        `[b, k]`.
        """
        types = jnp.arange(rows["ids"].shape[1]) >= rows["second"][:, None]
        hidden = self.encoder(
            rows["ids"], rows["lengths"], rows["row"], train=train, types=types.astype(jnp.int32)
        )
        x = jnp.take_along_axis(hidden, rows["positions"][..., None], axis=1)  # b k d
        x = self.norm(ACTIVATIONS[self.size.activation](self.transform(x)))
        x, table = promote_dtype(x, self.encoder.table(), dtype=self.dtype)
        targets = rows["targets"]
        flat = x.reshape(-1, x.shape[-1]), table, self.bias, targets.reshape(-1, 1)
        nll: Any = softmax_nll(*flat, False)
        return nll.reshape(targets.shape).sum(-1)
