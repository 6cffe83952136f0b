"""One device or several, `jit` or `pmap`: the same training run."""

import functools

import jax
import numpy as np
import pytest

from configs import common
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import pretrain
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.trials import Trial, shapes_of, stack, stack_plans
from tests.training import tiny

SIZES = {"en": 40, "de": 50}
STEPS = 8


def m1m2(parallel):
    """M1+M2 with dropout, batches that do not divide, and an estimated prior."""
    config = tiny.config()
    assert config.model.dropout > 0
    assert config.model.feature_dropout > 0
    return tiny.task(parallel, config)


def nxvae(parallel):
    """NXVAE with dropout, the adversary, and a last batch of an epoch that is short."""
    config = common.pretraining()
    config.data.batch_size = 9
    config.model.embedding = config.model.latent = 8
    config.model.hidden, config.model.discriminator_hidden, config.model.layers = 6, 5, 1
    config.training.max_steps = STEPS
    assert config.model.dropout > 0
    assert config.model.adversary == "separate"
    data = {
        language: {"sentences": sentences(size, seed)}
        for seed, (language, size) in enumerate(SIZES.items())
    }
    dev = {language: groups["sentences"] for language, groups in data.items()}
    model = pretrain.build(config, SIZES, parallel)
    task, make, plan = pretrain.make_task(
        config, model, shapes_of(data), lambda: data, dev, parallel
    )
    return task, Trial(make, plan, None, {})


def sentences(size, seed, n=30, width=7):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, width + 1, n).astype(np.int32)
    ids = rng.integers(1, size, (n, width)) * (np.arange(width) < lengths[:, None])
    return {"ids": ids.astype(np.int32), "lengths": lengths}


@functools.cache
def curves(make, mode, n_devices):
    """Every metric of eight steps of every phase."""
    parallel = Parallel(mode, jax.local_devices()[:n_devices])
    task, trial = make(parallel)
    state, data = parallel.place(stack([trial.make()]), 1), parallel.replicate(task.read())
    plan = parallel.lay_out(stack_plans([trial.plan(0, STEPS)]))
    state, history = parallel.compile(task.run, state, data, plan)(state, data, plan)
    jax.block_until_ready(state)
    return jax.tree.map(lambda x: x[0], jax.device_get(history))


def assert_same_curves(make, mode, n_devices):
    for phase, expected in curves(make, "jit", 1).items():
        found = curves(make, mode, n_devices)[phase]
        assert expected["loss"].shape == (STEPS,)
        for name in ("loss", "gradient_norm"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("mode", "n_devices"), [("jit", 2), ("jit", 4), ("pmap", 1), ("pmap", 2), ("pmap", 4)]
)
def test_m1m2_on_any_number_of_devices(mode, n_devices):
    assert_same_curves(m1m2, mode, n_devices)


@pytest.mark.parametrize(("mode", "n_devices"), [("jit", 4), ("pmap", 4)])
def test_nxvae_on_any_number_of_devices(mode, n_devices):
    assert_same_curves(nxvae, mode, n_devices)


def test_unknown_mode():
    with pytest.raises(UserError, match="config.parallel is 'shard'"):
        Parallel("shard")
