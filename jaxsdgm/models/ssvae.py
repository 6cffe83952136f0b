"""SSVAE and its simplifications (Challenging the SSVAE framework, 2021; spec §3 to §5).

p(y) p(z) p(x | y, z) with q(y | x) q(z | x), each on a BiLSTM; p(x | y, z) is an LSTM. Without z,
without the divergences, or without both, the same model has fewer parts.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxsdgm import distributions as dist
from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.layers.decoders import LSTMDecoder
from jaxsdgm.layers.encoders import TextEncoder
from jaxsdgm.layers.linear import Linear
from jaxsdgm.layers.recurrent import BiLSTM
from jaxsdgm.models.terms import Batch, Groups, Noise, counted_kl, no_noise, whole

#: what `objective` reads from its argument hyper
HYPERPARAMETERS = ("generation_weight", "kl_weight", "temperature")
#: how y of a document without a label enters the decoder
LABELS = ("relaxed", "straight-through", "enumerated")
#: below this softplus(x) is exp(x) to rounding
SMALL = -15.0

Rows = Mapping[str, Array]


class SSVAE(nn.Module):
    """The semi-supervised VAE of sentences, whole or simplified.

    `encoder` reads the words and infers y; z has a BiLSTM of its own over the same embeddings, or
    with `share_encoder` that of y, run once more with other dropout. `latent` 0 leaves z out, and
    `divergence` False all KL terms. Without `generative` it is the supervised classifier.
    `labels` is one of LABELS: a Gumbel-softmax draw, the same made one-hot with the gradient of
    the draw, or every label with the expectation over q(y | x).
    `stl` estimates KL(q(z|x) || p(z)) by the draw, with the parameters in log q held constant
    (sticking the landing, Roeder et al. 2017). `clamp_kl_y` drops the negative summands of KL_y, as
    the paper's code did; only to compare with it.
    """

    encoder: TextEncoder
    n_classes: int
    vocab_size: int
    latent: int = 32
    label_embedding: int = 32
    decoder_hidden: int = 200
    decoder_dropout: float = 0.5
    generative: bool = True
    divergence: bool = True
    labels: str = "relaxed"
    share_encoder: bool = False
    stl: bool = False
    clamp_kl_y: bool = False
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.classifier = Linear(self.n_classes, **types)
        if not self.generative:
            return
        if self.latent:
            self.z_mean, self.z_scale = Linear(self.latent, **types), Linear(self.latent, **types)
            if not self.share_encoder:
                of = self.encoder
                self.z_lstm = BiLSTM(of.hidden, of.layers, of.dropout, of.backend, **types)
        shape = (self.n_classes, self.label_embedding)
        self.label_table = self.param("label_table", nn.initializers.normal(1.0), shape)
        fields = {"dropout": self.decoder_dropout, "backend": self.encoder.backend}
        self.decoder = LSTMDecoder(self.vocab_size, self.decoder_hidden, **fields, **types)

    def initialise(self, rows: Rows, *, languages: tuple[str, ...]) -> None:
        """Touches every parameter; for `init` only."""
        rows = whole(rows)
        batch = {"labelled": {**rows, "labels": jnp.zeros(len(rows["row"]), int)}}
        hyper: dict[str, Array] = {name: jnp.ones(()) for name in HYPERPARAMETERS}
        for language in languages:
            self.objective(batch, language=language, hyper=hyper, noise=no_noise, train=True)

    # -- densities -------------------------------------------------------------------------------

    def log_q_y(self, rows: Rows, *, language: str, train: bool) -> Array:
        """log q(y | x) `[b, k]`."""
        return self._log_q_y(self.encoder(rows, language=language, train=train))

    def _log_q_y(self, h: Array) -> Array:
        return jax.nn.log_softmax(dist.at_least_float32(self.classifier(h)))

    def q_z(self, rows: Rows, *, language: str, train: bool) -> DiagonalGaussian:
        """q(z | x) `[b, z]`, whose standard deviation is a softplus."""
        lstm = None if self.share_encoder else self.z_lstm
        h = self.encoder(rows, language=language, train=train, lstm=lstm)
        scale = dist.at_least_float32(self.z_scale(h))
        log_scale = jnp.log(nn.softplus(jnp.maximum(scale, SMALL)))
        log_scale = jnp.where(scale < SMALL, scale, log_scale)
        return DiagonalGaussian(dist.at_least_float32(self.z_mean(h)), 2 * log_scale)

    def nll(self, y: Array, z: Array | None, rows: Rows, *, language: str, train: bool) -> Array:
        """- log p(x | y, z) in nats, `[b]`; `y [b, k]` is one-hot or relaxed."""
        v = y @ self.label_table
        latents = v if z is None else jnp.concatenate([v, z], -1)
        words = self.encoder.words(rows["ids"], language=language)
        fields = (rows["ids"], rows["lengths"], words, rows["row"])
        return self.decoder.nll(latents.astype(words.dtype), *fields, train=train)

    # -- the bound -------------------------------------------------------------------------------

    def objective(
        self,
        batch: Batch,
        *,
        language: str,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
    ) -> Groups:
        """Terms per document in nats: {"labelled": ..., "unlabelled": ...} (spec §5).

        labelled:   loss = 1/2 [cross_entropy + g (NLL + c kl_z)]
        unlabelled: loss = 1/2 g [NLL + c (kl_z + kl_y)]
        with g the hyperparameter generation_weight and c kl_weight; p(y) is uniform, and the
        constant log p(y) left out. The supervised classifier's loss is its cross-entropy. In
        evaluation y is the most probable label and z the mean. `batch[group]`: ids `[b, t]`,
        lengths `[b]`, row `[b]`, mask `[b]`, and labels `[b]` of the labelled rows; either group
        may be absent. All documents are read, and decoded, as one batch.
        """
        mode = {"language": language, "train": train}
        if not self.generative:
            rows = batch["labelled"]
            loss = dist.cross_entropy(self.log_q_y(rows, **mode), rows["labels"])
            return {"labelled": {"cross_entropy": loss, "loss": loss}}
        parts = [batch[group] for group in ("labelled", "unlabelled") if group in batch]
        n = len(batch["labelled"]["row"]) if "labelled" in batch else 0
        names = ("ids", "lengths", "row")
        rows = {name: jnp.concatenate([part[name] for part in parts]) for name in names}
        log_q = self.log_q_y(rows, **mode)
        z, terms = self._z(rows, noise, **mode) if self.latent else (None, {})
        labels = batch["labelled"]["labels"] if n else jnp.zeros(0, int)
        terms["reconstruction"] = self._reconstruction(
            rows, jax.nn.one_hot(labels, self.n_classes), log_q, z, hyper, noise, **mode
        )
        groups: Groups = {}
        if n:
            found = {name: values[:n] for name, values in terms.items()}
            found["cross_entropy"] = dist.cross_entropy(log_q[:n], labels)
            bound = hyper["generation_weight"] * _bound(found, hyper)
            groups["labelled"] = {**found, "loss": 0.5 * (found["cross_entropy"] + bound)}
        if "unlabelled" in batch:
            found = {name: values[n:] for name, values in terms.items()}
            if self.divergence:
                found["kl_y"] = self._kl_y(log_q[n:])
            loss = 0.5 * hyper["generation_weight"] * _bound(found, hyper)
            groups["unlabelled"] = {**found, "loss": loss}
        return groups

    def _z(self, rows: Rows, noise: Noise, **mode: Any) -> tuple[Array, dict[str, Array]]:
        """z `[b, z]`, drawn or its mean, and its divergence `[b]` if there is to be one."""
        q = self.q_z(rows, **mode)
        z = q.sample(noise("z", rows["row"], (self.latent,))) if mode["train"] else q.mean
        if not self.divergence:
            return z, {}
        if self.stl and mode["train"]:
            prior = dist.standard_normal_like(q)
            return z, {"kl_z": dist.log_prob(q.detached(), z) - dist.log_prob(prior, z)}
        return z, {"kl_z": dist.kl(q)}

    def _kl_y(self, log_q: Array) -> Array:
        """KL(q(y|x) || uniform) `[b]`."""
        log_p = jnp.full_like(log_q, -jnp.log(self.n_classes))
        if self.clamp_kl_y:
            return jnp.maximum(jnp.exp(log_q) * (log_q - log_p), 0).sum(-1)
        return dist.categorical_kl(log_q, log_p)

    def _reconstruction(
        self,
        rows: Rows,
        known: Array,
        log_q: Array,
        z: Array | None,
        hyper: Mapping[str, Array],
        noise: Noise,
        *,
        language: str,
        train: bool,
    ) -> Array:
        """- log p(x | y, z) `[b]`; `known [n, k]` are the labels of the first n documents."""
        n, k = known.shape
        mode = {"language": language, "train": train}
        if self.labels != "enumerated":
            y = self._draw(log_q[n:], rows["row"][n:], hyper, noise, train)
            return self.nll(jnp.concatenate([known, y]), z, rows, **mode)
        others = len(log_q) - n
        every = jnp.tile(jnp.eye(k), (others, 1))
        of = jnp.concatenate([jnp.arange(n), n + jnp.repeat(jnp.arange(others), k)])
        repeated = {name: x[of] for name, x in rows.items()}
        y = jnp.concatenate([known, every])
        nll = self.nll(y, None if z is None else z[of], repeated, **mode)
        expected = dist.expectation(log_q[n:], nll[n:].reshape(others, k))
        return jnp.concatenate([nll[:n], expected])

    def _draw(
        self, log_q: Array, row: Array, hyper: Mapping[str, Array], noise: Noise, train: bool
    ) -> Array:
        """y `[b, k]` of documents without a label."""
        if not train:
            return jax.nn.one_hot(log_q.argmax(-1), self.n_classes)
        gumbel = noise("y", row, (self.n_classes,), jax.random.gumbel)
        y = dist.gumbel_softmax(log_q, gumbel, hyper["temperature"])
        return dist.straight_through(y) if self.labels == "straight-through" else y

    # -- what is read off a trained model ---------------------------------------------------------

    def predict(self, rows: Rows, *, language: str) -> dict[str, Array]:
        """log q(y | x) `[b, k]`, h that it is read from, and mean and log-variance of z, if any."""
        rows = whole(rows)
        mode = {"language": language, "train": False}
        h = self.encoder(rows, **mode)
        found = {"log_q": self._log_q_y(h), "h": h}
        if self.generative and self.latent:
            q = self.q_z(rows, **mode)
            found |= {"z": q.mean, "z_log_var": q.log_var}
        return found


def _bound(terms: Mapping[str, Array], hyper: Mapping[str, Array]) -> Array:
    """NLL + c (kl_z + kl_y), of the divergences that there are; free bits are of z."""
    divergences = [counted_kl(terms["kl_z"], hyper)] if "kl_z" in terms else []
    divergences += [terms["kl_y"]] if "kl_y" in terms else []
    return terms["reconstruction"] + hyper["kl_weight"] * sum(divergences, jnp.zeros(()))
