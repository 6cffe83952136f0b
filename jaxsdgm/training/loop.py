"""The loop round the scans: evaluate, keep the best, stop early, save, resume; trial by trial."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxsdgm.errors import UserError
from jaxsdgm.training import throughput
from jaxsdgm.training.checkpoints import Checkpoints
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.processes import share, to_host
from jaxsdgm.training.progress import MetricsWriter, Progress, log
from jaxsdgm.training.state import Best, TrainState, compare, nothing_yet
from jaxsdgm.training.trials import Program, Task, Trial, Window


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


#: in a profile
TRACED_STEPS = 3

#: how a run ends that went well; any other reason is a message
ENDS = ("end", "patience")


@dataclass
class Fit:
    """How a run went; times and counts are those of all attempts, resumed ones too.

    `stopped` is one of ENDS, or why the run could not go on. Seconds are those of the program,
    which trained `trials` runs in the same time.
    """

    state: TrainState
    best: Best
    step: int
    stopped: str
    seconds: float
    compile_seconds: float
    examples: int
    trials: int

    @property
    def ended_well(self) -> bool:
        return self.stopped in ENDS


def fit(
    task: Task,
    trials: Sequence[Trial],
    *,
    schedule: Schedule,
    parallel: Parallel,
    tensorboard: bool = False,
    profile: bool = False,
) -> list[Fit]:
    """Trains all trials side by side, each until `schedule` says so, from their checkpoints.

    A run ends in the same bits however often it was interrupted (of several trials, to rounding:
    a program of another size may sum in another order). Trials that have ended are taken out
    of the program whenever half of those in it have. `profile` writes a trace of a few steps into
    the first workdir. A value that is not finite ends its trial
    and leaves the last good checkpoint; where all trials end so, UserError names step and term.
    """
    with ExitStack() as stack:
        runs = []
        for number, trial in enumerate(trials):
            checkpoints = Checkpoints(trial.workdir, trial.about)
            # closed on errors too: at exit, a write that goes on in the background would be lost
            runs.append(_Run(task, trial, number, stack.enter_context(closing(checkpoints))))
        going = _aligned(task, runs)
        _train(task, going, schedule, parallel, tensorboard, trials[0].workdir if profile else None)
    fits = [Fit(**run.tree, trials=len(runs), **run.notes) for run in runs]
    bad = [(trial.workdir, f.stopped) for trial, f in zip(trials, fits, strict=True)]
    bad = [(workdir, reason) for workdir, reason in bad if reason not in ENDS]
    if len(bad) == len(fits):
        raise UserError(bad[0][1])
    for workdir, reason in bad:
        log.warning("%s: %s", workdir, reason)
    return fits


class _Run:
    """The bookkeeping of a trial; `tree` is None while the trial is in the program."""

    tree: Any
    writer: MetricsWriter

    def __init__(self, task: Task, trial: Trial, number: int, checkpoints: Checkpoints) -> None:
        self.task, self.trial, self.number, self.checkpoints = task, trial, number, checkpoints
        self.restore()

    def restore(self, at_most: int | None = None) -> None:
        """The newest checkpoint, of a step of `at_most`, or the beginning where there is none."""
        state = self.trial.make()
        self.tree = {"state": state, "best": nothing_yet(state, maximise=self.task.maximise)}
        self.notes: dict[str, Any] = {"step": 0, "stopped": "", "examples": 0}
        self.notes |= {"seconds": 0.0, "compile_seconds": 0.0}
        if restored := self.checkpoints.restore(self.tree, at_most):
            self.tree = restored[0]
            self.notes = {key: restored[1][key] for key in self.notes}
        self.saved = self.notes["step"]

    def start(self, tensorboard: bool) -> Any:
        """Opens what is written while it trains, and gives the tree away."""
        step, self.before = self.notes["step"], self.notes["seconds"]
        self.writer = MetricsWriter(self.trial.workdir, resume_step=step, tensorboard=tensorboard)
        tree, self.tree = self.tree, None
        return tree

    def record(self, window: Window, step: int, seconds: float) -> list[dict[str, Any]]:
        """Notes and writes what a window brought: one row, or none where it cannot be used."""
        self.notes["stopped"] = _problem(window, self.notes["step"], step, self.saved)
        if self.notes["stopped"]:
            return []
        self.notes |= {"step": step, "seconds": self.before + seconds}
        self.notes["examples"] += window.examples
        self.notes["compile_seconds"] += window.compiling
        row = {"step": step, "seconds": round(self.notes["seconds"], 3)}
        row["examples_per_second"] = round(window.examples / window.training, 1)
        row.update(_means(window.history))
        row.update({f"dev/{key}": value for key, value in window.metrics.items()})
        self.writer.write(row)
        return [{**row, "best": window.best}]

    def save(self, tree: Any) -> None:
        """Starts writing a checkpoint."""
        self.checkpoints.save(self.notes["step"], to_host(tree), self.notes)
        self.saved = self.notes["step"]

    def end(self, reason: str, tree: Any) -> None:
        """Takes the tree back; it is saved where the run went well."""
        self.notes["stopped"], self.tree = reason, to_host(tree)
        if reason in ENDS:
            self.save(tree)


def _aligned(task: Task, runs: Sequence[_Run]) -> list[_Run]:
    """The runs that go on, all brought to the newest step that each of them has.

    They differ where the program was stopped between the saves of two trials.
    """
    going = [run for run in runs if not run.notes["stopped"]]
    start = min((run.notes["step"] for run in going), default=0)
    for run in going:
        if run.notes["step"] > start:
            run.restore(start)
    if start:
        log.info("%s: resumed from step %d", task.name, start)
    return going


def _train(
    task: Task,
    runs: Sequence[_Run],
    schedule: Schedule,
    parallel: Parallel,
    tensorboard: bool,
    traced: Path | None,
) -> None:
    """Trains runs that stand at the same step until each has ended and has its tree back."""
    if not runs:
        return
    min_delta = -math.inf if schedule.select == "last" else schedule.min_delta  # always better
    better = jax.vmap(partial(compare, maximise=task.maximise, min_delta=min_delta))
    active, step = {run.number: run for run in runs}, runs[0].notes["step"]
    plans = {i: run.trial.plan for i, run in active.items()}
    trees = {i: run.start(tensorboard) for i, run in active.items()}
    program = Program(task, plans, trees, parallel, jax.jit(better, donate_argnums=0))
    progress, clock = Progress(task.name, schedule.last_step), _Clock()
    if traced:
        program.profile(step, TRACED_STEPS, traced / "profile")
        log.info("%s: a trace of %d steps is in %s", task.name, TRACED_STEPS, traced / "profile")
    while active:
        windows = program.advance(step, schedule.eval_every)
        step += schedule.eval_every
        due = share(partial(clock.due, schedule.checkpoint_seconds))
        seconds, rows = clock.total(), []
        for i, run in active.items():
            rows += run.record(windows[i], step, seconds)
        if rows:
            rate = sum(row["examples_per_second"] for row in rows)
            speed = _speed([windows[i] for i in active], parallel)
            progress.report(step, rate, f"{_message(rows, task.score)} | {speed}")
        for i, run in list(active.items()):
            reason = run.notes["stopped"] or _end(schedule, step, windows[i])
            if reason:
                run.end(reason, program.tree_of(i))
                del active[i]
            elif due:
                run.save(program.tree_of(i))
        if active:
            program.shrink(list(active))


def _end(schedule: Schedule, step: int, window: Window) -> str:
    """One of ENDS, or nothing."""
    if step >= schedule.last_step:
        return "end"
    return "patience" if window.ended or 0 < schedule.patience <= window.failures else ""


class _Clock:
    """Seconds since the beginning, and since the last save."""

    def __init__(self) -> None:
        self.started = self.saved = time.monotonic()

    def total(self) -> float:
        return time.monotonic() - self.started

    def due(self, seconds: float) -> bool:
        """Whether so many have passed since this was last so."""
        now = time.monotonic()
        due = now - self.saved >= seconds
        self.saved = now if due else self.saved
        return due


def _means(history: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Mean over the steps of every metric; the phase is named where there are several."""
    label = (lambda p, k: f"train/{k}") if len(history) == 1 else (lambda p, k: f"train/{p}/{k}")
    means = {label(p, k): float(x.mean()) for p, terms in history.items() for k, x in terms.items()}
    losses = [terms["loss"].mean() for terms in history.values()]
    return {**means, "train/loss": float(np.mean(losses))}


