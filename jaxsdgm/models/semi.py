"""What M1+M2 and AUX share: the bound of a document with and without a label (spec §6.2-6.4, §7).

Both have latents z1 and z2 beside the label y: p(y) p(z2) p(z1 | z2, y) p(x | ..) and
q(z1 | x) q(y | ..) q(z2 | ..). What stands for the dots is the model's own (models/sdgm.py).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxsdgm import distributions as dist
from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.layers.decoders import DECODERS, FeatureDecoder
from jaxsdgm.layers.dropout import RowDropout
from jaxsdgm.layers.encoders import Embedding, GaussianHead, vocabulary
from jaxsdgm.layers.linear import MLP
from jaxsdgm.models.adversary import adversarial_terms
from jaxsdgm.models.terms import (
    Batch,
    Groups,
    Noise,
    counted_kl,
    masked_mean,
    no_noise,
    whole,
)

#: what `objective` reads from its argument hyper
HYPERPARAMETERS = (
    "alpha",
    "kl_weight",
    "reconstruction_weight",
    "feature_weight",
    "labelled_weight",
    "unlabelled_weight",
)
#: of the estimated label proportions: how fast they move, and what a weight is divided by at least
MOMENTUM, SMALLEST_PROPORTION = 0.02, 0.02

#: the parts that a pretrained NXVAE gives
TRANSFERRED = ("encoder", "posterior")

Rows = Mapping[str, Array]


class Inferred(NamedTuple):
    """Documents, and what is inferred of them before their label."""

    rows: Rows  # {name: [b, ...]}, mask and row numbers among them
    h: Array  # [b, d]
    q1: DiagonalGaussian  # q(z1 | x) [b, z]
    z1: Array  # a sample or the mean of it

    def repeat(self, k: int) -> "Inferred":
        """Every document k times: row = document * k + repetition."""
        times = lambda x: jnp.repeat(x, k, axis=0)
        rows = {name: times(x) for name, x in self.rows.items()}
        return Inferred(rows, times(self.h), self.q1.repeat(k), times(self.z1))


class SemiSupervised(nn.Module):
    """The objective of a semi-supervised model, from the densities that its subclass defines.

    `encoder` makes h of the rows that it names in `inputs`: `TextEncoder`, `FrozenFeatures`, ....
    `decoder_sizes` are the vocabularies of the languages that have a decoder; word tables, of
    encoder and decoders alike, exist for the languages that the objective is called with (one for
    all of them with the vocabulary `SHARED`). Rows with "targets" have these explained, others
    their "ids".
    `decoder` is "bow" or "gru"; with None the encoder is frozen and the data are samples of z1.
    p(y) is `label_proportions` (uniform where empty). With `estimate_proportions` the unlabelled
    documents may have others, pi: a document's bound then counts p(x) / p_pi(x) =
    1 / sum_y q(y | x) pi(y) / p(y) times, as if it had been drawn with p(y), and pi follows the
    mean of q_pi(y | x), q(y | x) pi(y) / p(y) normalised (EM of Saerens et al. 2002).
    `head` are fields of all Gaussian heads. `feature_dropout` is on the document vector h. The
    classifier is linear in what it reads where `classifier_hidden` is 0.
    With `decode_features` what is decoded explains the vectors of a frozen encoder beside the
    words: p(x | z) = p(words | z) N(features; W z + b, I).
    `unlabelled_chunk` documents share BatchNorm statistics, 0 for all of them.
    `adversary`, one of `ADVERSARIES`, tells the language of h; the first of the encoder's is 1.
    `mean_label_kl` divides KL(q(y|x) || p(y)) by the number of classes, as the paper's code did;
    only to compare with it.
    """

    encoder: Any
    n_classes: int
    decoder_sizes: Mapping[str, int] | None = None
    latent: int = 300
    head: Mapping[str, Any] | None = None
    classifier_hidden: int = 1024
    classifier_dropout: float = 0.0
    decoder: str | None = "bow"
    decoder_config: Mapping[str, Any] | None = None
    tied: bool = False
    decode_features: bool = False
    feature_dropout: float = 0.0
    estimate_proportions: bool = False
    label_proportions: tuple[float, ...] = ()
    unlabelled_chunk: int = 0
    adversary: str = "none"
    discriminator_hidden: int = 1024
    mean_label_kl: bool = False
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        types = self.types
        self.posterior = GaussianHead(self.latent, **self.head_config)
        widths = (self.classifier_hidden,) if self.classifier_hidden else ()
        self.classifier = MLP((*widths, self.n_classes), self.classifier_dropout, **types)
        if self.decoder:
            make, config = DECODERS[self.decoder], dict(self.decoder_config or {})
            sizes = dict(self.decoder_sizes or {})
            self.decoders = {k: make(v, **config, **types) for k, v in sizes.items()}
            if not self.tied:
                width = self.table_width
                self.decoder_tables = {k: Embedding(v, width, **types) for k, v in sizes.items()}
        if self.decode_features:
            self.feature_decoder = FeatureDecoder(**types)
        self.drop = RowDropout(self.feature_dropout)
        if self.adversary != "none":
            self.discriminator = MLP((self.discriminator_hidden, 1), **types)
        if self.estimate_proportions:
            start = lambda: jnp.exp(self.log_p_y()).astype(self.param_dtype)
            self.proportions = self.variable("batch_stats", "proportions", start)

    @property
    def types(self) -> dict[str, Any]:
        """The dtypes of every part."""
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    @property
    def head_config(self) -> dict[str, Any]:
        """The fields of a Gaussian head."""
        return {**(self.head or {}), "axis_name": self.axis_name, **self.types}

    @property
    def table_width(self) -> int:
        """Width of the word table that a decoder works with."""
        return self.encoder.embedding or self.latent

    @property
    def decoder_width(self) -> int:
        """Width of the vector that a decoder reads."""
        return self.latent if self.decoder == "gru" else self.table_width

    def initialise(self, rows: Rows, *, languages: tuple[str, ...]) -> None:
        """Touches every parameter; embeddings for `languages` only. For `init`."""
        rows = whole(rows)
        n = len(rows["row"])
        batch = {"labelled": {**rows, "labels": jnp.zeros(n, int)}, "unlabelled": rows}
        hyper: dict[str, Array] = {name: jnp.ones(()) for name in HYPERPARAMETERS}
        for language in languages:
            self.objective(batch, language=language, hyper=hyper, noise=no_noise, train=True)
        if self.decoder:  # of other languages too, but not their tables
            for decoder in self.decoders.values():
                table = jnp.zeros((decoder.vocab_size, self.table_width))
                decoder.nll(jnp.zeros((n, self.decoder_width)), jnp.zeros((n, 1), int), table)

    # -- densities of a model --------------------------------------------------------------------

    # `mode` is `train`, and `groups`: as many equal parts of the rows have statistics of their own

    def class_scores(self, x: Inferred, **mode: Any) -> Array:
        """Logits of q(y | ..) `[b, k]`."""
        raise NotImplementedError

    def q_z2(self, x: Inferred, y: Array, **mode: Any) -> DiagonalGaussian:
        """q(z2 | ..) `[b, z]` for known labels `y [b, k]`."""
        raise NotImplementedError

    def given_label(
        self, x: Inferred, y: Array, noise: Array | None, *, language: str, **mode: Any
    ) -> dict[str, Array]:
        """The terms that y is in, `[b]` each, for known labels `y [b, k]`.

        kl_z2 = KL(q(z2|..) || p(z2)), kl_z1 = KL(q(z1|x) || p(z1|z2,y)) with one sample of z2, and
        `nll`'s where the label is decoded. `noise=None`: means instead of samples.
        """
        raise NotImplementedError

    def without_label(self, x: Inferred, *, language: str) -> dict[str, Array]:
        """The terms that y is not in, `[b]` each."""
        raise NotImplementedError

    def imagine(self, z2: Array, y: Array) -> Array:
        """What generation decodes, `[b, decoder_width]`, with z1 the mean of p(z1 | z2, y)."""
        raise NotImplementedError

    # -- densities of both -----------------------------------------------------------------------

    def encode(self, rows: Rows, *, language: str, train: bool) -> Array:
        """h `[b, d]`; constant, and without dropout, where there is no decoder."""
        train = train and self.decoder is not None
        h = self.encoder(rows, language=language, train=train)
        h = self.drop(h, rows["row"], train=train)
        return h if self.decoder else jax.lax.stop_gradient(h)

    def q_z1(self, h: Array, mask: Array, *, train: bool, groups: int = 1) -> DiagonalGaussian:
        """q(z1 | x) `[b, z]`; frozen where there is no decoder."""
        if self.decoder:
            return self.posterior(h, mask, train=train, groups=groups)
        return self.posterior(h, mask, train=False).detached()

    def infer(
        self, h: Array, rows: Rows, noise: Noise, name: str, *, train: bool, groups: int = 1
    ) -> Inferred:
        """z1 of documents: a sample with the noise of that name, in evaluation the mean."""
        q1 = self.q_z1(h, rows["mask"], train=train, groups=groups)
        z1 = q1.sample(noise(name, rows["row"], (self.latent,))) if train else q1.mean
        return Inferred(rows, h, q1, z1)

    def log_q_y(self, x: Inferred, **mode: Any) -> Array:
        """log q(y | ..) `[b, k]`."""
        return jax.nn.log_softmax(dist.at_least_float32(self.class_scores(x, **mode)))

    def log_p_y(self) -> Array:
        """log p(y) `[k]`."""
        uniform = (1 / self.n_classes,) * self.n_classes
        return jnp.log(jnp.asarray(self.label_proportions or uniform, float))

    def nll(self, decoded: Array, rows: Rows, *, language: str) -> dict[str, Array]:
        """- log p(x | ..) in nats of a vector that is decoded, `[b]`, in parts.

        reconstruction: of the words, the rows' "targets" or else their "ids";
        feature_reconstruction: of their "features", up to a constant, with `decode_features`.
        """
        x = rows["targets"] if "targets" in rows else rows["ids"]
        words = self.word_decoder(language).nll(self.to_table(decoded), x, self.table(language))
        if not self.decode_features:
            return {"reconstruction": words}
        features = self.feature_decoder.nll(decoded, rows["features"])
        return {"reconstruction": words, "feature_reconstruction": features}

    def to_table(self, decoded: Array) -> Array:
        """The decoded vector, as wide as the decoder reads it."""
        return decoded

    def table(self, language: str) -> Array:
        """The word table `[v, e]` that a language's decoder works with."""
        if self.tied:
            return self.encoder.table(language)
        return self.decoder_tables[vocabulary(self.decoder_sizes or {}, language)].table

    def word_decoder(self, language: str) -> Any:
        """The decoder of a language's words."""
        return self.decoders[vocabulary(self.decoder_sizes or {}, language)]

    # -- the bound -------------------------------------------------------------------------------

    def over_labels(
        self, x: Inferred, log_q: Array, noise: Array | None, **arguments: Any
    ) -> dict[str, Array]:
        """`given_label` in expectation over q(y | ..), `[b]` each.

        Rows are document-major, label-minor (spec §6.3). Only what y enters is computed for each
        label; the encoder is not.
        """
        b, k = log_q.shape
        y = jnp.tile(jnp.eye(k, dtype=x.z1.dtype), (b, 1))  # b*k k
        terms = self.given_label(x.repeat(k), y, noise, **arguments)
        return {
            name: dist.expectation(log_q, values.reshape(b, k)) for name, values in terms.items()
        }

    def objective(
        self,
        batch: Batch,
        *,
        language: str,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
    ) -> Groups:
        """Terms per document in nats: {"labelled": ..., "unlabelled": ...} (spec §6.2-6.4).

        labelled:   loss = l [w NLL + v (kl_z1 + kl_z2) - log p(y)] + alpha cross_entropy
        unlabelled: loss = u [w NLL + v (kl_z1 + kl_z2) + KL(q(y|x) || p(y))]
        with alpha, v, w, l, u the hyperparameters alpha, kl_weight, reconstruction_weight,
        labelled_weight and unlabelled_weight (all but alpha are 1 in the paper). With
        `decode_features` w NLL is that of the words, and feature_weight times that of the features
        is added. With hyper["free_bits"] = f, kl_z1 and kl_z2 count as f where they are less. There
        is no NLL without a decoder. With an `adversary` the terms discriminator and deceiver are
        added to each loss.
        `batch[group]`: the encoder's inputs (ids `[b, t]` and lengths `[b]`, or features `[b, d]`),
        row `[b]`, mask `[b]`, perhaps targets `[b, t']`, and labels `[b]` of the labelled rows.
        Either group may be absent. All documents pass the encoder as one batch; each group has
        BatchNorm statistics of its own.
        """
        parts = [batch[group] for group in ("labelled", "unlabelled") if group in batch]
        names = (*self.encoder.inputs, "row")
        together = {name: jnp.concatenate([rows[name] for rows in parts]) for name in names}
        h = self.encode(together, language=language, train=train)
        arguments = {"language": language, "hyper": hyper, "noise": noise, "train": train}
        groups, start = {}, 0
        for group, method in (("labelled", self._labelled), ("unlabelled", self._unlabelled)):
            if group in batch:
                stop = start + len(batch[group]["row"])
                terms = method(h[start:stop], batch[group], **arguments)
                groups[group] = self._deceived(terms, h[start:stop], batch[group], language)
                start = stop
        return groups

    def _deceived(
        self, terms: dict[str, Array], h: Array, rows: Rows, language: str
    ) -> dict[str, Array]:
        """The terms with those of the adversary, if there is one."""
        if self.adversary == "none":
            return terms
        first = language == next(iter(self.encoder.vocab_sizes))
        arguments = {"first": first, "kind": self.adversary}
        more = adversarial_terms(self.discriminator, h, rows["row"], **arguments)
        return {**terms, **more, "loss": terms["loss"] + more["discriminator"] + more["deceiver"]}

    def _labelled(
        self,
        h: Array,
        rows: Rows,
        *,
        language: str,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
    ) -> dict[str, Array]:
        x = self.infer(h, rows, noise, "labelled_z1", train=train)
        log_q = self.log_q_y(x, train=train)
        y = jax.nn.one_hot(rows["labels"], self.n_classes, dtype=x.z1.dtype)
        noise_z2 = noise("labelled_z2", rows["row"], (self.latent,)) if train else None
        terms = self.given_label(x, y, noise_z2, language=language, train=train)
        terms |= self.without_label(x, language=language)
        terms["log_prior_y"] = self.log_p_y()[rows["labels"]]
        terms["cross_entropy"] = -(y * log_q).sum(-1)
        bound = _bound(terms, hyper) - terms["log_prior_y"]
        loss = hyper["labelled_weight"] * bound + hyper["alpha"] * terms["cross_entropy"]
        return {**terms, "loss": loss}

    def _unlabelled(
        self,
        h: Array,
        rows: Rows,
        *,
        language: str,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
    ) -> dict[str, Array]:
        b = len(h)
        chunk = self.unlabelled_chunk if train and self.unlabelled_chunk else b
        groups, missing = -(-b // chunk), -b % chunk
        fill = lambda x: jnp.pad(x, ((0, missing), *((0, 0),) * (x.ndim - 1)))
        h, filled = fill(h), {name: fill(x) for name, x in rows.items()}
        mode = {"train": train, "groups": groups}
        x = self.infer(h, filled, noise, "unlabelled_z1", **mode)
        log_q = self.log_q_y(x, **mode)
        noise_z2 = None
        if train:
            noise_z2 = noise("unlabelled_z2", filled["row"], (self.n_classes, self.latent))
            noise_z2 = noise_z2.reshape(-1, self.latent)
        terms = self.over_labels(x, log_q, noise_z2, language=language, **mode)
        terms |= self.without_label(x, language=language)
        terms = {name: values[:b] for name, values in terms.items()}
        log_q = log_q[:b]
        terms["kl_y"] = dist.categorical_kl(log_q, self.log_p_y())
        if self.mean_label_kl:
            terms["kl_y"] /= self.n_classes
        weight = hyper["unlabelled_weight"]
        if not self.decoder:  # entropy, not a divergence: the terms given y hold - log p(y)
            loss = _bound(terms, hyper) + dist.categorical_kl(log_q, self.log_p_y())
            return {**terms, "loss": weight * loss}
        loss = weight * (_bound(terms, hyper) + terms["kl_y"])
        if train and self.estimate_proportions:
            loss *= self._weigh_and_update_proportions(log_q, rows["mask"])
        return {**terms, "loss": loss}

    def _weigh_and_update_proportions(self, log_q: Array, mask: Array) -> Array:
        """p(x) / p_pi(x), `[b]`, a constant whose mean is 1 once pi is right; then moves pi."""
        log_q, old = jax.lax.stop_gradient(log_q), self.proportions.value
        ratio = jnp.log(jnp.maximum(old, SMALLEST_PROPORTION)) - self.log_p_y()
        log_evidence = jax.nn.logsumexp(log_q + ratio, axis=-1)  # b
        if not self.is_initializing():
            q = jnp.exp(log_q + ratio - log_evidence[:, None])  # b k, given pi
            mean = jax.vmap(lambda x: masked_mean(x, mask, self.axis_name), 1)(q)
            self.proportions.value = (1 - MOMENTUM) * old + MOMENTUM * mean.astype(old.dtype)
        return jnp.exp(-log_evidence)

    # -- what is read off a trained model ---------------------------------------------------------

    def predict(self, rows: Rows, *, language: str) -> dict[str, Array]:
        """log q(y | x) `[b, k]` at the mean of q(z1 | x); means and log-variances of z1 and z2."""
        rows = whole(rows)
        h = self.encode(rows, language=language, train=False)
        x = self.infer(h, rows, no_noise, "", train=False)
        log_q = self.log_q_y(x, train=False)
        y = jax.nn.one_hot(log_q.argmax(-1), self.n_classes, dtype=x.z1.dtype)
        found = {"log_q": log_q}
        for name, q in (("z1", x.q1), ("z2", self.q_z2(x, y, train=False))):
            found |= {name: q.mean, f"{name}_log_var": q.log_var}
        return found

    def word_logits(self, decoded: Array, *, language: str) -> Array:
        """Unnormalised log-probabilities of the vocabulary `[b, v]` (bag of words)."""
        return self.word_decoder(language).logits(self.to_table(decoded), self.table(language))

    def next_word(
        self, decoded: Array, token: Array, state: Array | None, *, language: str
    ) -> tuple[Array, Array]:
        """One step of the GRU decoder: logits `[b, v]` and the new state."""
        return self.word_decoder(language).step(decoded, token, state, self.table(language))


def fixed(model: nn.Module) -> tuple[str, ...]:
    """The parts of a model that are not trained: what was pretrained, in the layer-wise model."""
    layer_wise = isinstance(model, SemiSupervised) and model.decoder is None
    return TRANSFERRED if layer_wise else ()


def _bound(terms: Mapping[str, Array], hyper: Mapping[str, Array]) -> Array:
    """The weighted sum of the terms that a document with and one without a label have."""
    divergences = counted_kl(terms["kl_z1"], hyper) + counted_kl(terms["kl_z2"], hyper)
    total = hyper["kl_weight"] * divergences
    if "reconstruction" in terms:
        total += hyper["reconstruction_weight"] * terms["reconstruction"]
    if "feature_reconstruction" in terms:
        total += hyper["feature_weight"] * terms["feature_reconstruction"]
    return total
