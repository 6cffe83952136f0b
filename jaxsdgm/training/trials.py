"""Runs that train side by side: a leading axis of trials on states, plans and evaluations."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.processes import fetch
from jaxsdgm.training.progress import compilations, duration, log, since_start
from jaxsdgm.training.state import TrainState
from jaxsdgm.training.throughput import Flops, step_flops

#: (start, count) -> {phase: {group: rows}}, arrays `[s, b]` of the steps [start, start + count)
Plan = Callable[[int, int], Any]


@dataclass(frozen=True)
class Task:
    """What is trained, as pure functions over arrays; see `fit`.

    `evaluate(params, batch_stats, trials)` takes arrays `[T, ...]` and which trials these are of,
    and gives the dev metrics of each; `compile_evaluation` takes the same and only compiles it. The
    shapes of the data are known before `read` gives them, so that scan and evaluation are compiled
    while it reads.
    """

    name: str
    run: Callable[..., Any]  # make_run's scan
    objective: Callable[..., Any]  # what its steps minimise
    shapes: Any  # {phase: {group: {name: [n, ...]}}}, see `shapes_of`
    read: Callable[[], Any]  # arrays of these shapes
    evaluate: Callable[[Any, Any, Sequence[int]], Sequence[dict[str, float]]]
    compile_evaluation: Callable[[Any, Any, Sequence[int]], None]
    score: str  # the dev metric that selects
    maximise: bool
    segment: int = 0  # steps, at most, whose plan is on the device at a time; 0: all of a window
    #: (states, bests, scores) `[T, ...]` -> states to go on with, after every evaluation
    between: Callable[[Any, Any, Any], Any] | None = None
    #: states -> which runs end with this evaluation, `[T]`
    ended: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Trial:
    """One run of a task: what differs between the runs that train side by side."""

    make: Callable[[], TrainState]  # its first state
    plan: Plan
    workdir: Path
    about: dict[str, Any]  # written into its checkpoints


@dataclass(frozen=True)
class Window:
    """What a trial did between two evaluations."""

    history: dict[str, dict[str, np.ndarray]]  # {phase: {metric: [s]}}
    metrics: dict[str, float]  # of the evaluation
    best: float  # score so far
    failures: int  # evaluations since
    ended: bool  # by the task's own rule
    examples: int
    flops: Flops  # of matrix products, by dtype
    compiling: float  # seconds
    training: float  # seconds; of all trials of the program together


def shapes_of(tree: Any) -> Any:
    """Shapes and dtypes in place of arrays."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def stack(trees: Sequence[Any]) -> Any:
    """Pytrees of `[...]` as one of `[T, ...]`."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@jax.jit
def take(tree: Any, slots: Any) -> Any:
    """The trials of a pytree `[T, ...]` at a slot, `[...]`, or at an array of slots, `[S, ...]`."""
    return jax.tree.map(lambda x: x[slots], tree)


def slots_of(active: Sequence[int], multiple: int) -> list[int]:
    """The trials of a batch of a size that `multiple` divides; the last one fills it up.

    A filler is trained like any other and its results are not read.
    """
    width = -(-len(active) // multiple) * multiple
    return [*active, *[active[-1]] * (width - len(active))]


def stack_plans(plans: Sequence[Any]) -> Any:
    """Plans {phase: {group: {name: [s, b]}}} as one of `[T, s, b]`.

    Narrower groups are filled up with rows that do not count.
    """
    first = plans[0]
    return {
        phase: {group: _stack_rows([plan[phase][group] for plan in plans]) for group in groups}
        for phase, groups in first.items()
    }


def _stack_rows(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    stacked = {name: _filled([x[name] for x in rows]) for name in rows[0] if name != "row"}
    width = stacked["index"].shape[2]
    widest = next(x["row"] for x in rows if x["row"].shape[1] == width)
    return {**stacked, "row": np.broadcast_to(widest, stacked["index"].shape)}


def _filled(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays `[s, b, ...]` as one of `[T, s, b, ...]`, with zeros up to the widest."""
    width = max(x.shape[1] for x in parts)
    fill = lambda x: np.pad(x, ((0, 0), (0, width - x.shape[1]), *((0, 0),) * (x.ndim - 2)))
    return np.stack([fill(x) for x in parts])


