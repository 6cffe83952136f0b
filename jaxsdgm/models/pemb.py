"""PEMB: a variational autoencoder of sentence pairs, for its word embeddings (spec §2.2, §5).

After Wei and Deng (IJCAI 2017): one latent variable explains a sentence and its translation, so
that words which mean the same come to lie close. Not usable on a single sentence; what is taken
from it are the embeddings.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.models.nxvae import NXVAE


class PairVAE(NXVAE):
    """p(x | z) p(x' | z) p(z) with q(z | x, x') on the BiLSTM over x followed by x'.

    NXVAE with sentence pairs in the place of sentences: rows have ids `[b, languages, t]` and
    lengths `[b, languages]`, the reconstruction is the sum over the `languages`, and the argument
    language is not read. There is no adversary, since h is of both languages.
    """

    adversary: str = "none"

    def initialise(self, rows: Mapping[str, Array]) -> None:
        """Touches every parameter; for `init` only. `rows` are single sentences."""
        super().initialise({k: jnp.stack([x] * len(self.languages), 1) for k, x in rows.items()})

    def encode(
        self, rows: Mapping[str, Array], *, language: str, train: bool
    ) -> tuple[Array, DiagonalGaussian]:
        """h `[b, 2 hidden]` and q(z | x, x') `[b, z]`."""
        h = self.encoder.encode_pairs(rows, languages=self.languages, train=train)
        return h, self.posterior(h, rows["mask"], train=train)

    def reconstruction(self, z: Array, rows: Mapping[str, Array], language: str) -> Array:
        """- log p(x | z) - log p(x' | z) `[b]`."""
        sides = (self.words_nll(z, rows["ids"][:, i], c) for i, c in enumerate(self.languages))
        return sum(sides, jnp.zeros(()))
