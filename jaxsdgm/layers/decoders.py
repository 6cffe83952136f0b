"""Latent vectors to the log-likelihood of a document: bag of words, features, a GRU, an LSTM."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import Array

from jaxsdgm.distributions import at_least_float32
from jaxsdgm.layers.dropout import RowDropout
from jaxsdgm.layers.encoders import PAD
from jaxsdgm.layers.linear import Linear, uniform_fan
from jaxsdgm.layers.products import product
from jaxsdgm.layers.recurrent import GRU, LSTM, longest_first
from jaxsdgm.layers.softmax import softmax_nll


class BagOfWordsDecoder(nn.Module):
    """logits = z E^T + b with E a table `[v, e]` that the caller gives: tied to the encoder or not.

    The latent size equals the embedding size. PAD stays in the denominator with the logit b[0].
    The table of a checkpoint may have rows beyond the words, which no word is.
    """

    vocab_size: int
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        init = nn.initializers.uniform(1.0)
        self.bias = self.param("bias", init, (self.vocab_size,), self.param_dtype)

    def logits(self, z: Array, table: Array) -> Array:
        """`z [b, e]` to unnormalised log-probabilities `[b, v]`."""
        z, table = promote_dtype(z, table[: self.vocab_size], dtype=self.dtype)
        scores = product(z, table.T)
        is_pad = jnp.arange(self.vocab_size) == PAD
        return jnp.where(is_pad, 0, scores) + self.bias

    def nll(self, z: Array, ids: Array, table: Array) -> Array:
        """Negative log-likelihood of `ids [b, t]` in nats, `[b]`."""
        z, table = promote_dtype(z, table, dtype=self.dtype)
        return softmax_nll(z, table, self.bias, ids, True)


class FeatureDecoder(nn.Module):
    """p(h | z) = N(h; W z + b, I), of vectors h that a frozen encoder made."""

    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def nll(self, z: Array, features: Array) -> Array:
        """|h - W z - b|^2 / 2 of `z [b, z]` and `features [b, d]`: nats up to a constant, `[b]`."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        mean = at_least_float32(Linear(features.shape[-1], **types, name="mean")(z))
        return 0.5 * jnp.square(features - mean).sum(-1)


class GRUDecoder(nn.Module):
    """A GRU language model that is fed z at every step and starts from it (spec §3.5).

    h_0 = Linear(z); the input of step t is Linear([embedding of x_{t-1}; z]) with PAD, whose
    embedding is zero, as the start symbol; full teacher forcing.
    """

    vocab_size: int
    inputs: int = 100
    hidden: int = 50
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.first_state = Linear(self.hidden, **types)
        self.step_input = Linear(self.inputs, **types)
        self.gru = GRU(self.hidden, **types)
        init = uniform_fan(self.hidden)
        self.kernel = self.param("kernel", init, (self.hidden, self.vocab_size), self.param_dtype)
        self.bias = self.param("bias", init, (self.vocab_size,), self.param_dtype)

    def states(self, z: Array, previous: Array, table: Array, first: Array | None = None) -> Array:
        """GRU states `[b, t, h]` after reading the tokens `previous [b, t]`, from `first` or z."""
        x = table[previous] * (previous != PAD)[..., None]
        return self.gru(self.step_input(x, z), self.first_state(z) if first is None else first)

    def step(
        self, z: Array, token: Array, state: Array | None, table: Array
    ) -> tuple[Array, Array]:
        """One step of generation: logits `[b, v]` of the next token and the new state `[b, h]`."""
        state = self.states(z, token[:, None], table, state)[:, 0]
        return at_least_float32(state @ self.kernel + self.bias), state

    def nll(self, z: Array, ids: Array, table: Array) -> Array:
        """Negative log-likelihood of `ids [b, t]` in nats, `[b]`.

        Steps beyond the end of a document cost no softmax.
        """
        previous = jnp.pad(ids[:, :-1], ((0, 0), (1, 0)), constant_values=PAD)
        states = self.states(z, previous, table)  # b t h
        states, kernel = promote_dtype(states, self.kernel, dtype=self.dtype)
        tokens = states.reshape(-1, self.hidden), kernel, self.bias, ids.reshape(-1, 1)
        nll: Any = softmax_nll(*tokens, False, True)
        return nll.reshape(ids.shape).sum(-1)


class LSTMDecoder(nn.Module):
    """An LSTM language model that is fed its latents at every step (paper 2; spec §4).

    The input of step t is dropout([latents; embedding of x_{t-1}]) with a vector of its own before
    the first word; the state starts as zeros, and the output layer is not tied.
    """

    vocab_size: int
    hidden: int = 200
    dropout: float = 0.0
    backend: str = "scan"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def nll(
        self, latents: Array, ids: Array, lengths: Array, words: Array, row: Array, *, train: bool
    ) -> Array:
        """Negative log-likelihood of `ids [b, t]` in nats, `[b]`.

        Args:
          latents: `[b, d]`.
          lengths: `[b]` >= 1, of the ids.
          words: `[b, t, e]`, the embeddings of the ids.
          row: `[b]` row numbers.
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        b, _, e = words.shape
        start = self.param("start", nn.initializers.zeros, (e,), self.param_dtype)
        init, shape = uniform_fan(self.hidden), (self.hidden, self.vocab_size)
        kernel = self.param("kernel", init, shape, self.param_dtype)
        bias = self.param("bias", init, shape[1:], self.param_dtype)
        order = longest_first(lengths)[0] if self.backend == "packed" else jnp.arange(b)
        first = jnp.broadcast_to(start.astype(words.dtype), (b, 1, e))
        previous = jnp.concatenate([first, words[:, :-1]], 1)
        repeated = jnp.broadcast_to(latents[:, None], (*previous.shape[:2], latents.shape[-1]))
        x = jnp.concatenate([repeated, previous], -1)[order]
        x = RowDropout(self.dropout)(x, row[order], train=train)
        lstm = LSTM(x.shape[-1], self.hidden, self.backend, **types, name="lstm")
        states, _ = lstm(x, lengths[order])
        states, kernel = promote_dtype(states, kernel, dtype=self.dtype)
        tokens = states.reshape(-1, self.hidden), kernel, bias, ids[order].reshape(-1, 1)
        nll: Any = softmax_nll(*tokens, False, True)
        return jnp.zeros(b, nll.dtype).at[order].set(nll.reshape(ids.shape).sum(-1))


DECODERS = {"bow": BagOfWordsDecoder, "gru": GRUDecoder}
