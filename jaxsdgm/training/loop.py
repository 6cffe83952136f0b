"""The loop round the scans: evaluate, keep the best, stop early, save, resume."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsdgm.errors import UserError
from jaxsdgm.training.checkpoints import Checkpoints
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.progress import MetricsWriter, Progress, log
from jaxsdgm.training.state import Best, TrainState, compare, nothing_yet


@dataclass(frozen=True)
class Schedule:
    """When to evaluate, save and stop. Steps are those of the scan (rounds over the phases).

    Training ends with the evaluation that reaches `max_steps`: every window between evaluations
    has the same length, so that a run is compiled once. `select` says whose parameters are kept:
    those of the best evaluation, or of the last, which asks nothing of a development set.
    """

    max_steps: int
    eval_every: int
    patience: int = 0  # evaluations without improvement, 0: never stop early
    min_delta: float = 0.0
    checkpoint_seconds: float = 60.0
    select: str = "best"

    def __post_init__(self) -> None:
        if self.select not in ("best", "last"):
            raise UserError(f"config.training.select is {self.select!r}; use one of best, last")

    @property
    def last_step(self) -> int:
        """`max_steps`, or the end of the window that it lies in."""
        return -(-self.max_steps // self.eval_every) * self.eval_every


@dataclass(frozen=True)
class Task:
    """What is trained, as pure functions over arrays; see `fit`."""

    name: str
    run: Callable[..., Any]  # make_run's scan
    data: Any  # {phase: {group: {name: [n, ...]}}}
    plan: Callable[[int, int], Any]  # (start, count) -> {phase: {group: rows}}
    evaluate: Callable[[Any, Any], dict[str, float]]  # (params, batch_stats) -> dev metrics
    score: str  # the dev metric that selects
    maximise: bool


@dataclass
class Fit:
    """How a run went; times and counts are those of all attempts, resumed ones too."""

    state: TrainState
    best: Best
    step: int
    stopped: str
    seconds: float
    compile_seconds: float
    examples: int


def fit(
    task: Task,
    state: TrainState,
    *,
    schedule: Schedule,
    parallel: Parallel,
    workdir: Path,
    about: dict[str, Any],
    tensorboard: bool = False,
) -> Fit:
    """Trains until `schedule` says so, resuming from the newest checkpoint in `workdir`.

    The run ends in the same bits however often it was interrupted. A value that is not finite
    raises UserError, names the step and the term, and leaves the last good checkpoint.
    """
    # closed on errors too: at exit, a write that goes on in the background would be lost
    with closing(Checkpoints(workdir, about)) as checkpoints:
        return _train(
            task,
            state,
            checkpoints,
            schedule=schedule,
            parallel=parallel,
            workdir=workdir,
            tensorboard=tensorboard,
        )


def _train(
    task: Task,
    state: TrainState,
    checkpoints: Checkpoints,
    *,
    schedule: Schedule,
    parallel: Parallel,
    workdir: Path,
    tensorboard: bool,
) -> Fit:
    best = nothing_yet(state, maximise=task.maximise)
    notes = {"step": 0, "examples": 0, "seconds": 0.0, "compile_seconds": 0.0}
    if restored := checkpoints.restore({"state": state, "best": best}):
        state, best = restored[0]["state"], restored[0]["best"]
        notes = {key: restored[1][key] for key in notes}
        log.info("%s: resumed from step %d", task.name, notes["step"])
    state, best, data = parallel.replicate((state, best, task.data))
    writer = MetricsWriter(workdir, resume_step=notes["step"], tensorboard=tensorboard)
    min_delta = -math.inf if schedule.select == "last" else schedule.min_delta  # always better
    better = jax.jit(
        partial(compare, maximise=task.maximise, min_delta=min_delta), donate_argnums=0
    )
    progress = Progress(task.name, schedule.last_step)
    compiled, stopped, saved = None, "end", notes["step"]
    clock = _Clock(notes["seconds"])
    while notes["step"] < schedule.last_step:
        if schedule.patience and int(best.failures) >= schedule.patience:
            stopped = "patience"
            break
        start, count = notes["step"], schedule.eval_every
        plan = task.plan(start, count)
        batches = parallel.lay_out(plan)
        if compiled is None:
            before = time.monotonic()
            compiled = parallel.compile(task.run, state, data, batches)
            notes["compile_seconds"] += time.monotonic() - before
        before = time.monotonic()
        state, history = compiled(state, data, batches)
        history = jax.device_get(history)
        _check_history(history, start, saved)
        examples = _examples(plan)
        rate = examples / (time.monotonic() - before)
        metrics = task.evaluate(state.params, state.batch_stats)
        _check_finite(metrics, f"after step {start + count}: dev", saved)
        best = better(best, state, jnp.asarray(metrics[task.score], jnp.float32))
        notes.update(step=start + count, examples=notes["examples"] + examples)
        notes["seconds"] = clock.total()
        row = {"step": notes["step"], "seconds": round(notes["seconds"], 3)}
        row.update({"examples_per_second": round(rate, 1), **_means(history)})
        writer.write({**row, **{f"dev/{key}": value for key, value in metrics.items()}})
        progress.report(notes["step"], rate, _message(row, metrics, task.score, float(best.score)))
        if clock.since_save() >= schedule.checkpoint_seconds:
            checkpoints.save(notes["step"], {"state": state, "best": best}, notes)
            saved = notes["step"]
            clock.saved()
    if saved != notes["step"]:
        checkpoints.save(notes["step"], {"state": state, "best": best}, notes)
    return Fit(state, best, stopped=stopped, **notes)


class _Clock:
    """Seconds of all attempts, and since the last save."""

    def __init__(self, before: float) -> None:
        self.before, self.started = before, time.monotonic()
        self.last = self.started

    def total(self) -> float:
        return self.before + time.monotonic() - self.started

    def since_save(self) -> float:
        return time.monotonic() - self.last

    def saved(self) -> None:
        self.last = time.monotonic()


def _examples(plan: Any) -> int:
    """Documents in a plan, fillers left out."""
    return sum(int(rows["mask"].sum()) for groups in plan.values() for rows in groups.values())


def _means(history: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Mean over the steps of every metric; the phase is named where there are several."""
    label = (lambda p, k: f"train/{k}") if len(history) == 1 else (lambda p, k: f"train/{p}/{k}")
    means = {label(p, k): float(x.mean()) for p, terms in history.items() for k, x in terms.items()}
    losses = [terms["loss"].mean() for terms in history.values()]
    return {**means, "train/loss": float(np.mean(losses))}


def _message(row: dict[str, Any], metrics: dict[str, float], score: str, best: float) -> str:
    loss = f"loss {row['train/loss']:.4g}"
    return f"{loss} | dev {score} {metrics[score]:.4g} (best {best:.4g})"


def _check_history(history: Any, start: int, saved: int) -> None:
    """Names the first step, and its first term, that is not finite."""
    bad = [
        (int(np.flatnonzero(~np.isfinite(values))[0]), name == "loss", name, values)
        for terms in history.values()
        for name, values in terms.items()
        if not np.isfinite(values).all()
    ]
    if bad:
        at, _, name, values = min(bad, key=lambda entry: entry[:2])
        _stop(f"step {start + at}: {name} is {values[at]}", saved)


def _check_finite(metrics: dict[str, float], place: str, saved: int) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            _stop(f"{place} {name} is {value}", saved)


def _stop(what: str, saved: int) -> None:
    kept = f"the checkpoint of step {saved} is kept" if saved else "no checkpoint was due yet"
    raise UserError(f"training stopped at {what}; {kept}; try a lower config.learning_rate")
