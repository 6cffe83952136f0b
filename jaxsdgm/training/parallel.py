"""Trials and rows over devices: `jit` over a mesh, or `pmap`. The model knows of neither."""

from collections.abc import Callable, Sequence
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

    States have a leading axis of trials. Under "jit" the trials are spread over a one-axis mesh
    where there are enough of them: no device then waits for another. Fewer trials are on every
    device, which has its share of the rows of a plan, and the compiler inserts the sums. Under
    "pmap" the rows are split by hand and the step takes the means.
    """

    def __init__(self, mode: str = "jit", devices: list[Any] | None = None) -> None:
        if mode not in MODES:
            raise UserError(f"config.parallel is {mode!r}; use one of {', '.join(MODES)}")
        self.mode = mode
        self.devices = devices or jax.local_devices()
        mesh = Mesh(np.array(self.devices), (AXIS,))
        self.replicated = NamedSharding(mesh, P())
        self.by_trial = NamedSharding(mesh, P(AXIS))
        self.by_row = NamedSharding(mesh, P(None, AXIS))
        self.by_row_of_trial = NamedSharding(mesh, P(None, None, AXIS))

    @property
    def axis_name(self) -> str | None:
        """The mapped axis that means and statistics are to be taken over."""
        return AXIS if self.mode == "pmap" else None

    def spreads(self, trials: int) -> bool:
        """Whether so many trials are spread over the devices, instead of rows."""
        return self.mode == "jit" and trials >= len(self.devices) > 1

    def multiple(self, trials: int) -> int:
        """What the size of a batch of that many trials must be a multiple of."""
        return len(self.devices) if self.spreads(trials) else 1

    def sees_rows(self, trials: int) -> bool:
        """Whether a step has its rows to itself: neither batched by `vmap` nor spread by `jit`.

        Some kernels need that, or are faster then.
        """
        batched = trials > 1 and not self.one_by_one
        return not batched and (len(self.devices) == 1 or self.mode == "pmap")

    @property
    def one_by_one(self) -> bool:
        """Whether trials run one after the other; see `over_trials`."""
        return len(self.devices) == 1 and self.devices[0].platform == "cpu"

    def place(self, tree: Any, trials: int) -> Any:
        """A pytree `[T, ...]` on the devices, its trials spread or all on each."""
        return jax.device_put(tree, self.by_trial if self.spreads(trials) else self.replicated)

    def replicate(self, tree: Any) -> Any:
        """A copy of a pytree on every device."""
        return jax.device_put(tree, self.replicated)

    def lay_out(self, plan: Any) -> Any:
        """A plan of arrays `[T, s, b]`, its trials or its rows spread over the devices."""
        if self.mode == "jit":
            return jax.device_put(plan, self._of_plan(_trials(plan)))
        n = len(self.devices)
        split = lambda x: np.moveaxis(x.reshape(*x.shape[:2], n, -1), 2, 0)  # n T s b/n
        return jax.tree.map(split, plan)

    def _of_plan(self, trials: int) -> NamedSharding:
        return self.by_trial if self.spreads(trials) else self.by_row_of_trial

    def over_trials(
        self, function: Callable[..., Any], in_axes: tuple[int | None, ...]
    ) -> Callable[..., Any]:
        """`function` over the leading axis of the arguments whose axis is 0.

        One trial is called as if there were no axis: not every kernel has a batched form. Several
        run as one by `vmap`; but one after the other on a single CPU device, which has no idle
        units to fill and multiplies many small matrices slower than a few.
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
        trials = _trials(arguments[0])
        state = self.by_trial if self.spreads(trials) else self.replicated
        jitted = jax.jit(
            mapped,
            in_shardings=(state, self.replicated, self._of_plan(trials)),
            out_shardings=state,
            donate_argnums=0,
        )
        return jitted.lower(*arguments).compile()


def _trials(tree: Any) -> int:
    return len(jax.tree.leaves(tree)[0])
