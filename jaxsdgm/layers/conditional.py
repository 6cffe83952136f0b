"""Gaussians given a latent and a label: the parts of M1+M2 and AUX that y enters."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.layers.encoders import GaussianHead
from jaxsdgm.layers.linear import Linear, leaky_relu
from jaxsdgm.layers.normalization import MaskedBatchNorm

#: conditioning -> how y enters q(z2 | z1, y) and p(z1 | z2, y) (spec §6.1). "transadd" is what the
#: paper's parameter counts say; "transconcat" embeds y first; with "gmix_transadd" y enters through
#: a learned p(z2 | y) instead of p(z1 | z2).
CONDITIONING = {
    "transadd": ("add", "add"),
    "concat": ("concat", "concat"),
    "transconcat": ("concat", "concat"),
    "gmix_transadd": ("add", "alone"),
}


class LabelledLatent(nn.Module):
    """A Gaussian head on a latent and a label: q(z2 | z1, y) or p(z1 | z2, y) (spec §6.1).

    `label` is "add": LeakyReLU(BatchNorm(z + Linear(y))); "concat": [z; y]; "alone": z.
    """

    features: int
    label: str = "add"
    head: Mapping[str, Any] | None = None
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, z: Array, y: Array, mask: Array, *, train: bool, groups: int = 1
    ) -> DiagonalGaussian:
        """`z [rows, z]`, label `y [rows, k]`, `mask [rows]` to a Gaussian `[rows, features]`."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = z
        if self.label == "add":
            norm = MaskedBatchNorm(self.axis_name, **types, name="norm")
            x = z + Linear(z.shape[-1], **types, name="label_shift")(y)
            x = leaky_relu(norm(x, mask, train=train, groups=groups))
        elif self.label == "concat":
            x = jnp.concatenate([z, y], -1)
        config = {**(self.head or {}), "axis_name": self.axis_name, **types}
        head = GaussianHead(self.features, **config, name="head")
        return head(x, mask, train=train, groups=groups)


class Joint(nn.Module):
    """LeakyReLU(BatchNorm(sum of a linear map of each input)): the layers of AUX (spec §7)."""

    hidden: int
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, inputs: Mapping[str, Array], mask: Array, *, train: bool, groups: int = 1
    ) -> Array:
        """Inputs {name: `[rows, d]`}, `mask [rows]` to `[rows, hidden]`."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = lambda name: Linear(self.hidden, **types, name=f"from_{name}")
        first, *others = (layer(name)(x) for name, x in inputs.items())
        total = sum(others, first)
        norm = MaskedBatchNorm(self.axis_name, **types, name="norm")
        return leaky_relu(norm(total, mask, train=train, groups=groups))


class JointLatent(nn.Module):
    """A Gaussian head on a `Joint`: q(z2 | z1, x, y) or p(z1 | z2, y) of AUX (spec §7)."""

    features: int
    hidden: int
    head: Mapping[str, Any] | None = None
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, inputs: Mapping[str, Array], mask: Array, *, train: bool, groups: int = 1
    ) -> DiagonalGaussian:
        """Inputs {name: `[rows, d]`}, `mask [rows]` to a Gaussian `[rows, features]`."""
        types = {
            "axis_name": self.axis_name,
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
        }
        mode = {"train": train, "groups": groups}
        x = Joint(self.hidden, **types, name="joint")(inputs, mask, **mode)
        config = {**(self.head or {}), **types}
        return GaussianHead(self.features, **config, name="head")(x, mask, **mode)
