"""M1+M2 and AUX, semi-supervised deep generative models of documents (EACL 2021, §3; spec §6, §7).

M1+M2: p(y) p(z2) p(z1 | z2, y) p(x | z1) with q(z1 | x) q(y | z1) q(z2 | z1, y).
AUX:   p(y) p(z2) p(z1 | z2, y) p(x | z1, z2, y) with q(z1 | x) q(y | z1, x) q(z2 | z1, x, y).
The encoder and the posterior of z1 come from a pretrained NXVAE and are trained further.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxsdgm import distributions as dist
from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.layers.conditional import CONDITIONING, Joint, JointLatent, LabelledLatent
from jaxsdgm.layers.encoders import GaussianHead
from jaxsdgm.layers.linear import Linear
from jaxsdgm.models.semi import Inferred, SemiSupervised


class M1M2(SemiSupervised):
    """M1+M2 with a bag-of-words or GRU decoder, trained end to end or layer-wise.

    With `decoder` None the model is the layer-wise M1+M2 (spec §6.6). A bag of words whose table is
    not as wide as z1 reads z1 through a linear map.
    """

    conditioning: str = "transadd"

    def setup(self) -> None:
        super().setup()
        label_in_q, label_in_p = CONDITIONING[self.conditioning]
        labelled = {"head": self.head, "axis_name": self.axis_name, **self.types}
        self.z2_posterior = LabelledLatent(self.latent, label_in_q, **labelled)
        self.z1_prior = LabelledLatent(self.latent, label_in_p, **labelled)
        if self.conditioning == "transconcat":
            self.label_embedding = Linear(self.latent, **self.types)
        if self.conditioning == "gmix_transadd":
            self.z2_prior = GaussianHead(self.latent, **self.head_config)
        if self.decoder and self.decoder_width != self.latent:
            self.to_words = Linear(self.table_width, **self.types)

    def class_scores(self, x: Inferred, **mode: Any) -> Array:
        """Logits of q(y | z1) `[b, k]`."""
        return self.classifier(x.z1, x.rows["row"], train=mode["train"])

    def q_z2(self, x: Inferred, y: Array, **mode: Any) -> DiagonalGaussian:
        """q(z2 | z1, y) `[b, z]`."""
        return self.z2_posterior(x.z1, self._label_input(y), x.rows["mask"], **mode)

    def given_label(
        self, x: Inferred, y: Array, noise: Array | None, *, language: str, **mode: Any
    ) -> dict[str, Array]:
        """kl_z2 and kl_z1 (spec §6.2, §6.6); p(z2) = N(0, I) or learned given y.

        Where the encoder is frozen kl_z1 is - log p(z1|z2,y) at the sample of z1.
        """
        mask = x.rows["mask"]
        p2 = self.z2_prior(y, mask, **mode) if self.conditioning == "gmix_transadd" else None
        q2 = self.q_z2(x, y, **mode)
        z2 = q2.mean if noise is None else q2.sample(noise)
        p1 = self.z1_prior(z2, self._label_input(y), mask, **mode)
        kl_z1 = dist.kl(x.q1, p1) if self.decoder else -dist.log_prob(p1, x.z1)
        return {"kl_z1": kl_z1, "kl_z2": dist.kl(q2, p2)}

    def without_label(self, x: Inferred, *, language: str) -> dict[str, Array]:
        """- log p(x | z1)."""
        return self.nll(x.z1, x.rows, language=language) if self.decoder else {}

    def to_table(self, decoded: Array) -> Array:
        """z1, as wide as the word table where a bag of words is decoded."""
        return self.to_words(decoded) if self.decoder_width != self.latent else decoded

    def imagine(self, z2: Array, y: Array) -> Array:
        """The mean of p(z1 | z2, y) `[b, z]` (spec §10)."""
        return self.z1_prior(z2, self._label_input(y), jnp.ones(len(z2)), train=False).mean

    def _label_input(self, y: Array) -> Array:
        return self.label_embedding(y) if self.conditioning == "transconcat" else y


class Auxiliary(SemiSupervised):
    """AUX, the skip deep generative model (spec §7).

    y and z2 are decoded beside z1, so that the expectation over q(y | z1, x) is of the
    reconstruction too. All but p(z1 | z2, y) see h, through layers `hidden` wide.
    """

    hidden: int = 1000

    def setup(self) -> None:
        super().setup()
        joint = {"hidden": self.hidden, "axis_name": self.axis_name, **self.types}
        self.classifier_input = Joint(**joint)
        self.z2_posterior = JointLatent(self.latent, head=self.head, **joint)
        self.z1_prior = JointLatent(self.latent, head=self.head, **joint)
        self.decoder_input = Joint(**joint)
        self.to_decoder = Linear(self.decoder_width, **self.types)

    def class_scores(self, x: Inferred, **mode: Any) -> Array:
        """Logits of q(y | z1, x) `[b, k]`."""
        u = self.classifier_input({"z1": x.z1, "h": x.h}, x.rows["mask"], **mode)
        return self.classifier(u, x.rows["row"], train=mode["train"])

    def q_z2(self, x: Inferred, y: Array, **mode: Any) -> DiagonalGaussian:
        """q(z2 | z1, x, y) `[b, z]`."""
        return self.z2_posterior({"z1": x.z1, "y": y, "h": x.h}, x.rows["mask"], **mode)

    def given_label(
        self, x: Inferred, y: Array, noise: Array | None, *, language: str, **mode: Any
    ) -> dict[str, Array]:
        """kl_z2, kl_z1 and - log p(x | z1, z2, y)."""
        q2 = self.q_z2(x, y, **mode)
        z2 = q2.mean if noise is None else q2.sample(noise)
        p1 = self.z1_prior({"z2": z2, "y": y}, x.rows["mask"], **mode)
        decoded = self._decoded(x.z1, z2, y, x.rows["mask"], **mode)
        terms = self.nll(decoded, x.rows, language=language)
        return {"kl_z1": dist.kl(x.q1, p1), "kl_z2": dist.kl(q2), **terms}

    def without_label(self, x: Inferred, *, language: str) -> dict[str, Array]:
        """Nothing: y is in every term."""
        return {}

    def imagine(self, z2: Array, y: Array) -> Array:
        """What is decoded of z2, y and the mean of p(z1 | z2, y)."""
        mask = jnp.ones(len(z2))
        z1 = self.z1_prior({"z2": z2, "y": y}, mask, train=False).mean
        return self._decoded(z1, z2, y, mask, train=False)

    def _decoded(self, z1: Array, z2: Array, y: Array, mask: Array, **mode: Any) -> Array:
        """What stands for z1 in the decoder, `[rows, decoder_width]`."""
        return self.to_decoder(self.decoder_input({"z2": z2, "z1": z1, "y": y}, mask, **mode))
