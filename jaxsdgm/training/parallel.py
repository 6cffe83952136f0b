"""Trials and rows over devices: `jit` over a mesh, or `pmap`. The model knows of neither."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxsdgm.errors import UserError
from jaxsdgm.training.processes import fetch

#: the mapped axis of rows, over which steps take means and statistics
AXIS = "data"
TRIALS = "trials"
MODES = ("jit", "pmap")


class Parallel:
    """Compiles functions for all devices, of all processes, and lays out what they are given.

    States have a leading axis of trials. Where there are as many trials as devices these are spread
    over them: no device then waits for another. Fewer trials are on every device, which has its
    share of the rows of a plan. A step sees the rows of its device alone, under `shard_map` ("jit")
    as under "pmap", so that every kernel works in it as on one device; what concerns all rows it
    sums over AXIS.
    """

    def __init__(self, mode: str = "jit", devices: list[Any] | None = None) -> None:
        if mode not in MODES:
            raise UserError(f"config.parallel is {mode!r}; use one of {', '.join(MODES)}")
        if mode == "pmap" and jax.process_count() > 1:
            raise UserError("config.parallel is 'pmap', which is for one process; use jit")
        self.mode = mode
        self.devices = devices or jax.devices()

    @property
    def axis_name(self) -> str | None:
        """What steps sum over; None on one device, where such a sum would copy every gradient."""
        return AXIS if len(self.devices) > 1 else None

    def spreads(self, trials: int) -> bool:
        """Whether so many trials are spread over the devices, instead of rows."""
        return self.mode == "jit" and trials >= len(self.devices) > 1

    def multiple(self, trials: int) -> int:
        """What the size of a batch of that many trials must be a multiple of."""
        return len(self.devices) if self.spreads(trials) else 1

    def sees_rows(self, trials: int) -> bool:
        """Whether a step is never batched by `vmap`, which some kernels do not stand."""
        return trials == 1 or self.one_by_one

    @property
    def one_by_one(self) -> bool:
        """Whether the trials of a device run one after the other; see `over_trials`."""
        return self.devices[0].platform == "cpu"

    # -- layout ------------------------------------------------------------------------------------

    def mesh(self, trials: int) -> Mesh:
        """Trials by rows."""
        shape = (len(self.devices), 1) if self.spreads(trials) else (1, len(self.devices))
        return Mesh(np.array(self.devices).reshape(shape), (TRIALS, AXIS))

    def place(self, tree: Any, trials: int) -> Any:
        """A pytree `[T, ...]` on the devices, its trials spread or all on each."""
        return _put(tree, NamedSharding(self.mesh(trials), P(TRIALS)))

    def replicate(self, tree: Any) -> Any:
        """A copy of a pytree on every device."""
        return _put(tree, NamedSharding(self.mesh(1), P()))

    def place_rows(self, rows: Any, trials: int, *, own: bool = False) -> Any:
        """Rows `[chunks, n, ...]` that all trials read, spread if these are not.

        Or `[T, chunks, n, ...]`, each trial's own.
        """
        spec = P(TRIALS, None, AXIS) if own else P(None, AXIS)
        return _put(rows, NamedSharding(self.mesh(trials), spec))

    def lay_out(self, plan: Any) -> Any:
        """A plan of arrays `[T, s, b, ...]`, its trials or its rows spread over the devices."""
        if self.mode == "jit":
            return _put(plan, NamedSharding(self.mesh(_trials(plan)), P(TRIALS, None, AXIS)))
        n = len(self.devices)
        parts = lambda x: x.reshape(*x.shape[:2], n, -1, *x.shape[3:])
        split = lambda x: np.moveaxis(parts(x), 2, 0)  # n T s b/n ...
        return jax.tree.map(split, plan)

    # -- programs ----------------------------------------------------------------------------------

    def over_trials(
        self, function: Callable[..., Any], in_axes: tuple[int | None, ...]
    ) -> Callable[..., Any]:
        """`function` over the leading axis of the arguments whose axis is 0.

        One trial is called as if there were no axis: not every kernel has a batched form. Several
        run as one by `vmap`; but one after the other on a CPU, which has no idle units to fill and
        multiplies many small matrices slower than a few.
        """

        def mapped(*arguments: Any) -> Any:
            pairs = list(zip(arguments, in_axes, strict=True))
            split = [x for x, axis in pairs if axis == 0]

            def one(parts: Sequence[Any]) -> Any:
                rest = iter(parts)
                return function(*(next(rest) if axis == 0 else x for x, axis in pairs))

            if _trials(split) == 1:
                return jax.tree.map(lambda x: x[None], one(jax.tree.map(lambda x: x[0], split)))
            return jax.lax.map(one, split) if self.one_by_one else jax.vmap(one)(split)

        return mapped

    def compile(self, run: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
        """`run(state, data, plan)` of one trial, for states and plans `[T, ...]`, ahead of time.

        Under "jit" it donates the state.
        """
        mapped = self.over_trials(run, (0, None, 0))
        if self.mode == "pmap":
            axes = {"in_axes": (None, None, 0), "out_axes": None}
            return jax.pmap(mapped, AXIS, devices=self.devices, **axes).lower(*arguments).compile()
        sharded = self.shard(
            mapped,
            trials=_trials(arguments[0]),
            in_specs=(P(TRIALS), P(), P(TRIALS, None, AXIS)),
            out_specs=P(TRIALS),
        )
        return jax.jit(sharded, donate_argnums=0).lower(*arguments).compile()

    def shard(
        self, function: Callable[..., Any], *, trials: int, in_specs: Any, out_specs: Any
    ) -> Callable[..., Any]:
        """`function` of the parts of a device, for whole arguments."""
        specs = {"in_specs": in_specs, "out_specs": out_specs}
        # unchecked: what is the same on all devices is so by the sums over AXIS, as under pmap
        return jax.shard_map(function, mesh=self.mesh(trials), **specs, check_vma=False)


def _put(tree: Any, sharding: NamedSharding) -> Any:
    """Arrays on the devices, or their shapes with what is to be where."""
    if _abstract(tree):
        return jax.tree.map(lambda x: x.update(sharding=sharding), tree)
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def part(x: Any) -> jax.Array:  # every process has all of it, and fills its devices
        x = fetch(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(part, tree)


def _abstract(tree: Any) -> bool:
    return any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(tree))


def _trials(tree: Any) -> int:
    return len(jax.tree.leaves(tree)[0])
