"""Data parallelism of a scan of steps: `jit` over a mesh, or `pmap`. The model knows of neither."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxsdgm.errors import UserError

AXIS = "data"
MODES = ("jit", "pmap")


class Parallel:
    """Compiles functions for all local devices, and lays out what they are given.

    Under "jit" the rows of a plan are sharded over a one-axis mesh, the state is replicated and the
    compiler inserts the sums. Under "pmap" the rows are split by hand and the step takes the means.
    """

    def __init__(self, mode: str = "jit", devices: list[Any] | None = None) -> None:
        if mode not in MODES:
            raise UserError(f"config.parallel is {mode!r}; use one of {', '.join(MODES)}")
        self.mode = mode
        self.devices = devices or jax.local_devices()
        mesh = Mesh(np.array(self.devices), (AXIS,))
        self.replicated = NamedSharding(mesh, P())
        self.sharded = NamedSharding(mesh, P(None, AXIS))

    @property
    def axis_name(self) -> str | None:
        """The mapped axis that means and statistics are to be taken over."""
        return AXIS if self.mode == "pmap" else None

    def replicate(self, tree: Any) -> Any:
        """A copy of a pytree on every device."""
        return jax.device_put(tree, self.replicated)

    def lay_out(self, plan: Any) -> Any:
        """A plan of arrays `[s, b]` with its rows spread over the devices."""
        if self.mode == "jit":
            return jax.device_put(plan, self.sharded)
        n = len(self.devices)
        split = lambda x: x.reshape(x.shape[0], n, -1).swapaxes(0, 1)  # n s b/n
        return jax.tree.map(split, plan)

    def compile(self, run: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
        """`run(state, data, plan)` compiled ahead of time; under "jit" it donates the state."""
        if self.mode == "pmap":
            axes = {"in_axes": (None, None, 0), "out_axes": None}
            mapped = jax.pmap(run, AXIS, devices=self.devices, **axes)
            return mapped.lower(*arguments).compile()
        shardings = (self.replicated, self.replicated, self.sharded)
        jitted = jax.jit(
            run, in_shardings=shardings, out_shardings=self.replicated, donate_argnums=0
        )
        return jitted.lower(*arguments).compile()
