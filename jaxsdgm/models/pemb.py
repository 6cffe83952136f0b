"""PEMB: a variational autoencoder of sentence pairs, for its word embeddings (spec §2.2, §5).

After Wei and Deng (IJCAI 2017): one latent variable explains a sentence and its translation, so
that words which mean the same come to lie close. Not usable on a single sentence; what is taken
from it are the embeddings.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxsdgm.distributions import DiagonalGaussian, kl
from jaxsdgm.layers.decoders import BagOfWordsDecoder
from jaxsdgm.layers.encoders import GaussianHead, TextEncoder, vocabulary
from jaxsdgm.models.terms import Batch, Groups, Noise, no_noise, weighted_kl, whole


class PairVAE(nn.Module):
    """p(x | z) p(x' | z) p(z) with q(z | x, x') on the BiLSTM over x followed by x'.

    Each of the `languages` has embeddings and a bag-of-words decoder tied to them; `vocab_sizes` as
    in `NXVAE`. `sample=False` decodes the mean of q.
    """

    vocab_sizes: Mapping[str, int]
    encoder_config: Mapping[str, Any]
    languages: tuple[str, ...]
    latent: int = 300
    sample: bool = True
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    adversary = "none"  # h is of both languages

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.encoder = TextEncoder(self.vocab_sizes, **self.encoder_config, **types)
        self.posterior = GaussianHead(self.latent, axis_name=self.axis_name, **types)
        self.decoders = {
            name: BagOfWordsDecoder(size, **types) for name, size in self.vocab_sizes.items()
        }

    def initialise(self, rows: Mapping[str, Array]) -> None:
        """Touches every parameter; for `init` only. `rows` are single sentences."""
        pairs = {name: jnp.stack([x] * len(self.languages), 1) for name, x in rows.items()}
        hyper = {"kl_weight": jnp.ones(()), "kl_target": jnp.zeros(())}
        batch = {"sentences": whole(pairs)}
        self.objective(batch, language="", hyper=hyper, noise=no_noise, train=True)

    def encode(
        self, rows: Mapping[str, Array], *, language: str, train: bool
    ) -> tuple[Array, DiagonalGaussian]:
        """h `[b, 2 hidden]` and q(z | x, x') `[b, z]`."""
        h = self.encoder.encode_pairs(rows, languages=self.languages, train=train)
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
        """Terms per pair, in nats: {"sentences": {name: [b]}}; `language` is not read.

        loss = NLL(x; z) + NLL(x'; z) + a |mean KL(q(z|x,x') || N(0, I)) - target|, as NXVAE's with
        a sum over the languages. `batch["sentences"]`: ids `[b, languages, t]`, lengths
        `[b, languages]`, row `[b]`, mask `[b]`. In evaluation z is the mean of q.
        """
        rows = batch["sentences"]
        _, q = self.encode(rows, language=language, train=train)
        z = q.sample(noise("z", rows["row"], (self.latent,))) if train and self.sample else q.mean
        parts = [self._nll(z, rows["ids"][:, i], name) for i, name in enumerate(self.languages)]
        terms = {"reconstruction": sum(parts, jnp.zeros(())), "kl": kl(q)}
        weighted = weighted_kl(terms["kl"], rows["mask"], hyper, self.axis_name)
        return {"sentences": {**terms, "loss": terms["reconstruction"] + weighted}}

    def _nll(self, z: Array, ids: Array, language: str) -> Array:
        decoder = self.decoders[vocabulary(self.vocab_sizes, language)]
        return decoder.nll(z, ids, self.encoder.table(language))
