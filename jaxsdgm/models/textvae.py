"""Text VAEs with an LSTM at both ends, and the LSTM language model (Li et al. 2019; spec §2, §3).

z ~ N(0, I) is in the decoder's first state and in the input of every step. A sentence is a row of
ids: `<s>`, its words, `</s>`, PAD; what is predicted is all of it but `<s>`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import Array

from jaxsdgm import distributions as dist
from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.layers.dropout import RowDropout
from jaxsdgm.layers.lstm import State
from jaxsdgm.layers.products import product
from jaxsdgm.layers.recurrent import LSTM, longest_first
from jaxsdgm.layers.softmax import softmax_nll
from jaxsdgm.models.terms import Batch, Groups, Noise, counted_kl, masked_mean, no_noise

#: the group of a batch
SENTENCES = "sentences"
#: what `objective` reads from its argument hyper
HYPERPARAMETERS = ("kl_weight", "free_bits")
#: where the KL is free below hyper["free_bits"]: nowhere; in each dimension, of a z-th of that
#: each; in a sentence; in the mean of a batch
FREE_BITS = ("none", "dimension", "sentence", "batch")


def uniform(bound: float) -> nn.initializers.Initializer:
    """U(-bound, bound)."""
    draw = nn.initializers.uniform(2 * bound)
    return lambda key, shape, dtype=jnp.float32: draw(key, shape, dtype) - bound


#: first values of all parameters, and of the word embeddings
SMALL, EMBEDDING = uniform(0.01), uniform(0.1)


class SentenceEncoder(nn.Module):
    """q(z | x): mean and log-variance are a linear map of an LSTM's state after the last token."""

    vocab_size: int
    embedding: int
    hidden: int
    latent: int
    backend: str = "scan"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        self.words, self.lstm = read_by_lstm(self)
        shape = self.hidden, 2 * self.latent
        self.kernel = self.param("kernel", SMALL, shape, self.param_dtype)

    def __call__(self, ids: Array, lengths: Array) -> DiagonalGaussian:
        """Of sentences `[b, t]`: mean and log-variance `[b, z]`."""
        _, last = self.lstm(self.words[ids], lengths)
        last, kernel = promote_dtype(last, self.kernel, dtype=self.dtype)
        return DiagonalGaussian(*jnp.split(product(last, kernel), 2, axis=-1))


class DocumentEncoder(nn.Module):
    """What a text VAE's encoder reads, for another model: h is the state after the last token.

    It has the places of `SentenceEncoder`'s parameters, without those of its Gaussian.
    """

    vocab_size: int
    embedding: int
    hidden: int
    backend: str = "scan"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    inputs = ("ids", "lengths")

    def setup(self) -> None:
        self.words, self.lstm = read_by_lstm(self)

    def __call__(self, rows: Mapping[str, Array], *, language: str, train: bool) -> Array:
        """Rows with ids `[b, t]` and lengths `[b]` to h `[b, hidden]`."""
        ids, lengths = jnp.asarray(rows["ids"]), jnp.asarray(rows["lengths"])
        if self.backend != "packed":
            return self.lstm(self.words[ids], lengths)[1]
        order, back = longest_first(lengths)
        return self.lstm(self.words[ids[order]], lengths[order])[1][back]

    def table(self, language: str) -> Array:
        """The word embeddings `[v, e]`, for a decoder that is tied to them."""
        return self.words


def read_by_lstm(module: Any) -> tuple[Array, LSTM]:
    """The word embeddings and the LSTM of a module that reads sentences; for its setup."""
    shape = module.vocab_size, module.embedding
    words = module.param("table", EMBEDDING, shape, module.param_dtype)
    types = {"dtype": module.dtype, "param_dtype": module.param_dtype}
    return words, LSTM(module.embedding, module.hidden, module.backend, SMALL, **types)


