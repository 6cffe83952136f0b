"""BERT and its kin (XLM-R, DistilBERT, MiniLM, multilingual e5) as an encoder of documents.

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers": post-norm blocks,
x' = norm(x + attention(x)); x'' = norm(x' + down(act(up(x')))). `weights.huggingface` fills the
parameters from a checkpoint.

Documents are padded at the right and `lengths` says where they end. What stands at a padded
position of the result is arbitrary (finite, but it differs between implementations): mask it.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxsdgm.errors import UserError
from jaxsdgm.layers.dropout import RowDropout
from jaxsdgm.weights.bert import BertSize

__all__ = ["BertEncoder", "BertLayer", "BertSize", "pool"]

_INIT = nn.initializers.normal(0.02)


def gelu(x: Array) -> Array:
    """x Phi(x) through erf; `jax.nn.gelu` takes erfc, which costs 2.6 times as much on a CPU."""
    return x * (0.5 + 0.5 * jax.lax.erf(x * math.sqrt(0.5)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_new": nn.gelu,
    "relu": nn.relu,
}


def implementation(dtype: Any, head_size: int) -> str:
    """`cudnn` where its fused attention runs (half precision, Ampere or later), else `xla`."""
    device = jax.devices()[0]
    half = dtype in (jnp.bfloat16, jnp.float16) and head_size % 8 == 0 and head_size <= 128
    if not half or "cuda" not in getattr(device.client, "platform_version", "").lower():
        return "xla"
    return "cudnn" if float(device.compute_capability) >= 8 else "xla"


def attend(query: Array, key: Array, value: Array, lengths: Array) -> Array:
    """softmax(q k' / sqrt(n)) v over the first `lengths [b]` keys; all arrays `[b, t, h, n]`."""
    if jax.default_backend() == "cpu":
        return attend_with_dropout(query, key, value, lengths, lambda weights: weights)
    lengths = lengths.astype(jnp.int32)
    return jax.nn.dot_product_attention(
        query,
        key,
        value,
        query_seq_lengths=lengths,
        key_value_seq_lengths=lengths,
        implementation=implementation(query.dtype, query.shape[-1]),  # pyright: ignore
    )


def attend_with_dropout(
    query: Array, key: Array, value: Array, lengths: Array, drop: Callable[[Array], Array]
) -> Array:
    """As `attend`, with `drop` on the probabilities `[b, h, t, s]`, which that cannot do elsewhere.

    On a CPU products and the mask stand alone: fused with what is around them XLA's compiler makes
    them element by element. What is dropped are numerators, as good as probabilities since `drop`
    is linear.
    """
    apart = jax.lax.optimization_barrier if jax.default_backend() == "cpu" else lambda x: x
    heads = lambda x: x.swapaxes(1, 2)
    q = query / math.sqrt(query.shape[-1])
    q, k, v = apart((heads(q), heads(key), heads(value)))  # b h t n
    scores = apart(jnp.einsum("bhtn,bhsn->bhts", q, k, preferred_element_type=jnp.float32))
    valid = (jnp.arange(key.shape[1]) < lengths[:, None])[:, None, None]  # b 1 1 s
    scores += apart(jnp.where(valid, 0, -jnp.inf).astype(scores.dtype))
    highest = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
    weights = apart(jnp.exp(scores - highest))
    total = weights.sum(-1, keepdims=True)
    dropped = apart(drop(weights).astype(value.dtype))
    return heads((apart(dropped @ v) / total).astype(value.dtype))


class BertLayer(nn.Module):
    """One block: self-attention, then the two-layer perceptron, each with residual and norm."""

    size: BertSize
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        d = self.size.hidden
        self.query, self.key, self.value, self.output = (self._dense(d) for _ in range(4))
        self.up, self.down = self._dense(self.size.intermediate), self._dense(d)
        self.attention_norm, self.norm = (_norm(self.size, self.param_dtype) for _ in range(2))
        self.drop = RowDropout(self.size.dropout)
        self.drop_attention = RowDropout(self.size.attention_dropout)

    def __call__(self, x: Array, lengths: Array, row: Array, *, train: bool) -> Array:
        """`x [b, t, d]`, `lengths [b]` >= 1, row numbers `[b]` to `[b, t, d]`."""
        attended = self.drop(self.output(self._attention(x, lengths, row, train)), row, train=train)
        x = self.attention_norm(x + attended).astype(x.dtype)
        tokens = x.reshape(-1, x.shape[-1])  # on a CPU a matrix is multiplied faster than a stack
        found = self.down(ACTIVATIONS[self.size.activation](self.up(tokens))).reshape(x.shape)
        return self.norm(x + self.drop(found, row, train=train)).astype(x.dtype)

    def _attention(self, x: Array, lengths: Array, row: Array, train: bool) -> Array:
        split = (*x.shape[:2], self.size.heads, -1)
        q, k, v = (f(x).reshape(split) for f in (self.query, self.key, self.value))  # b t h n
        if train and self.size.attention_dropout:
            drop = lambda probabilities: self.drop_attention(probabilities, row, train=train)
            return attend_with_dropout(q, k, v, lengths, drop).reshape(x.shape)
        return attend(q, k, v, lengths).reshape(x.shape)

    def _dense(self, features: int) -> nn.Dense:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        return nn.Dense(features, kernel_init=_INIT, **types)


def _norm(size: BertSize, param_dtype: Any) -> nn.LayerNorm:
    """Computed in float32, whatever the rest is computed in."""
    return nn.LayerNorm(size.epsilon, jnp.float32, param_dtype, use_fast_variance=False)


class BertEncoder(nn.Module):
    """Embeddings (word + position + type, normed), then the layers.

    `remat` computes the inside of each layer again in the backward pass: the memory of one layer's
    activations instead of all, for a third more work (on accelerators: XLA's compiler for the CPU
    undoes it, see `setup.remat`). Dropout belongs to the rows of the batch (see RowDropout), hence
    a run does not depend on the number of devices.
    """

    size: BertSize
    remat: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        size = self.size
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        table = lambda name, n: self.param(name, _INIT, (n, size.hidden), self.param_dtype)
        self.words = table("words", size.vocab_size)
        self.positions = table("positions", size.positions)
        self.types = table("types", size.types) if size.types else None
        self.norm = _norm(size, self.param_dtype)
        self.drop = RowDropout(size.dropout)
        self.layer = [BertLayer(size, **types) for _ in range(size.layers)]
        if size.pooler:
            self.pooler = nn.Dense(size.hidden, kernel_init=_INIT, **types)

    def __call__(
        self, ids: Array, lengths: Array, row: Array, *, train: bool, types: Array | None = None
    ) -> Array:
        """Hidden states of the last layer.

        Args:
          ids: `[b, t]`, special tokens included, padded at the right.
          lengths: `[b]` >= 1, tokens of each document.
          row: `[b]`, the number of each document in the global batch, for dropout.
          train: whether dropout is on (needs the stream `dropout`).
          types: `[b, t]` token types; all zero unless given.

        Returns:
          `[b, t, d]` in `dtype`; only positions below `lengths` mean anything.

        Raises:
          UserError: t exceeds the positions that the checkpoint has.
        """
        if ids.shape[1] > self.size.max_length:
            raise UserError(
                f"documents of {ids.shape[1]} tokens, but the encoder has positions for "
                f"{self.size.max_length}; lower config.data.max_length"
            )
        x = self.drop(self.norm(self._embed(ids, types)), row, train=train)
        x = x.astype(self.dtype or self.param_dtype)
        run = lambda layer, x: layer(x, lengths, row, train=train)
        for layer in self.layer:
            x = nn.remat(run)(layer, x) if self.remat else run(layer, x)
        if self.is_initializing():
            self.pooled(x)  # makes the pooler's parameters, whichever method is called first
        return x

    def _embed(self, ids: Array, types: Array | None) -> Array:
        x = self.words[ids] + self.positions[self.size.position_offset :][: ids.shape[1]]
        if self.types is None:
            return x
        return x + (self.types[0] if types is None else self.types[types])

    def pooled(self, hidden: Array) -> Array:
        """`[b, t, d]` to `[b, d]`: tanh(W h_0 + b), or h_0 itself where there is no pooler."""
        return jnp.tanh(self.pooler(hidden[:, 0])) if self.size.pooler else hidden[:, 0]

    def pool(self, hidden: Array, lengths: Array, kind: str) -> Array:
        """As the function `pool`, and the kind `cls`: what `pooled` gives."""
        return self.pooled(hidden) if kind == "cls" else pool(hidden, lengths, kind)

    def table(self) -> Array:
        """The word embeddings `[v, d]`, for a decoder that is tied to them."""
        return self.words


def pool(hidden: Array, lengths: Array, kind: str) -> Array:
    """`[b, t, d]` to `[b, d]`: the state of the `first` token, or the `mean` over the document.

    The kind `cls` needs the pooler's parameters: see `BertEncoder.pool`.
    """
    if kind == "first":
        return hidden[:, 0]
    if kind != "mean":
        raise UserError(f"unknown pooling {kind!r}; choose one of cls, first, mean")
    mask = (jnp.arange(hidden.shape[1]) < lengths[:, None])[..., None]  # b t 1
    total = jnp.where(mask, hidden, 0).sum(1, dtype=jnp.float32)
    return (total / lengths[:, None]).astype(hidden.dtype)
