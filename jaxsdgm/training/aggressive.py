"""Training that brings the encoder up to the decoder before every step of it (He et al. 2019)."""

import dataclasses
from collections.abc import Callable
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

    def total(x: Array) -> Array:
        return jax.lax.psum(x.sum(), axis_name) if axis_name else x.sum()

    def run(state: TrainState, data: Any, steps: Any) -> tuple[TrainState, dict[str, Any]]:
        (phase, groups), *_ = steps.items()
        documents = data[phase][plan.group]
        every = jax.tree.map(jnp.asarray, plan.everything)

        def body(state: TrainState, picked: Any) -> tuple[TrainState, dict[str, Array]]:
            key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
            hyper = schedule(state.hyper, state.step)

            def directions(params: Any, batch: Any, key: Array) -> tuple[Array, Any, Any]:
                def loss_fn(params: Any) -> tuple[Array, Any]:
                    arguments = {"phase": phase, "hyper": hyper, "key": key}
                    means, _ = objective(params, {}, {plan.group: batch}, **arguments)
                    return means[plan.group]["loss"], means[plan.group]

                (loss, means), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params)
                if axis_name:
                    gradient = jax.lax.pmean(gradient, axis_name)
                norm = optax.tree.norm(gradient)
                found, _ = optimizer.update(gradient, state.opt_state, params)
                return loss, found, {**means, "gradient_norm": norm}

            def moved(params: Any, part: str, direction: Any) -> Any:
                rate = hyper["learning_rate"]
                new = jax.tree.map(lambda p, d: p - rate * d, params[part], direction[part])
                return {**params, part: new}

            def encoder_step(carry: Any) -> Any:
                i, params, _, block, words, before = carry
                of_step = jax.random.fold_in(key, i + 1)
                j = jax.random.randint(of_step, (), 0, len(every["index"]))
                rows = {
                    k: jnp.where(i == 0, x, _own(every[k][j], x, axis_name))
                    for k, x in picked.items()
                }
                batch = gather(documents, rows)
                loss, direction, _ = directions(params, batch, of_step)
                params = moved(params, "encoder", direction)
                block += loss * total(batch["mask"])
                words += total((batch["lengths"] - 1) * batch["mask"])
                full, now = (i + 1) % BLOCK == 0, block / words
                worse = full & (now > before)
                reset = lambda x: jnp.where(full, 0.0, x)
                before = jnp.where(full, now, before)
                return i + 1, params, worse, reset(block), reset(words), before

            def aggressively(params: Any) -> Any:
                zero = jnp.zeros(())
                start = 0, params, jnp.array(False), zero, zero, jnp.full((), jnp.inf)
                more = lambda carry: (carry[0] < MOST) & ~carry[2]
                count, params, *_ = jax.lax.while_loop(more, encoder_step, start)
                batch = gather(documents, picked)
                loss, direction, terms = directions(params, batch, key)
                return moved(params, "decoder", direction), (loss, terms, count)

            def together(params: Any) -> Any:
                batch = gather(documents, picked)
                loss, direction, terms = directions(params, batch, key)
                params = moved(moved(params, "encoder", direction), "decoder", direction)
                return params, (loss, terms, 0)

            still = state.hyper[AGGRESSIVE] > 0
            params, found = jax.lax.cond(still, aggressively, together, state.params)
            loss, terms, count = found
            metrics = {f"{plan.group}/{name}": x for name, x in terms.items()}
            metrics |= {"loss": loss, "gradient_norm": metrics.pop(f"{plan.group}/gradient_norm")}
            metrics["encoder_steps"] = jnp.asarray(count, jnp.float32)
            return dataclasses.replace(state, step=state.step + 1, params=params), metrics

        state, metrics = jax.lax.scan(body, state, groups[plan.group])
        return state, {phase: metrics}

    return run


def _own(rows: Array, mine: Array, axis_name: str | None) -> Array:
    """Of a batch's rows those of this device, as many as `mine` has."""
    if not axis_name:
        return rows
    return jax.lax.dynamic_slice_in_dim(rows, jax.lax.axis_index(axis_name) * len(mine), len(mine))
