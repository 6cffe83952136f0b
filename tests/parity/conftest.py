"""Fixtures in double precision are compared in double precision."""

import jax
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _precision(request):
    callspec = getattr(request.node, "callspec", None)
    double = callspec is not None and callspec.params.get("dtype") is np.float64
    jax.config.update("jax_enable_x64", double)
    yield
    jax.config.update("jax_enable_x64", False)
