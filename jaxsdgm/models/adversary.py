"""A discriminator that tells languages apart from h, which the encoder deceives (spec §4.2)."""

from typing import Any

import jax
from jax import Array

from jaxsdgm.distributions import binary_cross_entropy
from jaxsdgm.layers.linear import MLP

#: "separate": the discriminator minimises its own loss on a constant h, and the encoder is trained
#: against a constant discriminator, as the paper describes. "reference": both losses into all
#: parameters, what the paper's code did; only to compare with it.
ADVERSARIES = ("none", "separate", "reference")


def adversarial_terms(
    discriminator: MLP, h: Array, row: Array, *, first: bool, kind: str
) -> dict[str, Array]:
    """BCE of the discriminator, whose target is 1 for the first language, and its opposite.

    `h [b, d]` of documents of one language, row numbers `[b]`; terms `[b]`, of which both belong to
    the loss. `discriminator` is bound and ends in one logit.
    """
    if kind == "reference":
        logits = frozen = discriminator(h, row, train=False)[..., 0]
    else:
        logits = discriminator(jax.lax.stop_gradient(h), row, train=False)[..., 0]
        frozen = _constant(discriminator, h, row)
    target = float(first)
    return {
        "discriminator": binary_cross_entropy(logits, target),
        "deceiver": binary_cross_entropy(frozen, 1 - target),
    }


def _constant(discriminator: MLP, h: Array, row: Array) -> Array:
    """The discriminator's logits `[b]` with its parameters held constant."""
    variables = jax.lax.stop_gradient(discriminator.variables)
    logits: Any = discriminator.clone(parent=None).apply(variables, h, row, train=False)
    return logits[..., 0]
