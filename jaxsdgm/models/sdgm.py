"""M1+M2, the semi-supervised deep generative model of documents (EACL 2021, §3; spec §6).

Generative model p(y) p(z2) p(z1 | z2, y) p(x | z1); inference q(z1 | x) q(y | z1) q(z2 | z1, y).
The encoder and the posterior of z1 come from a pretrained NXVAE and are trained further.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxsdgm import distributions as dist
from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.layers.conditional import CONDITIONING, LabelledLatent
from jaxsdgm.layers.decoders import DECODERS, FeatureDecoder
from jaxsdgm.layers.dropout import RowDropout
from jaxsdgm.layers.encoders import Embedding, GaussianHead
from jaxsdgm.layers.linear import MLP, Linear
from jaxsdgm.models.terms import Batch, Groups, Noise, masked_mean, no_noise, whole

#: what `objective` reads from its argument hyper
HYPERPARAMETERS = (
    "alpha",
    "kl_weight",
    "reconstruction_weight",
    "feature_weight",
    "labelled_weight",
)
#: of the estimated label proportions: how fast they move, and what a weight is divided by at least
MOMENTUM, SMALLEST_PROPORTION = 0.02, 0.02


class M1M2(nn.Module):
    """M1+M2 with a bag-of-words or GRU decoder, trained end to end or layer-wise.

    `encoder` makes h of the rows that it names in `inputs`: `TextEncoder`, `FrozenFeatures`, ....
    `decoder_sizes` are the vocabularies of the languages that have a decoder; word tables, of
    encoder and decoders alike, exist for the languages that the objective is called with. Rows with
    "targets" have these explained, others their "ids".
    `decoder` is "bow" or "gru"; with None the model is the layer-wise M1+M2 (spec §6.6), whose
    encoder is frozen and whose data are samples of z1.
    p(y) is `label_proportions` (uniform where empty). With `estimate_proportions` the unlabelled
    documents may have others, pi: a document's bound then counts p(x) / p_pi(x) =
    1 / sum_y q(y | x) pi(y) / p(y) times, as if it had been drawn with p(y), and pi follows the
    mean of q_pi(y | x), q(y | x) pi(y) / p(y) normalised (EM of Saerens et al. 2002).
    A bag of words whose table is not as wide as z1 reads z1 through a linear map. `head` are fields
    of all Gaussian heads. `feature_dropout` is on the document vector h. q(y | z1) is linear where
    `classifier_hidden` is 0.
    With `decode_features` z1 explains the vectors of a frozen encoder beside the words:
    p(x | z1) = p(words | z1) N(features; W z1 + b, I).
    `unlabelled_chunk` documents share BatchNorm statistics, 0 for all of them.
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
    conditioning: str = "transadd"
    decoder: str | None = "bow"
    decoder_config: Mapping[str, Any] | None = None
    tied: bool = False
    decode_features: bool = False
    feature_dropout: float = 0.0
    estimate_proportions: bool = False
    label_proportions: tuple[float, ...] = ()
    unlabelled_chunk: int = 0
    mean_label_kl: bool = False
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        label_in_q, label_in_p = CONDITIONING[self.conditioning]
        head = {**(self.head or {}), "axis_name": self.axis_name, **types}
        self.posterior = GaussianHead(self.latent, **head)
        widths = (self.classifier_hidden,) if self.classifier_hidden else ()
        self.classifier = MLP((*widths, self.n_classes), self.classifier_dropout, **types)
        labelled = {"head": self.head, "axis_name": self.axis_name, **types}
        self.z2_posterior = LabelledLatent(self.latent, label_in_q, **labelled)
        self.z1_prior = LabelledLatent(self.latent, label_in_p, **labelled)
        if self.conditioning == "transconcat":
            self.label_embedding = Linear(self.latent, **types)
        if self.conditioning == "gmix_transadd":
            self.z2_prior = GaussianHead(self.latent, **head)
        if self.decoder:
            make, config = DECODERS[self.decoder], dict(self.decoder_config or {})
            sizes = dict(self.decoder_sizes or {})
            self.decoders = {k: make(v, **config, **types) for k, v in sizes.items()}
            if not self.tied:
                width = self.table_width
                self.decoder_tables = {k: Embedding(v, width, **types) for k, v in sizes.items()}
            if self.decoder == "bow" and self.table_width != self.latent:
                self.to_words = Linear(self.table_width, **types)
        if self.decode_features:
            self.feature_decoder = FeatureDecoder(**types)
        self.drop = RowDropout(self.feature_dropout)
        if self.estimate_proportions:
            start = lambda: jnp.exp(self.log_p_y()).astype(self.param_dtype)
            self.proportions = self.variable("batch_stats", "proportions", start)

    @property
    def table_width(self) -> int:
        """Width of the word table that a decoder works with."""
        return self.encoder.embedding or self.latent

    def initialise(self, rows: Mapping[str, Array], *, languages: tuple[str, ...]) -> None:
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
                z = jnp.zeros((n, self.latent if self.decoder == "gru" else self.table_width))
                decoder.nll(z, jnp.zeros((n, 1), int), table)

    # -- densities -------------------------------------------------------------------------------

    def encode(self, rows: Mapping[str, Array], *, language: str, train: bool) -> Array:
        """h `[b, d]`; constant, and without dropout, in the layer-wise model."""
        train = train and self.decoder is not None
        h = self.encoder(rows, language=language, train=train)
        h = self.drop(h, rows["row"], train=train)
        return h if self.decoder else jax.lax.stop_gradient(h)

    def q_z1(self, h: Array, mask: Array, *, train: bool, groups: int = 1) -> DiagonalGaussian:
        """q(z1 | x) `[b, z]`; frozen in the layer-wise model."""
        if self.decoder:
            return self.posterior(h, mask, train=train, groups=groups)
        return self.posterior(h, mask, train=False).detached()

    def log_q_y(self, z1: Array, row: Array, *, train: bool) -> Array:
        """log q(y | z1) `[b, k]`."""
        logits = self.classifier(z1, row, train=train)
        return jax.nn.log_softmax(dist.at_least_float32(logits))

    def log_p_y(self) -> Array:
        """log p(y) `[k]`."""
        uniform = (1 / self.n_classes,) * self.n_classes
        return jnp.log(jnp.asarray(self.label_proportions or uniform, float))

    def nll(self, z1: Array, rows: Mapping[str, Array], *, language: str) -> dict[str, Array]:
        """- log p(x | z1) in nats, `[b]`, in parts.

        reconstruction: of the words, the rows' "targets" or else their "ids";
        feature_reconstruction: of their "features", up to a constant, with `decode_features`.
        """
        x = rows["targets"] if "targets" in rows else rows["ids"]
        words = self.decoders[language].nll(self._decoder_input(z1), x, self.table(language))
        if not self.decode_features:
            return {"reconstruction": words}
        features = self.feature_decoder.nll(z1, rows["features"])
        return {"reconstruction": words, "feature_reconstruction": features}

    def _decoder_input(self, z1: Array) -> Array:
        """z1, as wide as the word table where a bag of words is decoded."""
        to_words = self.decoder == "bow" and self.table_width != self.latent
        return self.to_words(z1) if to_words else z1

    def table(self, language: str) -> Array:
        """The word table `[v, e]` that a language's decoder works with."""
        return self.encoder.table(language) if self.tied else self.decoder_tables[language].table

    # -- the bound -------------------------------------------------------------------------------

    def given_label(
        self,
        q1: DiagonalGaussian,
        z1: Array,
        y: Array,
        mask: Array,
        noise: Array | None,
        *,
        train: bool,
        groups: int = 1,
    ) -> dict[str, Array]:
        """The terms of z1 and z2 for known labels, `[rows]` each (spec §6.2, §6.6).

        kl_z2 = KL(q(z2|z1,y) || p(z2)), with p(z2) = N(0, I) or learned given y;
        kl_z1 = KL(q(z1|x) || p(z1|z2,y)) with one sample of z2, or - log p(z1|z2,y) at the sample
        of z1 where the encoder is frozen. `noise=None`: means instead of samples.
        """
        mode = {"train": train, "groups": groups}
        p2 = self.z2_prior(y, mask, **mode) if self.conditioning == "gmix_transadd" else None
        y = self._label_input(y)
        q2 = self.z2_posterior(z1, y, mask, **mode)
        z2 = q2.mean if noise is None else q2.sample(noise)
        p1 = self.z1_prior(z2, y, mask, **mode)
        kl_z1 = dist.kl(q1, p1) if self.decoder else -dist.log_prob(p1, z1)
        return {"kl_z1": kl_z1, "kl_z2": dist.kl(q2, p2)}

    def over_labels(
        self,
        q1: DiagonalGaussian,
        z1: Array,
        log_q: Array,
        mask: Array,
        noise: Array | None,
        *,
        train: bool,
        groups: int = 1,
    ) -> dict[str, Array]:
        """`given_label` in expectation over q(y | z1), `[b]` each; only z2 and z1's prior repeat.

        Rows are document-major, label-minor (spec §6.3): row = document * k + y.
        """
        b, k = log_q.shape
        y = jnp.tile(jnp.eye(k, dtype=z1.dtype), (b, 1))  # b*k k
        terms = self.given_label(
            q1.repeat(k),
            jnp.repeat(z1, k, axis=0),
            y,
            jnp.repeat(mask, k),
            noise,
            train=train,
            groups=groups,
        )
        return {name: dist.expectation(log_q, x.reshape(b, k)) for name, x in terms.items()}

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

        labelled:   loss = u [w NLL + v (kl_z1 + kl_z2) - log p(y)] + alpha cross_entropy
        unlabelled: loss = w NLL + v (kl_z1 + kl_z2) + KL(q(y|x) || p(y))
        with alpha, v, w, u the hyperparameters alpha, kl_weight, reconstruction_weight and
        labelled_weight (all but alpha are 1 in the paper). With `decode_features` w NLL is that of
        the words, and feature_weight times that of the features is added. The layer-wise model
        has no NLL.
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
                groups[group] = method(h[start:stop], batch[group], **arguments)
                start = stop
        return groups

    def _labelled(
        self,
        h: Array,
        rows: Mapping[str, Array],
        *,
        language: str,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
    ) -> dict[str, Array]:
        q1 = self.q_z1(h, rows["mask"], train=train)
        row, shape = rows["row"], (self.latent,)
        z1 = q1.sample(noise("labelled_z1", row, shape)) if train else q1.mean
        log_q = self.log_q_y(z1, row, train=train)
        y = jax.nn.one_hot(rows["labels"], self.n_classes, dtype=z1.dtype)
        noise_z2 = noise("labelled_z2", row, shape) if train else None
        terms = self.given_label(q1, z1, y, rows["mask"], noise_z2, train=train)
        terms["log_prior_y"] = self.log_p_y()[rows["labels"]]
        terms["cross_entropy"] = -(y * log_q).sum(-1)
        bound = hyper["kl_weight"] * (terms["kl_z1"] + terms["kl_z2"]) - terms["log_prior_y"]
        if self.decoder:
            terms |= self.nll(z1, rows, language=language)
            bound += _weighted_nll(terms, hyper)
        loss = hyper["labelled_weight"] * bound + hyper["alpha"] * terms["cross_entropy"]
        return {**terms, "loss": loss}

    def _unlabelled(
        self,
        h: Array,
        rows: Mapping[str, Array],
        *,
        language: str,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
    ) -> dict[str, Array]:
        b, mask = len(h), rows["mask"]
        chunk = self.unlabelled_chunk if train and self.unlabelled_chunk else b
        groups, missing = -(-b // chunk), -b % chunk
        h = jnp.pad(h, ((0, missing), (0, 0)))
        mask, row = jnp.pad(mask, (0, missing)), jnp.pad(rows["row"], (0, missing))
        q1 = self.q_z1(h, mask, train=train, groups=groups)
        z1 = q1.sample(noise("unlabelled_z1", row, (self.latent,))) if train else q1.mean
        log_q = self.log_q_y(z1, row, train=train)
        noise_z2 = None
        if train:
            noise_z2 = noise("unlabelled_z2", row, (self.n_classes, self.latent))
            noise_z2 = noise_z2.reshape(-1, self.latent)
        terms = self.over_labels(q1, z1, log_q, mask, noise_z2, train=train, groups=groups)
        terms = {name: values[:b] for name, values in terms.items()}
        z1, log_q = z1[:b], log_q[:b]
        terms["kl_y"] = dist.categorical_kl(log_q, self.log_p_y())
        if self.mean_label_kl:
            terms["kl_y"] /= self.n_classes
        bound = hyper["kl_weight"] * (terms["kl_z1"] + terms["kl_z2"])
        if not self.decoder:  # entropy, not a divergence: the terms given y hold - log p(y)
            return {**terms, "loss": bound + dist.categorical_kl(log_q, self.log_p_y())}
        terms |= self.nll(z1, rows, language=language)
        loss = bound + _weighted_nll(terms, hyper) + terms["kl_y"]
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

    def predict(self, rows: Mapping[str, Array], *, language: str) -> dict[str, Array]:
        """log q(y | x) `[b, k]` at the mean of q(z1 | x), with the means of z1 and of z2."""
        rows = whole(rows)
        mask = rows["mask"]
        z1 = self.q_z1(self.encode(rows, language=language, train=False), mask, train=False).mean
        log_q = self.log_q_y(z1, rows["row"], train=False)
        y = self._label_input(jax.nn.one_hot(log_q.argmax(-1), self.n_classes, dtype=z1.dtype))
        z2 = self.z2_posterior(z1, y, mask, train=False).mean
        return {"log_q": log_q, "z1": z1, "z2": z2}

    def imagine(self, z2: Array, y: Array) -> Array:
        """The mean of p(z1 | z2, y) `[b, z]`: what generation decodes (spec §10)."""
        return self.z1_prior(z2, self._label_input(y), jnp.ones(len(z2)), train=False).mean

    def _label_input(self, y: Array) -> Array:
        return self.label_embedding(y) if self.conditioning == "transconcat" else y

    def word_logits(self, z1: Array, *, language: str) -> Array:
        """Unnormalised log-probabilities of the vocabulary `[b, v]` (bag of words)."""
        return self.decoders[language].logits(self._decoder_input(z1), self.table(language))

    def next_word(
        self, z1: Array, token: Array, state: Array | None, *, language: str
    ) -> tuple[Array, Array]:
        """One step of the GRU decoder: logits `[b, v]` and the new state."""
        return self.decoders[language].step(z1, token, state, self.table(language))


def _weighted_nll(terms: Mapping[str, Array], hyper: Mapping[str, Array]) -> Array:
    """The weighted sum of `M1M2.nll`'s parts."""
    total = hyper["reconstruction_weight"] * terms["reconstruction"]
    if "feature_reconstruction" in terms:
        total += hyper["feature_weight"] * terms["feature_reconstruction"]
    return total
