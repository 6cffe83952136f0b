"""A learning rate that falls where dev stands still, each time from the best parameters again."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxsdgm.training.state import Best, TrainState

#: what the rule remembers, among a state's hyperparameters, and what it starts from
REFERENCE, FAILURES, DECAYS = "plateau_reference", "plateau_failures", "plateau_decays"
START = {REFERENCE: float("inf"), FAILURES: 0.0, DECAYS: 0.0}


@dataclass(frozen=True)
class Plateau:
    """The rule of the text VAEs' code (spec of paper 4, §4), for scores that are to be small.

    A score above the reference is a failure, any other is the new reference. After `patience`
    failures in a row, but not before evaluation number `first` (from 0), the rate is multiplied by
    `factor`, the best parameters come back with a new optimiser, and the score at hand is the
    reference. A run ends with decay number `decays`.
    """

    patience: int = 5
    first: int = 15
    factor: float = 0.5
    decays: int = 5

    def between(self, states: TrainState, bests: Best, scores: Array, number: Array) -> TrainState:
        """Side-by-side states `[T, ...]` after evaluation `number [T]` with these scores `[T]`."""
        hyper = states.hyper
        failed = scores > hyper[REFERENCE]
        failures = jnp.where(failed, hyper[FAILURES] + 1, 0)
        decay = (failures >= self.patience) & (number >= self.first)
        rate = hyper["learning_rate"]
        new = {
            "learning_rate": jnp.where(decay, rate * self.factor, rate),
            REFERENCE: jnp.where(failed & ~decay, hyper[REFERENCE], scores),
            FAILURES: jnp.where(decay, 0.0, failures),
            DECAYS: hyper[DECAYS] + decay,
        }

        def pick(there: Any, here: Any) -> Any:
            wide = lambda x: decay.reshape(-1, *(1,) * (x.ndim - 1))
            return jax.tree.map(lambda a, b: jnp.where(wide(b), a, b), there, here)

        return dataclasses.replace(
            states,
            params=pick(bests.params, states.params),
            batch_stats=pick(bests.batch_stats, states.batch_stats),
            opt_state=pick(jax.tree.map(jnp.zeros_like, states.opt_state), states.opt_state),
            hyper={**hyper, **new},
        )

    def ended(self, states: TrainState) -> Array:
        """Which runs have had all their decays `[T]`."""
        return states.hyper[DECAYS] >= self.decays
