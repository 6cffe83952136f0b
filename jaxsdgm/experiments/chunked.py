"""Functions of documents over any number of them: evaluation and prediction."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxsdgm.training.parallel import AXIS, TRIALS, Parallel
from jaxsdgm.training.processes import fetch

Rows = Mapping[str, np.ndarray]  # {name: [n, ...]}


class Chunked:
    """`function(params, batch_stats, rows)` over any number of rows, `chunk` at a time.

    Rows are filled up to whole chunks, spread over the devices, and the answers `[n, ...]` come
    back to the host. With `trials` the parameters are `[T, ...]` and the answers `[T, n, ...]`;
    with `own_rows` every trial has its own rows, as many as the others: a list of T.
    """

    def __init__(
        self,
        function: Callable[..., dict[str, jax.Array]],
        parallel: Parallel,
        *,
        chunk: int,
        trials: bool = False,
        own_rows: bool = False,
    ) -> None:
        n_devices = len(parallel.devices)
        self.parallel, self.chunk = parallel, -(-chunk // n_devices) * n_devices
        self.trials, self.own_rows = trials, own_rows

        def over_chunks(params: Any, batch_stats: Any, rows: Any) -> Any:
            return jax.lax.map(lambda part: function(params, batch_stats, part), rows)

        mapped = parallel.over_trials(over_chunks, (0, 0, 0 if own_rows else None))
        of_rows = P(TRIALS, None, AXIS) if own_rows else P(None, AXIS)
        specs: dict[str, Any] = {"in_specs": (P(TRIALS), P(TRIALS), of_rows)}
        specs["out_specs"] = P(TRIALS, None, AXIS)
        self.program = cache(lambda count: jax.jit(parallel.shard(mapped, trials=count, **specs)))

    def __call__(self, params: Any, batch_stats: Any, rows: Any) -> dict[str, np.ndarray]:
        n = len(next(iter((rows[0] if self.own_rows else rows).values())))
        program, arguments = self._prepare(params, batch_stats, rows)
        answers = fetch(program(*arguments))  # T chunks chunk ...
        joined = {k: x.reshape(len(x), -1, *x.shape[3:])[:, :n] for k, x in answers.items()}
        return joined if self.trials else {name: x[0] for name, x in joined.items()}

    def compile(self, params: Any, batch_stats: Any, rows: Any) -> None:
        """Compiles what a call with such arguments runs."""
        program, arguments = self._prepare(params, batch_stats, rows)
        program.lower(*arguments).compile()

    def _prepare(self, params: Any, batch_stats: Any, rows: Any) -> tuple[Any, tuple[Any, ...]]:
        """The program for as many trials, and its arguments on the devices."""
        if not self.trials:
            params, batch_stats = jax.tree.map(lambda x: x[None], (params, batch_stats))
        count = len(jax.tree.leaves(params)[0])
        placed = self.parallel.place((params, batch_stats), count)
        padded = [self._padded(x) for x in (rows if self.own_rows else [rows])]
        together = jax.tree.map(lambda *x: np.stack(x), *padded) if self.own_rows else padded[0]
        rows = self.parallel.place_rows(together, count, own=self.own_rows)
        return self.program(count), (*placed, rows)

    def _padded(self, rows: Rows) -> dict[str, np.ndarray]:
        return {name: self._fill(name, x) for name, x in rows.items()}

    def _fill(self, name: str, x: np.ndarray) -> np.ndarray:
        """Rows `[n, ...]` as whole chunks `[chunks, chunk, ...]`."""
        # lengths of fillers are 1: a recurrence has no state after zero steps
        fill = np.ones if name == "lengths" else np.zeros
        whole = np.concatenate([x, fill((-len(x) % self.chunk, *x.shape[1:]), x.dtype)])
        return whole.reshape(-1, self.chunk, *x.shape[1:])
