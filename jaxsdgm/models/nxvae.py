"""NXVAE: the non-parallel cross-lingual variational autoencoder (EACL 2021, §2.1; spec §4).

One encoder shared by the languages, embeddings and a bag-of-words decoder for each, and a
discriminator that tells the languages apart from h, which the encoder learns to deceive. SNXVAE
is the same with subwords, whose embeddings and decoder all languages share.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxsdgm.distributions import DiagonalGaussian, kl
from jaxsdgm.layers.decoders import BagOfWordsDecoder
from jaxsdgm.layers.encoders import GaussianHead, TextEncoder, vocabulary
from jaxsdgm.layers.linear import MLP
from jaxsdgm.models.adversary import adversarial_terms
from jaxsdgm.models.terms import Batch, Groups, Noise, counted_kl, masked_mean, no_noise, whole


class NXVAE(nn.Module):
    """p(x | z) p(z) with q(z | x) on a shared BiLSTM; `vocab_sizes` names the languages in order.

    Where they share a vocabulary (`layers.encoders.SHARED`), `languages` names them. `adversary` is
    one of `ADVERSARIES`. `sample=False` decodes the mean of q, a deterministic autoencoder.
    """

    vocab_sizes: Mapping[str, int]
    encoder_config: Mapping[str, Any]
    languages: tuple[str, ...] = ()
    latent: int = 300
    discriminator_hidden: int = 1024
    adversary: str = "separate"
    sample: bool = True
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.encoder = TextEncoder(self.vocab_sizes, **self.encoder_config, **types)
        self.posterior = GaussianHead(self.latent, axis_name=self.axis_name, **types)
        self.decoders = {
            name: BagOfWordsDecoder(size, **types) for name, size in self.vocab_sizes.items()
        }
        if self.adversary != "none":
            self.discriminator = MLP((self.discriminator_hidden, 1), **types)

    def initialise(self, rows: Mapping[str, Array]) -> None:
        """Touches every parameter; for `init` only."""
        batch = {"sentences": whole(rows)}
        hyper = {"kl_weight": jnp.ones(()), "kl_target": jnp.zeros(())}
        for language in self.languages or self.vocab_sizes:
            self.objective(batch, language=language, hyper=hyper, noise=no_noise, train=True)

    def encode(
        self, rows: Mapping[str, Array], *, language: str, train: bool
    ) -> tuple[Array, DiagonalGaussian]:
        """h `[b, 2 hidden]` and q(z | x) `[b, z]`."""
        h = self.encoder(rows, language=language, train=train)
        return h, self.posterior(h, rows["mask"], train=train)

    def objective(
        self,
        batch: Batch,
        *,
        language: str,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
    ) -> Groups:
        """Terms per text of one language, in nats: {group: {name: [b]}}.

        loss = NLL(x; z) + a |mean KL(q(z|x) || N(0, I)) - target| (+ discriminator and deceiver),
        with a = hyper["kl_weight"] and a target that is 0 but for the "beta" schedule (spec §4.1).
        Groups are "sentences" and, beside the paper, "documents", whose loss hyper has a weight
        for and whose "targets" are the whole of a document of which ids is a part.
        `batch[group]`: ids `[b, t]`, lengths `[b]`, row `[b]`, mask `[b]` (and targets). In
        evaluation z is the mean of q.
        """
        groups = {}
        for group, rows in batch.items():
            terms = self._terms(rows, language=language, hyper=hyper, noise=noise, train=train)
            weight = hyper["document_weight"] if group == "documents" else 1.0
            groups[group] = {**terms, "loss": weight * terms["loss"]}
        return groups

    def reconstruction(self, z: Array, rows: Mapping[str, Array], language: str) -> Array:
        """- log p(x | z) `[b]`, of the rows' "targets" or else their "ids"."""
        return self.words_nll(z, rows.get("targets", rows["ids"]), language)

    def words_nll(self, z: Array, ids: Array, language: str) -> Array:
        """- log p(ids | z) `[b]` by the decoder of a language."""
        decoder = self.decoders[vocabulary(self.vocab_sizes, language)]
        return decoder.nll(z, ids, self.encoder.table(language))

    def _terms(
        self,
        rows: Mapping[str, Array],
        *,
        language: str,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
    ) -> dict[str, Array]:
        h, q = self.encode(rows, language=language, train=train)
        z = q.sample(noise("z", rows["row"], (self.latent,))) if train and self.sample else q.mean
        terms = {"reconstruction": self.reconstruction(z, rows, language), "kl": kl(q)}
        gap = counted_kl(terms["kl"], hyper) - hyper["kl_target"]
        # |mean| is not a mean of terms: a common sign gives the same value and gradient
        sign = jnp.sign(masked_mean(gap, rows["mask"], self.axis_name))
        terms["loss"] = terms["reconstruction"] + hyper["kl_weight"] * sign * gap
        if self.adversary != "none":
            first = language == next(iter(self.languages or self.vocab_sizes))
            arguments = {"first": first, "kind": self.adversary}
            terms |= adversarial_terms(self.discriminator, h, rows["row"], **arguments)
            terms["loss"] += terms["discriminator"] + terms["deceiver"]
        return terms