def _message(rows: Sequence[Mapping[str, float]], score: str) -> str:
    """Loss, score and best score, as means over the trials that train."""
    mean = lambda name: float(np.mean([row[name] for row in rows]))
    many = f"{len(rows)} trials, " if len(rows) > 1 else ""
    found = f"dev {score} {mean(f'dev/{score}'):.4g} (best {mean('best'):.4g})"
    return f"{many}loss {mean('train/loss'):.4g} | {found}"


def _speed(windows: Sequence[Window], parallel: Parallel) -> str:
    """What the program computed a second; all its trials took the same time."""
    total = {dtype: sum(w.flops[dtype] for w in windows) for dtype in windows[0].flops}
    return throughput.message(total, windows[0].training, parallel.devices)


def _problem(window: Window, start: int, end: int, saved: int) -> str:
    """Names the first step, and its first term, that is not finite; nothing if all are."""
    bad = [
        (int(np.flatnonzero(~np.isfinite(values))[0]), name == "loss", name, values)
        for terms in window.history.values()
        for name, values in terms.items()
        if not np.isfinite(values).all()
    ]
    if bad:
        at, _, name, values = min(bad, key=lambda entry: entry[:2])
        return _stopped(f"step {start + at}: {name} is {values[at]}", saved)
    for name, value in window.metrics.items():
        if not math.isfinite(value):
            return _stopped(f"after step {end}: dev {name} is {value}", saved)
    return ""


def _stopped(where: str, saved: int) -> str:
    kept = f"the checkpoint of step {saved} is kept" if saved else "no checkpoint was due yet"
    return f"training stopped at {where}; {kept}; try a lower config.learning_rate"
