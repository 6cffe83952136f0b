"""The loop: one compilation, early stopping, values that are not finite, resuming."""

import json
import math

import jax
import numpy as np
import pytest

from jaxsdgm.errors import UserError
from jaxsdgm.training.loop import Schedule, fit
from jaxsdgm.training.parallel import Parallel
from tests.training import tiny

PARALLEL = Parallel(devices=jax.local_devices()[:1])


def run(workdir, config=None, **changes):
    """A fit of the tiny task in a workdir; `changes` replace parts of the task."""
    config = config or tiny.config()
    task, state = tiny.task(PARALLEL, config)
    task = type(task)(**{**vars(task), **changes})
    workdir.mkdir(exist_ok=True)
    schedule = Schedule(**config.training)
    return fit(task, state, schedule=schedule, parallel=PARALLEL, workdir=workdir, about={})


def rows(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    times = ("seconds", "examples_per_second")
    return [{k: v for k, v in row.items() if k not in times} for row in lines]


def scores(*values):
    """An evaluation that gives these accuracies, one after the other."""
    remaining = iter(values)
    return lambda params, stats: {"accuracy": next(remaining)}


def test_one_trace_and_the_same_bits_after_an_interruption(tmp_path):
    task, _ = tiny.task(PARALLEL, tiny.config())
    traces = []

    def counted(state, data, plan):
        traces.append(1)
        return task.run(state, data, plan)

    whole = run(tmp_path / "whole", run=counted)
    assert len(traces) == 1
    calls = []

    def stops(params, stats):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return task.evaluate(params, stats)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", evaluate=stops)
    resumed = run(tmp_path / "cut")
    for a, b in zip(jax.tree.leaves(whole.state), jax.tree.leaves(resumed.state), strict=True):
        if not jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(jax.tree.leaves(whole.best), jax.tree.leaves(resumed.best), strict=True):
        np.testing.assert_array_equal(a, b)
    assert rows(tmp_path / "whole") == rows(tmp_path / "cut")


def test_patience_and_the_best_step(tmp_path):
    config = tiny.config()
    config.training.patience = 2
    result = run(tmp_path / "a", config, evaluate=scores(0.5, 0.7, 0.7, 0.6))
    assert (result.stopped, result.step, int(result.best.step)) == ("end", 8, 4)
    config.training.max_steps = 20
    result = run(tmp_path / "b", config, evaluate=scores(0.5, 0.7, 0.7, 0.6))
    assert (result.stopped, result.step, int(result.best.step)) == ("patience", 8, 4)


def test_min_delta(tmp_path):
    config = tiny.config()
    config.training.min_delta = 0.25
    result = run(tmp_path / "a", config, evaluate=scores(0.1, 0.3, 0.4, 0.5))
    assert int(result.best.step) == 6


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path):
    run(tmp_path / "a")
    config = tiny.config()
    config.training.max_steps = 16
    task, _ = tiny.task(PARALLEL, config)

    def poisoned(start, count):
        plan = task.plan(start, count)
        plan["en"]["labelled"]["mask"][1] = math.nan  # the second step of the plan
        return plan

    with pytest.raises(UserError, match=r"stopped at step 9: .* is nan; the checkpoint of step 8"):
        run(tmp_path / "a", config, plan=poisoned)
    assert (tmp_path / "a" / "checkpoints" / "8").is_dir()


def test_an_evaluation_that_is_not_finite_stops_too(tmp_path):
    with pytest.raises(UserError, match="after step 2: dev accuracy is nan; no checkpoint was due"):
        run(tmp_path / "a", evaluate=scores(math.nan))