class SentenceDecoder(nn.Module):
    """p(x | z) by an LSTM: c_0 = z U, h_0 = tanh(c_0), inputs [embedding; z], logits = h P.

    With `latent` 0 it is a language model that starts from zeros. Dropout is on the embeddings and
    on the states before the softmax, not on z.
    """

    vocab_size: int
    embedding: int
    hidden: int
    latent: int
    dropout: float = 0.0
    backend: str = "scan"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shape = self.vocab_size, self.embedding
        self.table = self.param("table", EMBEDDING, shape, self.param_dtype)
        width = self.embedding + self.latent
        self.lstm = LSTM(width, self.hidden, self.backend, SMALL, **types)
        shape = self.hidden, self.vocab_size
        self.kernel = self.param("kernel", SMALL, shape, self.param_dtype)
        if self.latent:
            shape = self.latent, self.hidden
            self.to_state = self.param("to_state", SMALL, shape, self.param_dtype)
        self.drop_words, self.drop_states = RowDropout(self.dropout), RowDropout(self.dropout)

    def first_state(self, z: Array) -> State:
        """h and c `[b, h]` before the first step."""
        if not self.latent:
            zero = jnp.zeros((len(z), self.hidden), self.dtype or self.param_dtype)
            return zero, zero
        z, to_state = promote_dtype(z, self.to_state, dtype=self.dtype)
        cell = z @ to_state
        return jnp.tanh(cell), cell

    def states(self, z: Array, ids: Array, lengths: Array, row: Array, *, train: bool) -> Array:
        """h `[b, t, h]` after reading the tokens `ids [b, t]`; `z [b, z]`."""
        words = self.drop_words(self.table[ids], row, train=train)
        repeated = jnp.broadcast_to(z[:, None], (*ids.shape, self.latent)).astype(words.dtype)
        x = jnp.concatenate([words, repeated], -1)
        return self.lstm(x, lengths, self.first_state(z))[0]

    def step(self, z: Array, token: Array, state: State) -> State:
        """The state after reading one more token `[b]`."""
        return self.lstm.step(jnp.concatenate([self.table[token], z], -1), state)

    def logits(self, states: Array) -> Array:
        """`[..., h]` to unnormalised log-probabilities `[..., v]` of the next word."""
        states, kernel = promote_dtype(states, self.kernel, dtype=self.dtype)
        return product(states, kernel)

    def words_nll(self, states: Array, words: Array) -> Array:
        """- log p(next word) in nats `[n]` of states `[n, h]`, and 0 where the word is PAD."""
        states, kernel = promote_dtype(states, self.kernel, dtype=self.dtype)
        bias = jnp.zeros(self.vocab_size, dist.at_least_float32(states).dtype)
        nll: Any = softmax_nll(states, kernel, bias, words[:, None], False, True, True)
        return nll

    def nll(self, z: Array, ids: Array, lengths: Array, row: Array, *, train: bool) -> Array:
        """- log p(x | z) in nats `[b]`; `lengths [b]` count `<s>` and `</s>`."""
        states = self.states(z, ids[:, :-1], lengths - 1, row, train=train)
        states = self.drop_states(states, row, train=train)
        nll = self.words_nll(states.reshape(-1, self.hidden), ids[:, 1:].reshape(-1))
        return nll.reshape(len(ids), -1).sum(-1)


