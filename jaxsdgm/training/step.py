"""One update of the parameters, and the scan over many of them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxsdgm.training.state import TrainState

#: the masked means of a model's terms, and its new batch statistics; see `make_step`
Objective = Callable[..., tuple[dict[str, dict[str, Array]], Any]]
Step = Callable[[TrainState, Any, str], tuple[TrainState, dict[str, Array]]]


def make_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    schedule: Callable[[dict[str, Array], Array], dict[str, Array]] = lambda hyper, step: hyper,
    axis_name: str | None = None,
    widths: Sequence[int] = (),
) -> Step:
    """The update `(state, batch, phase) -> (state, metrics)`.

    `objective(params, batch_stats, batch, phase=, hyper=, key=)` returns the masked means of its
    terms, {group: {term: scalar}}, and new batch statistics; the loss is the sum of the groups'
    terms "loss". `schedule` maps the hyperparameters to those in force at a step. With `axis_name`
    the step sees the rows of one device, and the gradient of a global mean is the mean of the
    devices' gradients. With `widths`, which ascend, the tokens "ids" of a batch are cut to the
    first that holds its longest row ("lengths"); for rows of one device, without trials side by
    side, since of a batched choice all are computed.
    """

    def step(state: TrainState, batch: Any, phase: str) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        hyper = schedule(state.hyper, state.step)

        def loss_fn(params: Any, batch: Any) -> tuple[Array, Any]:
            means, stats = objective(
                params, state.batch_stats, batch, phase=phase, hyper=hyper, key=key
            )
            return jnp.stack([terms["loss"] for terms in means.values()]).sum(), (means, stats)

        gradient = partial(jax.value_and_grad(loss_fn, has_aux=True), state.params)
        (loss, (means, stats)), grads = at_width(gradient, batch, widths)
        if axis_name:
            grads = jax.lax.pmean(grads, axis_name)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        rate = -hyper["learning_rate"]
        params = jax.tree.map(lambda p, u: p + (rate * u).astype(p.dtype), state.params, updates)
        # of the gradients themselves Adam's squares would be an array, shared with this norm
        halves = jax.tree.map(lambda g: 0.5 * g, grads)
        metrics = {f"{group}/{k}": x for group, terms in means.items() for k, x in terms.items()}
        metrics.update({"loss": loss, "gradient_norm": 2 * optax.tree.norm(halves)})
        state = dataclasses.replace(
            state, step=state.step + 1, params=params, batch_stats=stats, opt_state=opt_state
        )
        return state, metrics

    return step


def at_width(function: Callable[[Any], Any], batch: Any, widths: Sequence[int]) -> Any:
    """`function(batch)`, the tokens cut to the first of the `widths` that holds every row."""
    if not widths:
        return function(batch)
    cut = lambda width: {g: {**rows, "ids": rows["ids"][:, :width]} for g, rows in batch.items()}
    longest = jnp.stack([rows["lengths"].max() for rows in batch.values()]).max()
    branches = [partial(function, cut(width)) for width in widths]
    return jax.lax.switch(jnp.searchsorted(jnp.asarray(widths), longest), branches)


def gather(data: Mapping[str, Array], rows: Mapping[str, Array]) -> dict[str, Array]:
    """The documents `[n, ...]` that a plan's `index [b]` picks, and the rest of the plan.

    That has masks, row numbers and, where documents are streamed, these themselves.
    """
    picked = {name: values[rows["index"]] for name, values in data.items()}
    return {**picked, **{name: values for name, values in rows.items() if name != "index"}}


def make_run(step: Step) -> Callable[..., tuple[TrainState, dict[str, dict[str, Array]]]]:
    """`run(state, data, plan) -> (state, metrics)`: a scan over the steps of a plan.

    `data` is {phase: {group: {name: [n, ...]}}} on the device, `plan` the same with the plan's
    `[s, b]`. A step of the scan makes one update per phase, in order; metrics come as {phase:
    {name: [s]}}.
    """

    def run(state: TrainState, data: Any, plan: Any) -> tuple[TrainState, dict[str, Any]]:
        def body(state: TrainState, slices: Any) -> tuple[TrainState, dict[str, Any]]:
            metrics = {}
            for phase in plan:
                batch = {
                    group: gather(data[phase][group], rows) for group, rows in slices[phase].items()
                }
                state, metrics[phase] = step(state, batch, phase)
            return state, metrics

        return jax.lax.scan(body, state, plan)

    return run
