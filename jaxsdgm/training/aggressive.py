"""Training that brings the encoder up to the decoder before every step of it (He et al. 2019)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxsdgm.data.batches import EqualLengthPlan
from jaxsdgm.training.state import TrainState
from jaxsdgm.training.step import Objective, gather

#: among a state's hyperparameters: whether it still trains so, and what z told at the last look
AGGRESSIVE, PREVIOUS = "aggressive", "aggressive_information"
#: steps of the encoder before the losses of two blocks are compared, and at most
BLOCK, MOST = 15, 99


def lagging(states: TrainState, information: Array) -> TrainState:
    """States `[T, ...]` after an epoch in which z told so much, in nats `[T]`, of dev sentences.

    Once it tells less than the epoch before, encoder and decoder step together for good.
    """
    hyper = states.hyper
    still = hyper[AGGRESSIVE] * (information >= hyper[PREVIOUS])
    return dataclasses.replace(
        states, hyper={**hyper, AGGRESSIVE: still, PREVIOUS: information.astype(still.dtype)}
    )


def make_aggressive_run(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    schedule: Callable[[dict[str, Array], Array], dict[str, Array]],
    plan: EqualLengthPlan,
    *,
    axis_name: str | None = None,
) -> Callable[..., tuple[TrainState, dict[str, dict[str, Array]]]]:
    """As `make_run`, for a model whose parameters are "encoder" and "decoder", of one phase.

    While hyper[AGGRESSIVE] is set, a step is: the encoder alone on its batch, then on batches of
    the plan drawn at random, until the loss per word of BLOCK of these is above that of the BLOCK
    before, MOST times at most; then the decoder alone on the step's batch. After that both
    together. Gradients are clipped over all parameters in either case. The optimiser has no state.
    """

    def run(state: TrainState, data: Any, steps: Any) -> tuple[TrainState, dict[str, Any]]:
        ((phase, groups),) = steps.items()
        documents, every = data[phase][plan.group], jax.tree.map(jnp.asarray, plan.everything)

        def loss_of(params: Any, batch: Any, hyper: Any, key: Array) -> tuple[Array, Any]:
            rest = {"phase": phase, "hyper": hyper, "key": key}
            means, _ = objective(params, {}, {plan.group: batch}, **rest)
            return means[plan.group]["loss"], means[plan.group]

        def body(state: TrainState, picked: Any) -> tuple[TrainState, dict[str, Array]]:
            key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
            hyper = schedule(state.hyper, state.step)
            step = _Step(loss_of, optimizer, axis_name, documents, every, picked, hyper, key)
            still = state.hyper[AGGRESSIVE] > 0
            found = jax.lax.cond(still, step.aggressively, step.together, state.params)
            params, loss, terms, norm, count = found
            metrics = {f"{plan.group}/{name}": x for name, x in terms.items()}
            metrics |= {"loss": loss, "gradient_norm": norm, "encoder_steps": count}
            return dataclasses.replace(state, step=state.step + 1, params=params), metrics

        state, metrics = jax.lax.scan(body, state, groups[plan.group])
        return state, {phase: metrics}

    return run


@dataclasses.dataclass(frozen=True)
class _Step:
    """One step, and what its parts share; `picked` are its rows, `every` those of all batches."""

    loss_of: Callable[..., tuple[Array, Any]]
    optimizer: optax.GradientTransformation
    axis_name: str | None
    documents: Any
    every: Mapping[str, Array]
    picked: Mapping[str, Array]
    hyper: Mapping[str, Array]
    key: Array

    def together(self, params: Any) -> tuple[Any, ...]:
        """Encoder and decoder move by one gradient."""
        loss, terms, norm, directions = self._gradient(params, self._batch(self.picked), self.key)
        params = self._moved(self._moved(params, "encoder", directions), "decoder", directions)
        return params, loss, terms, norm, jnp.zeros(())

    def aggressively(self, params: Any) -> tuple[Any, ...]:
        """The encoder as often as it gains by it, then the decoder."""
        zero = jnp.zeros(())
        start = 0, params, jnp.array(False), zero, zero, jnp.full((), jnp.inf)
        more = lambda carry: (carry[0] < MOST) & ~carry[2]
        count, params, *_ = jax.lax.while_loop(more, self._encoder_step, start)
        loss, terms, norm, directions = self._gradient(params, self._batch(self.picked), self.key)
        return self._moved(params, "decoder", directions), loss, terms, norm, count.astype(float)

    def _encoder_step(self, carry: Any) -> Any:
        """Step i of the encoder; loss and words of its block, and the loss per word of the last."""
        i, params, _, block, words, before = carry
        key = jax.random.fold_in(self.key, i + 1)
        batch = self._batch(self._rows(i, jax.random.randint(key, (), 0, len(self.every["index"]))))
        loss, _, _, directions = self._gradient(params, batch, key)
        block += loss * self._total(batch["mask"])
        words += self._total((batch["lengths"] - 1) * batch["mask"])
        full, now = (i + 1) % BLOCK == 0, block / words
        reset = lambda x: jnp.where(full, 0.0, x)
        rose, before = full & (now > before), jnp.where(full, now, before)
        params = self._moved(params, "encoder", directions)
        return i + 1, params, rose, reset(block), reset(words), before

    def _rows(self, i: Array, j: Array) -> dict[str, Array]:
        """The step's own rows first, then those of batch j; of several devices this one's part."""

        def own(of_batch: Array, mine: Array) -> Array:
            if not self.axis_name:
                return of_batch
            start = jax.lax.axis_index(self.axis_name) * len(mine)
            return jax.lax.dynamic_slice_in_dim(of_batch, start, len(mine))

        return {k: jnp.where(i == 0, x, own(self.every[k][j], x)) for k, x in self.picked.items()}

    def _batch(self, rows: Mapping[str, Array]) -> dict[str, Array]:
        return gather(self.documents, rows)

    def _gradient(self, params: Any, batch: Any, key: Array) -> tuple[Array, Any, Array, Any]:
        """Loss, terms, norm of the gradient, and the optimiser's directions."""
        rest = batch, self.hyper, key
        (loss, terms), gradient = jax.value_and_grad(self.loss_of, has_aux=True)(params, *rest)
        if self.axis_name:
            gradient = jax.lax.pmean(gradient, self.axis_name)
        found, _ = self.optimizer.update(gradient, optax.EmptyState(), params)
        return loss, terms, optax.tree.norm(gradient), found

    def _moved(self, params: Any, part: str, directions: Any) -> Any:
        rate = self.hyper["learning_rate"]
        new = jax.tree.map(lambda p, d: p - rate * d, params[part], directions[part])
        return {**params, part: new}

    def _total(self, x: Array) -> Array:
        return jax.lax.psum(x.sum(), self.axis_name) if self.axis_name else x.sum()
