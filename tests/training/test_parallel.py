"""One device or several, `jit` or `pmap`: the same training run."""

import functools

import jax
import numpy as np
import pytest

from jaxsdgm.errors import UserError
from jaxsdgm.training.parallel import Parallel
from tests.training import tiny


@functools.cache
def curve(mode, n_devices):
    """Losses of eight steps, with dropout, batches that do not divide, and an estimated prior."""
    config = tiny.config()
    assert config.model.dropout > 0
    assert config.model.feature_dropout > 0
    parallel = Parallel(mode, jax.local_devices()[:n_devices])
    task, state = tiny.task(parallel, config)
    state, data = parallel.replicate((state, task.data))
    plan = parallel.lay_out(task.plan(0, 8))
    state, history = parallel.compile(task.run, state, data, plan)(state, data, plan)
    jax.block_until_ready(state)
    return jax.device_get(history)["en"]["loss"]


@pytest.mark.parametrize(
    ("mode", "n_devices"), [("jit", 2), ("jit", 4), ("pmap", 1), ("pmap", 2), ("pmap", 4)]
)
def test_same_loss_curve_on_any_number_of_devices(mode, n_devices):
    np.testing.assert_allclose(curve(mode, n_devices), curve("jit", 1), rtol=1e-4)


def test_unknown_mode():
    with pytest.raises(UserError, match="config.parallel is 'shard'"):
        Parallel("shard")
