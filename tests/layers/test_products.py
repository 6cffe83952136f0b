"""Products of bfloat16 are those of the rounded factors, whatever form they are made in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.layers.products import matmul, product, transposed


def factors(dtype, *shape):
    make = lambda seed, *shape: jax.random.normal(jax.random.key(seed), shape).astype(dtype)
    return make(0, *shape, 5), make(1, 5, 4)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_value_and_gradient(dtype, shape):
    a, b = factors(dtype, *shape)
    wide = lambda x: x.astype(jnp.float32)
    exact = wide(a) @ wide(b)
    assert product(a, b).dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(product)(a, b), exact, rtol=1e-5, atol=1e-5)
    assert matmul(a, b).dtype == dtype
    np.testing.assert_allclose(wide(matmul(a, b)), exact, rtol=1e-2, atol=1e-2)
    loss = lambda make: lambda a, b: jnp.square(make(a, b)).sum()
    wanted = jax.grad(loss(jnp.matmul), (0, 1))(wide(a), wide(b))
    found = jax.grad(loss(product), (0, 1))(a, b)
    for mine, true in zip(found, wanted, strict=True):
        assert mine.dtype == dtype
        np.testing.assert_allclose(wide(mine), true, rtol=3e-2, atol=0.1)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_transposed_and_side_by_side(dtype):
    a, b = factors(dtype, 2, 3)
    each = jnp.stack([product(one, b) for one in a])
    np.testing.assert_allclose(jax.jit(jax.vmap(product, (0, None)))(a, b), each, rtol=1e-5)
    back = jax.jit(lambda a, b: product(a, transposed(transposed(b))))
    np.testing.assert_allclose(back(a, b), each, rtol=1e-5)
