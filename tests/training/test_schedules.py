"""Schedules at the steps where their formulas are easy."""

import jax
import numpy as np

from jaxsdgm.training import schedules


def values(schedule, at, **fields):
    return np.asarray(jax.vmap(lambda step: schedule(step, **fields))(np.array(at)))


def test_linear():
    np.testing.assert_allclose(values(schedules.linear, [0, 5, 10, 50], warmup=10), [0, 0.5, 1, 1])


def test_sigmoid():
    found = values(schedules.sigmoid, [0, 100, 120], slope=0.05, middle=100)
    np.testing.assert_allclose(found, [1 / (1 + np.exp(5)), 0.5, 1 / (1 + np.exp(-1))], rtol=1e-5)


def test_cyclic():
    found = values(schedules.cyclic, [0, 1, 3, 4, 7, 8, 10, 12], period=4)
    np.testing.assert_allclose(found, [0, 0.25, 0.75, 1, 1, 0, 0.5, 1])


def test_ramp():
    np.testing.assert_allclose(
        values(schedules.ramp, [0, 25, 100], end=10, steps=100), [0, 2.5, 10]
    )


def test_cosine():
    found = values(schedules.cosine, [0, 50, 100, 200], steps=100, end=0.1, warmup=4)
    # a quarter of the warm-up, half-way down, and the end for good
    np.testing.assert_allclose(found, [0.25, 0.55, 0.1, 0.1], atol=1e-6)


def test_triangle():
    found = values(schedules.triangle, [0, 4, 9, 50, 100, 200], steps=100, warmup=10)
    np.testing.assert_allclose(found, [0.1, 0.5, 1, 0.5, 0, 0], atol=1e-6)
