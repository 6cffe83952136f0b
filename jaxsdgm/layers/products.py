"""Matrix products; those of bfloat16 in the form that a CPU's compiler has fast code for.

XLA uses a CPU's units for bfloat16 only where both arrays lie in memory row by row and the result
is float32. Any other product it makes in float32, several times slower (benchmarks/README.md).
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.layout import Layout, with_layout_constraint


def product(a: Array, b: Array) -> Array:
    """a b of `[..., k]` and `[k, n]`, of one dtype; summed, and given, in float32 at least."""
    if _has_units(a):
        return _product(a, b)
    return jnp.matmul(a, b, preferred_element_type=jnp.promote_types(a.dtype, jnp.float32))


def matmul(a: Array, b: Array) -> Array:
    """a b in the dtype of both."""
    return _product(a, b).astype(a.dtype) if _has_units(a) else a @ b


def transposed(x: Array) -> Array:
    """x^T of `[m, n]`, to be made once where it is a factor of many products."""
    return _by_rows(x.T) if _has_units(x) else x.T


def _has_units(x: Array) -> bool:
    return x.dtype == jnp.bfloat16 and jax.default_backend() == "cpu"


def _flat(x: Array) -> Array:
    """`[..., k]` as a matrix."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _by_rows(x: Array) -> Array:
    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))


@jax.custom_vjp
def _product(a: Array, b: Array) -> Array:
    found = jnp.matmul(_by_rows(_flat(a)), _by_rows(b), preferred_element_type=jnp.float32)
    # else a transpose that follows becomes a part of the product, in a form that fails
    return jax.lax.optimization_barrier(found).reshape(*a.shape[:-1], b.shape[-1])


def _forward(a: Array, b: Array) -> tuple[Array, tuple[Array, Array]]:
    return _product(a, b), (a, b)


def _backward(factors: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    a, b = factors
    gradient = gradient.astype(a.dtype)
    d_b = _product(_flat(a).T, _flat(gradient))
    return _product(gradient, b.T).astype(a.dtype), d_b.astype(b.dtype)


_product.defvjp(_forward, _backward)
