"""The state of a run as one frozen pytree, and the optimisers that move it."""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array


@struct.dataclass
class TrainState:
    """All that a step reads and writes.

    `key` is the data of the run's base key and never changes; a step folds its number into it.
    `hyper` holds the numbers that a sweep may vary, as arrays.
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any
    key: Array
    hyper: dict[str, Array]


@struct.dataclass
class Best:
    """The best parameters so far and the bookkeeping of early stopping."""

    params: Any
    batch_stats: Any
    score: Array  # of the best evaluation
    step: Array  # its step
    failures: Array  # evaluations without improvement since


def create_state(
    variables: Mapping[str, Any],
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    hyper: Mapping[str, float],
) -> TrainState:
    """Step 0. `optimizer` yields directions; a step moves by -hyper["learning_rate"] of them."""
    # copies, since a run donates its state and a table may stand in two places
    variables = jax.tree.map(lambda x: jnp.array(x, copy=True), dict(variables))
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        key=jax.random.key_data(jax.random.key(seed)),
        hyper={name: jnp.asarray(value, jnp.float32) for name, value in hyper.items()},
    )


def nothing_yet(state: TrainState, *, maximise: bool) -> Best:
    """The bookkeeping before the first evaluation, which always improves."""
    copy = lambda tree: jax.tree.map(jnp.copy, tree)
    worst = jnp.asarray(-jnp.inf if maximise else jnp.inf, jnp.float32)
    step, failures = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)  # apart: donated later
    return Best(copy(state.params), copy(state.batch_stats), worst, step, failures)


def compare(
    best: Best, state: TrainState, score: Array, *, maximise: bool, min_delta: float
) -> Best:
    """`best` after an evaluation of `state`: replaced where the score is better by `min_delta`."""
    gain = score - best.score if maximise else best.score - score
    better = gain > min_delta
    pick = lambda new, old: jax.tree.map(lambda n, o: jnp.where(better, n, o), new, old)
    return Best(
        params=pick(state.params, best.params),
        batch_stats=pick(state.batch_stats, best.batch_stats),
        score=jnp.where(better, score, best.score),
        step=jnp.where(better, state.step, best.step),
        failures=jnp.where(better, 0, best.failures + 1),
    )


def divide_rate(
    states: TrainState, bests: Best, scores: Array, *, after: int, by: float
) -> TrainState:
    """Side-by-side states `[T, ...]`, with a lower rate where dev failed to improve `after` times.

    An improvement starts the count again and leaves the rate as it is, so that it may fall again.
    """
    rate = states.hyper["learning_rate"]
    rate = jnp.where(bests.failures == after, rate / by, rate)
    return dataclasses.replace(states, hyper={**states.hyper, "learning_rate": rate})


def adam(
    *,
    frozen: tuple[str, ...] = (),
    scales: Mapping[str, float] | None = None,
    weight_decay: float = 0.0,
    b2: float = 0.999,
    clip: float = 0.0,
) -> Any:
    """Adam's direction with torch's defaults (betas 0.9 and 0.999, epsilon 1e-8).

    `frozen` names the parts that do not move (and have no moments): a parameter is of a part where
    this name is on its path. `scales` multiplies the direction of parts. `weight_decay` is
    decoupled (AdamW) and leaves word tables alone, most of whose rows a step does not touch. Before
    all that the gradient of what moves is brought to the norm `clip` where it is longer (0: never).
    """
    parts = [optax.clip_by_global_norm(clip)] if clip else []
    parts.append(optax.scale_by_adam(b2=b2))
    if weight_decay:
        parts.append(optax.add_decayed_weights(weight_decay, _not_tables))
    if scales:
        parts.append(_scaled(scales))
    moving = optax.chain(*parts)
    if not frozen:
        return moving
    kind = lambda path, _: "frozen" if is_part(path, frozen) else "moving"
    kinds = lambda params: jax.tree_util.tree_map_with_path(kind, params)
    return optax.partition({"moving": moving, "frozen": optax.set_to_zero()}, kinds)


def sgd(*, clip: float) -> Any:
    """The gradient itself, times min(1, clip / (norm + 1e-6)) as torch's clipping has it."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        scale = jnp.minimum(1.0, clip / (optax.tree.norm(updates) + 1e-6))
        return jax.tree.map(lambda u: u * scale.astype(u.dtype), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def is_part(path: Any, names: Collection[str]) -> bool:
    """Whether a parameter's path has one of the names."""
    return any(part.key in names for part in path)


def bert_adam(*, weight_decay: float, clip: float) -> Any:
    """AdamW as BERT was trained with (spec §11.1): epsilon 1e-6, gradients of norm `clip` at most.

    Norms, biases and the pooler, which a masked language model does not use, do not decay.
    """
    return optax.chain(
        optax.clip_by_global_norm(clip),
        optax.scale_by_adam(eps=1e-6),
        optax.add_decayed_weights(weight_decay, _bert_decays),
    )


def _bert_decays(params: Any) -> Any:
    kept = {"scale", "bias", "pooler"}
    decays = lambda path, _: not kept & {part.key for part in path}
    return jax.tree_util.tree_map_with_path(decays, params)


def _not_tables(params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key != "table", params)


def _scaled(scales: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies the updates of parts by their factors."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        factor = lambda path, u: math.prod(scales.get(part.key, 1.0) for part in path) * u
        return jax.tree_util.tree_map_with_path(factor, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def reference_adversarial_adam() -> Any:
    """What the three Adam optimisers of the paper's NXVAE code do to one gradient (spec §4.2).

    Encoder and embeddings are in two of them with the same gradients, hence the same moments, so
    they move by twice the direction. Only to compare with the reference.
    """
    return adam(scales={"encoder": 2.0})