class Program:
    """The trials that train side by side: their arrays `[T, ...]` and the compiled scan.

    Trials have numbers; `slots` says which of them is where on the leading axis.

    Args:
      task: what is trained.
      plans: of every trial.
      trees: of every trial {"state": ..., "best": ...}; emptied, since the program has copies.
      parallel: the devices.
      better: `compare` over the leading axis.
    """

    def __init__(
        self,
        task: Task,
        plans: Mapping[int, Plan],
        trees: dict[int, Any],
        parallel: Parallel,
        better: Callable[..., Any],
    ) -> None:
        self.task, self.plans, self.parallel, self.better = task, plans, parallel, better
        self.compiled: Callable[..., Any] | None = None
        self.flops: Flops = {}
        self.slots = self._slots(list(trees))
        self.tree = self._place(stack([trees[i] for i in self.slots]))
        trees.clear()

    @cached_property
    def data(self) -> Any:
        """The documents on the devices."""
        return self.parallel.replicate(self.task.read())

    def _slots(self, trials: Sequence[int]) -> list[int]:
        return slots_of(trials, self.parallel.multiple(len(trials)))

    def _place(self, tree: Any) -> Any:
        return self.parallel.place(tree, len(self.slots))

    def shrink(self, trials: Sequence[int]) -> None:
        """Leaves these trials in, where that halves the program, which is compiled again."""
        slots = self._slots(trials)
        if len(slots) <= len(self.slots) // 2:
            places = np.array([self.slots.index(i) for i in slots])
            self.slots, self.compiled = slots, None
            self.tree = self._place(take(self.tree, places))

    def advance(self, start: int, count: int) -> dict[int, Window]:
        """Trains for `count` steps and evaluates: what came out, by trial."""
        began, compiling = time.monotonic(), 0.0
        histories, examples = [], np.zeros(len(self.slots), int)
        each = _divisor(count, self.task.segment)
        for first in range(start, start + count, each):
            # the device still works on the segment before: calls return before it is done
            plan = stack_plans([self.plans[i](first, each) for i in self.slots])
            batches = self.parallel.lay_out(plan)
            if self.compiled is None:
                self.compiled, compiling = self._compile(plan, batches)
            state, history = self.compiled(self.tree["state"], self.data, batches)
            self.tree = {**self.tree, "state": state}
            histories.append(history)
            examples += _examples(plan)
        history = jax.tree.map(lambda *parts: np.concatenate(parts, 1), *map(fetch, histories))
        training = time.monotonic() - began - compiling
        state = self.tree["state"]
        metrics = self.task.evaluate(state.params, state.batch_stats, self.slots)
        scores = self._place(np.array([one[self.task.score] for one in metrics], np.float32))
        self.tree = {"state": state, "best": self.better(self.tree["best"], state, scores)}
        best = self.tree["best"]
        best_scores, failures = fetch((best.score, best.failures))
        if self.task.between:
            self.tree["state"] = self.task.between(state, best, scores)
        ended = np.zeros(len(self.slots), bool)
        if self.task.ended:
            ended = fetch(self.task.ended(self.tree["state"]))
        flops = {dtype: count * x for dtype, x in self.flops.items()}
        windows = {}
        for slot, (i, n) in enumerate(zip(self.slots, examples, strict=True)):
            terms = jax.tree.map(lambda x, slot=slot: x[slot], history)
            found = float(best_scores[slot]), int(failures[slot]), bool(ended[slot])
            cost = int(n), flops, compiling, training
            windows[i] = Window(terms, metrics[slot], *found, *cost)
        return windows

    def _compile(self, plan: Any, batches: Any) -> tuple[Callable[..., Any], float]:
        """The compiled scan, and the seconds that this took.

        The evaluation is compiled at the same time, and meanwhile the data are read.
        """
        began, before = time.monotonic(), compilations()
        state, shapes = self.tree["state"], self.parallel.replicate(self.task.shapes)
        # several processes compile in one order, since compilers may talk with each other
        with ThreadPoolExecutor(2 if jax.process_count() == 1 else 1) as pool:
            scan = pool.submit(self.parallel.compile, self.task.run, state, shapes, batches)
            variables = state.params, state.batch_stats
            rest = pool.submit(self.task.compile_evaluation, *variables, self.slots)
            jax.block_until_ready(self.data)
            self.flops = step_flops(self.task.objective, state, shapes, plan)
            compiled, _ = scan.result(), rest.result()
        seconds = time.monotonic() - began
        hits, misses = (now - then for now, then in zip(compilations(), before, strict=True))
        cached = hits and not misses  # small programs are neither
        took = f"{'from the cache' if cached else 'compiled'} in {duration(seconds)}"
        log.info("%s: ready after %s, %s", self.task.name, duration(since_start()), took)
        return compiled, seconds

    def profile(self, start: int, count: int, folder: Path) -> None:
        """Writes a trace of a few steps, whose results are dropped, for TensorBoard or Perfetto."""
        plan = stack_plans([self.plans[i](start, count) for i in self.slots])
        copy = lambda: jax.tree.map(jnp.copy, self.tree["state"])  # a run donates its state
        arguments = self.data, self.parallel.lay_out(plan)
        compiled = self.parallel.compile(self.task.run, copy(), *arguments)
        jax.block_until_ready(compiled(copy(), *arguments))
        state = jax.block_until_ready(copy())
        with jax.profiler.trace(str(folder)):
            jax.block_until_ready(compiled(state, *arguments))

    def tree_of(self, trial: int) -> Any:
        """State and best parameters of a trial."""
        return take(self.tree, self.slots.index(trial))


def _divisor(count: int, at_most: int) -> int:
    """The largest divisor of `count` up to `at_most`, so that one program does for all parts."""
    if not at_most:
        return count
    return next(n for n in range(min(count, at_most), 0, -1) if count % n == 0)


def _examples(plan: Any) -> np.ndarray:
    """Documents in a plan `[T, s, b]`, fillers left out: `[T]`."""
    masks = [rows["mask"].sum((1, 2)) for groups in plan.values() for rows in groups.values()]
    return np.sum(masks, axis=0).astype(int)
