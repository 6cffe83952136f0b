"""One update: arrays that are cut to what their rows need."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.training.state import create_state, sgd
from jaxsdgm.training.step import make_step


def objective(params, batch_stats, batch, *, phase, hyper, key):
    """A sum over words, and how wide the array was."""
    terms = {}
    for group, rows in batch.items():
        words = params["words"][rows["ids"]] * (rows["ids"] > 0)
        width = jnp.asarray(float(rows["ids"].shape[1]))
        terms[group] = {"loss": jnp.square(words).sum(1).mean(), "width": width}
    return terms, batch_stats


def texts(lengths):
    ids = np.random.default_rng(0).integers(1, 20, (len(lengths), 8))
    return {"ids": ids * (np.arange(8) < lengths[:, None]), "lengths": lengths}


@pytest.mark.parametrize(
    ("longest", "wanted"), [((3, 1), 3.0), ((2, 4), 6.0), ((6, 5), 6.0), ((7, 1), 8.0)]
)
def test_the_width_of_a_step_changes_only_the_work(longest, wanted):
    batch = {f"group{i}": texts(np.array([1, n])) for i, n in enumerate(longest)}
    params = {"words": jnp.linspace(-1, 1, 20)}
    state = create_state({"params": params}, sgd(clip=100.0), seed=0, hyper={"learning_rate": 0.1})
    new = {}
    for widths in ((), (3, 6, 8)):
        step = jax.jit(make_step(objective, sgd(clip=100.0), widths=widths), static_argnums=2)
        state_after, metrics = step(state, batch, "text")
        new[widths] = state_after.params["words"], metrics["loss"]
        assert metrics["group0/width"] == (wanted if widths else 8)
    for plain, cut in zip(*new.values(), strict=True):
        np.testing.assert_allclose(cut, plain, rtol=1e-6)
