"""The supervised baselines: a classifier on h or on a sample of z1 (spec §5)."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxsdgm import distributions as dist
from jaxsdgm.layers.dropout import RowDropout
from jaxsdgm.layers.encoders import GaussianHead, TextEncoder
from jaxsdgm.layers.linear import MLP
from jaxsdgm.models.terms import Batch, Groups, Noise, no_noise, whole


class Classifier(nn.Module):
    """Cross-entropy and nothing else, on z1 or on h (`features`).

    On an NXVAE's encoder these are the paper's NXVAE-z1 and NXVAE-h, on a transformer SUP-h is the
    second with a linear classifier (`classifier_hidden` 0).
    """

    encoder: Any
    n_classes: int
    features: str = "z1"
    latent: int = 300
    head: Mapping[str, Any] | None = None
    feature_dropout: float = 0.0
    classifier_hidden: int = 1024
    classifier_dropout: float = 0.0
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        head = {**(self.head or {}), "axis_name": self.axis_name, **types}
        self.posterior = GaussianHead(self.latent, **head)
        self.drop = RowDropout(self.feature_dropout)
        widths = (self.classifier_hidden,) if self.classifier_hidden else ()
        self.classifier = MLP((*widths, self.n_classes), self.classifier_dropout, **types)

    def initialise(self, rows: Mapping[str, Array], *, languages: tuple[str, ...]) -> None:
        """Touches every parameter, the posterior that NXVAE-h takes over unused too. For `init`."""
        rows = whole(rows)
        for language in languages:
            features = self.features_of(rows, language=language, noise=no_noise, train=True)
            self.classifier(features, rows["row"], train=True)
            if self.features == "h" and isinstance(self.encoder, TextEncoder):
                self.posterior(features, rows["mask"], train=True)

    def objective(
        self,
        batch: Batch,
        *,
        language: str,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
    ) -> Groups:
        """{"labelled": {"cross_entropy": [b], "loss": [b]}} in nats."""
        rows = batch["labelled"]
        features = self.features_of(rows, language=language, noise=noise, train=train)
        logits = self.classifier(features, rows["row"], train=train)
        loss = dist.cross_entropy(logits, rows["labels"])
        return {"labelled": {"cross_entropy": loss, "loss": loss}}

    def predict(self, rows: Mapping[str, Array], *, language: str) -> dict[str, Array]:
        """log q(y | x) `[b, k]` and the features it was read from."""
        rows = whole(rows)
        features = self.features_of(rows, language=language, noise=no_noise, train=False)
        logits = self.classifier(features, rows["row"], train=False)
        return {"log_q": jax.nn.log_softmax(dist.at_least_float32(logits)), "z1": features}

    def features_of(
        self, rows: Mapping[str, Array], *, language: str, noise: Noise, train: bool
    ) -> Array:
        """What the classifier reads, `[b, d]`: h, or a sample (in evaluation the mean) of z1."""
        h = self.encoder(rows, language=language, train=train)
        h = self.drop(h, rows["row"], train=train)
        if self.features == "h":
            return h
        q = self.posterior(h, rows["mask"], train=train)
        return q.sample(noise("labelled_z1", rows["row"], (self.latent,))) if train else q.mean
