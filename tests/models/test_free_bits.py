"""Free bits and annealing, of every model by the same functions."""

import jax.numpy as jnp
import numpy as np
import pytest

from configs import debian_classify, vsl_ud
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.systems import build
from jaxsdgm.models import semi, ssvae
from jaxsdgm.models.terms import counted_kl
from jaxsdgm.training.parallel import Parallel
from tests.training import tiny

KL = jnp.array([0.2, 3.0])


def test_less_than_the_free_bits_counts_as_these():
    np.testing.assert_allclose(counted_kl(KL, {"free_bits": jnp.array(1.0)}), [1.0, 3.0])
    np.testing.assert_allclose(counted_kl(KL, {}), KL)


@pytest.mark.parametrize(
    ("bound", "names"), [(semi._bound, ("kl_z1", "kl_z2")), (ssvae._bound, ("kl_z",))]
)
def test_they_are_in_the_bounds(bound, names):
    terms = {**dict.fromkeys(names, KL), "reconstruction": jnp.ones(2)}
    hyper = {"kl_weight": jnp.array(0.5), "reconstruction_weight": jnp.array(1.0)}
    np.testing.assert_allclose(bound(terms, hyper), 1 + len(names) * 0.5 * KL)
    found = bound(terms, {**hyper, "free_bits": jnp.array(1.0)})
    np.testing.assert_allclose(found, 1 + len(names) * 0.5 * np.array([1.0, 3.0]))


def test_a_config_has_them_or_not():
    for config in (debian_classify.get_config("en,32,bow"), vsl_ud.get_config("german,hier")):
        assert setup.free_bits(config) == {}
        config.model.free_bits = 2.0
        assert setup.free_bits(config) == {"free_bits": 2.0}


def test_without_a_decoder_there_is_no_divergence_of_z1():
    config = tiny.config("none")
    config.model.free_bits = 1.0
    with pytest.raises(UserError, match="config.model.free_bits is for divergences"):
        build(config, tiny.inputs(), Parallel())


def test_the_weight_grows():
    config = tiny.config()
    rate = lambda hyper, step: hyper
    assert setup.annealed(config, rate) is rate
    config.model.kl_warmup = 4
    schedule = setup.annealed(config, rate)
    found = [float(schedule({"kl_weight": jnp.array(0.5)}, step)["kl_weight"]) for step in range(5)]
    assert found == [0.125, 0.25, 0.375, 0.5, 0.5]