class TextVAE(nn.Module):
    """p(x | z) p(z) with q(z | x), or with `latent` 0 the language model p(x).

    Encoder and decoder have `hidden` units, the encoder `encoder_hidden` where that is not 0.
    `free_bits` is one of FREE_BITS. With `importance_samples` k > 1 the loss is the negative of the
    importance-weighted bound of k draws (Burda et al. 2016) and the others do not count.
    """

    vocab_size: int
    embedding: int = 256
    hidden: int = 256
    latent: int = 32
    dropout: float = 0.5
    free_bits: str = "none"
    importance_samples: int = 1
    encoder_hidden: int = 0
    backend: str = "scan"
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        words = self.vocab_size, self.embedding
        fields = {"backend": self.backend, "dtype": self.dtype, "param_dtype": self.param_dtype}
        if self.latent:
            hidden = self.encoder_hidden or self.hidden
            self.encoder = SentenceEncoder(*words, hidden, self.latent, **fields)
        sizes = *words, self.hidden, self.latent
        self.decoder = SentenceDecoder(*sizes, dropout=self.dropout, **fields)

    def initialise(self, rows: Mapping[str, Array]) -> None:
        """Touches every parameter; for `init` only."""
        n = len(rows["ids"])
        rows = {**rows, "row": jnp.arange(n), "mask": jnp.ones(n)}
        hyper = {name: jnp.ones(()) for name in HYPERPARAMETERS}
        self.objective({SENTENCES: rows}, hyper=hyper, noise=no_noise, train=True)

    def objective(
        self,
        batch: Batch,
        *,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
        language: str = "",
    ) -> Groups:
        """Terms per sentence in nats, sums over its tokens: {SENTENCES: {name: [b]}}.

        loss = reconstruction + b KL, with b = hyper["kl_weight"] and, under free bits, the KL
        max(l, KL) with l = hyper["free_bits"]: sum_j max(l / z, KL_j), or of a sentence's, or of
        the batch's mean. Or loss = - log (1/k sum_i p(x, z_i) / q(z_i | x)). Each z is a draw in
        evaluation too. `batch[SENTENCES]`: ids `[b, t]`, lengths `[b]`, row `[b]`, mask `[b]`, and
        perhaps other ids to "read", which the encoder is given.
        """
        names = ("ids", "lengths", "row", "mask", "read")
        given = batch[SENTENCES]
        rows = {name: jnp.asarray(given[name]) for name in names if name in given}
        if self.backend != "packed":
            return {SENTENCES: self._terms(rows, hyper=hyper, noise=noise, train=train)}
        order, back = longest_first(rows["lengths"])
        rows = {name: x[order] for name, x in rows.items()}
        terms = self._terms(rows, hyper=hyper, noise=noise, train=train)
        return {SENTENCES: {name: x[back] for name, x in terms.items()}}

    def _terms(
        self,
        rows: Mapping[str, Array],
        *,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
    ) -> dict[str, Array]:
        ids, lengths, row, mask = (rows[name] for name in ("ids", "lengths", "row", "mask"))
        if not self.latent:
            nll = self.decoder.nll(jnp.zeros((len(ids), 0)), ids, lengths, row, train=train)
            return {"reconstruction": nll, "loss": nll}
        q, k = self.encoder(rows.get("read", ids), lengths), self.importance_samples
        if k > 1:
            return self._importance_weighted(q, ids, lengths, row, noise=noise, train=train)
        z = q.sample(noise("z", row, (self.latent,)))
        nll = self.decoder.nll(z, ids, lengths, row, train=train)
        divergence = dist.kl(q)
        counted = self._counted(q, divergence, mask, hyper["free_bits"])
        loss = nll + hyper["kl_weight"] * counted
        return {"reconstruction": nll, "kl": divergence, "kl_counted": counted, "loss": loss}

    def _counted(self, q: DiagonalGaussian, kl: Array, mask: Array, free: Array) -> Array:
        """The divergence `[b]` that is in the loss."""
        if self.free_bits == "dimension":
            return dist.free_bits(dist.kl_per_dimension(q, dist.standard_normal_like(q)), free)
        if self.free_bits == "sentence":
            return counted_kl(kl, {"free_bits": free})
        if self.free_bits == "batch":  # of which the mean is max(free, mean KL)
            return jnp.where(masked_mean(kl, mask, self.axis_name) > free, kl, free)
        return kl

    def _importance_weighted(
        self,
        q: DiagonalGaussian,
        ids: Array,
        lengths: Array,
        row: Array,
        *,
        noise: Noise,
        train: bool,
    ) -> dict[str, Array]:
        k = self.importance_samples
        draws = noise("z", row, (k, self.latent))  # b k z
        z = (q.mean[:, None] + jnp.exp(0.5 * q.log_var)[:, None] * draws).reshape(-1, self.latent)
        repeat = lambda x: jnp.repeat(x, k, axis=0)
        rows = repeat(ids), repeat(lengths), repeat(row) * k + jnp.tile(jnp.arange(k), len(ids))
        nll = self.decoder.nll(z, *rows, train=train)
        prior = dist.log_prob(DiagonalGaussian(jnp.zeros_like(z), jnp.zeros_like(z)), z)
        log_w = (prior - nll - dist.log_prob(q.repeat(k), z)).reshape(-1, k)
        loss = jnp.log(k) - jax.nn.logsumexp(log_w, axis=-1)
        return {"reconstruction": nll.reshape(-1, k).mean(-1), "kl": dist.kl(q), "loss": loss}

    # -- what is read off a trained model ---------------------------------------------------------

    def encode(self, ids: Array, lengths: Array) -> DiagonalGaussian:
        """q(z | x) of sentences in any order."""
        if self.backend != "packed":
            return self.encoder(ids, lengths)
        order, back = longest_first(lengths)
        q = self.encoder(ids[order], lengths[order])
        return DiagonalGaussian(q.mean[back], q.log_var[back])

    def sentence_nll(self, z: Array, ids: Array, length: Array) -> Array:
        """- log p(x | z_s) in nats `[s]` of one sentence `[t]` under many latents `[s, z]`.

        It takes as many steps as the sentence has, and no logits are kept.
        """

        def step(t: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
            state, total = carry
            state = self.decoder.step(z, jnp.full(len(z), ids[t]), state)
            return state, total + self.decoder.words_nll(state[0], jnp.full(len(z), ids[t + 1]))

        start = self.decoder.first_state(z), jnp.zeros(len(z), dist.at_least_float32(z).dtype)
        return jax.lax.fori_loop(0, length - 1, step, start)[1]

    def next_word(self, z: Array, token: Array, state: State) -> tuple[Array, State]:
        """Logits `[b, v]` of the word after `token [b]`, and the state that goes with them."""
        state = self.decoder.step(z, token, state)
        return self.decoder.logits(state[0]), state

    def first_state(self, z: Array) -> State:
        """The decoder's state before it reads `<s>`."""
        return self.decoder.first_state(z)
