"""Likelihoods and sentences of a trained text VAE, compiled once and run over a whole split."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.evaluation.decoding import decode
from jaxsdgm.evaluation.likelihood import importance_nll
from jaxsdgm.models.textvae import TextVAE
from jaxsdgm.training.progress import duration, log

#: sentences decoded at a time
DECODED = 500


def make_importance_nll(
    model: TextVAE, *, samples: int, chunk: int, at_a_time: int = 100, seed: int = 0
) -> Callable[[Any, Mapping[str, np.ndarray], np.ndarray, np.ndarray], np.ndarray]:
    """`run(params, rows, mean, log_var)`: - log p(x) in nats `[n]` by importance sampling.

    Sentence by sentence, each as many steps as it has words; draws depend on seed and row alone.
    Progress is told after each `at_a_time` sentences.
    """
    plain = model.clone(axis_name=None)

    def of_one(params: Any, row: Mapping[str, Array]) -> Array:
        def nll(z: Array) -> Array:
            return plain.apply(  # type: ignore[reportReturnType]
                {"params": params}, z, row["ids"], row["lengths"], method="sentence_nll"
            )

        key = jax.random.fold_in(jax.random.key(seed), row["row"])
        draw = lambda i, n: jax.random.normal(jax.random.fold_in(key, i), (n, model.latent))
        q = DiagonalGaussian(row["mean"], row["log_var"])
        return importance_nll(nll, q, draw, samples=samples, chunk=chunk)

    @jax.jit
    def of_many(params: Any, rows: Any) -> Array:
        return jax.lax.map(partial(of_one, params), rows)

    def run(
        params: Any, rows: Mapping[str, np.ndarray], mean: np.ndarray, log_var: np.ndarray
    ) -> np.ndarray:
        rows = {**rows, "mean": mean, "log_var": log_var}
        n, found = len(mean), []
        # fillers have no words, so that they take no time
        padded = {
            k: np.pad(x, [(0, -n % at_a_time)] + [(0, 0)] * (x.ndim - 1)) for k, x in rows.items()
        }
        started = time.monotonic()
        for stop in range(at_a_time, n + at_a_time, at_a_time):
            part = {name: x[stop - at_a_time : stop] for name, x in padded.items()}
            found.append(np.asarray(of_many(params, part)))
            left = duration((time.monotonic() - started) * max(0, n - stop) / stop)
            log.info("importance sampling: %d of %d sentences, %s left", min(n, stop), n, left)
        return np.concatenate(found)[:n]

    return run


def make_decode(model: TextVAE, params: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Greedy sentences of latents `[n, z]`: ids `[n, 99]`, PAD after `</s>`."""
    plain = model.clone(axis_name=None)

    @jax.jit
    def of_some(params: Any, z: Array) -> Array:
        bound = lambda method: partial(plain.apply, {"params": params}, method=method)
        return decode(bound("next_word"), z, bound("first_state")(z))  # type: ignore[arg-type]

    def run(z: np.ndarray) -> np.ndarray:
        n = len(z)
        padded = np.pad(z, ((0, -n % DECODED), (0, 0)))
        parts = np.split(padded, len(padded) // DECODED)
        return np.concatenate([np.asarray(of_some(params, part)) for part in parts])[:n]

    return run
