"""Trials side by side are the runs that they would be alone."""

import dataclasses
import json
import math
import re

import jax
import numpy as np
import pytest

from jaxsdgm.data.batches import Plan
from jaxsdgm.errors import UserError
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.trials import slots_of, stack_plans
from tests.training import tiny
from tests.training.test_loop import interrupted, rows, run, run_all, toy, toy_trial

DEVICES = (1, 2, 4)  # one after the other; spread; spread, or its rows where there are fewer
RATES = (0.1, 1.0, 0.3, 0.0003, 0.05)


def toys():
    return {rate: toy_trial(seed, rate, start=-0.5) for seed, rate in enumerate(RATES)}


def toy_task():
    """Scores fall short of 0 by the distance from the solution."""

    def evaluate(params, stats, _):
        return [{"accuracy": -float(((w - 1) ** 2).sum())} for w in params["w"]]

    return toy(evaluate=evaluate)[0]


SCHEDULE = {"max_steps": 24, "patience": 2, "min_delta": 0.05}


def by_name(tmp_path, trials):
    return {tmp_path / str(name): trial for name, trial in trials.items()}


def assert_close(tree, other):
    """To float tolerance."""
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("n_devices", DEVICES)
def test_equal_to_separate_runs_with_early_stopping(tmp_path, n_devices):
    """With patience trials end at different steps, and the program shrinks on the way."""
    parallel = Parallel(devices=jax.local_devices()[:n_devices])
    task = toy_task()
    together = run_all(by_name(tmp_path, toys()), task, parallel, **SCHEDULE)
    assert len({result.step for result in together}) > 2
    for (name, trial), result in zip(toys().items(), together, strict=True):
        alone = run(tmp_path / f"alone-{name}", (task, trial), **SCHEDULE)
        assert (result.step, result.stopped) == (alone.step, alone.stopped)
        assert (result.trials, alone.trials) == (len(RATES), 1)
        assert_close(result.best, alone.best)
        assert_close(result.state, alone.state)
        for ours, theirs in zip(
            rows(tmp_path / str(name)), rows(tmp_path / f"alone-{name}"), strict=True
        ):
            assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("n_devices", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_m1m2_with_subsets_and_weights_of_its_own(tmp_path, n_devices):
    parallel, trials = Parallel(devices=jax.local_devices()[:n_devices]), {}
    for seed, beta in ((0, 10.0), (1, 30.0)):
        config = tiny.config()
        config.seed = config.data.subset_seed = seed
        config.model.beta = beta
        task, trials[seed] = tiny.task(parallel, config)
    run_all(by_name(tmp_path, trials), task, parallel, max_steps=4)
    run(tmp_path / "alone", (task, trials[1]), parallel, max_steps=4)
    pairs = zip(rows(tmp_path / "1"), rows(tmp_path / "alone"), strict=True)
    for ours, theirs in pairs:
        assert ours == pytest.approx(theirs, rel=1e-3)
    losses = [rows(tmp_path / str(seed))[-1]["train/loss"] for seed in trials]
    assert losses[0] != pytest.approx(losses[1], rel=0.01)


@pytest.mark.parametrize("stopped_in", [3, 6])
def test_resumed_to_the_same_numbers(tmp_path, stopped_in):
    task = toy_task()
    whole = run_all(by_name(tmp_path / "whole", toys()), task, **SCHEDULE)
    cut = dataclasses.replace(task, evaluate=interrupted(task.evaluate, stopped_in))
    with pytest.raises(KeyboardInterrupt):
        run_all(by_name(tmp_path / "cut", toys()), cut, **SCHEDULE)
    resumed = run_all(by_name(tmp_path / "cut", toys()), task, **SCHEDULE)
    assert [r.step for r in whole] == [r.step for r in resumed]
    assert_close([r.best for r in whole], [r.best for r in resumed])


def test_a_trial_whose_last_checkpoint_was_not_written_draws_the_others_back(tmp_path):
    task = toy_task()
    whole = run_all(by_name(tmp_path / "whole", toys()), task)
    cut = dataclasses.replace(task, evaluate=interrupted(task.evaluate, 4))
    with pytest.raises(KeyboardInterrupt):
        run_all(by_name(tmp_path / "cut", toys()), cut)
    for path in sorted((tmp_path / "cut" / "0.1" / "checkpoints" / "6").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "cut" / "0.1" / "checkpoints" / "6").rmdir()
    resumed = run_all(by_name(tmp_path / "cut", toys()), task)
    assert_close([r.state for r in whole], [r.state for r in resumed])


def test_a_trial_that_diverges_does_not_stop_the_others(tmp_path, caplog):
    task = toy_task()
    trials = {"good": toy_trial(0, 0.1), "bad": toy_trial(1, math.inf)}
    good, bad = run_all(by_name(tmp_path, trials), task)
    assert (good.stopped, good.step) == ("end", 8)
    assert "training stopped at step" in bad.stopped
    assert not bad.ended_well
    assert not list((tmp_path / "bad" / "checkpoints").glob("[0-9]*"))
    with pytest.raises(UserError, match="training stopped at step"):
        run_all({tmp_path / "alone": toy_trial(1, math.inf)}, task)


def test_trials_spread_over_devices_do_not_talk(tmp_path):
    """In the compiled program of four trials on four devices each is a group of its own."""
    parallel = Parallel(devices=jax.local_devices()[:4])
    task, trial = tiny.task(parallel, tiny.config())
    tree = parallel.place(jax.tree.map(lambda x: jax.numpy.stack([x] * 4), trial.make()), 4)
    plan = parallel.lay_out(stack_plans([trial.plan(0, 2)] * 4))
    text = parallel.compile(task.run, tree, parallel.replicate(task.read()), plan).as_text()
    assert set(re.findall(r"replica_groups=(.*?}})", text)) == {"{{0},{1},{2},{3}}"}
    for operation in ("all-gather", "all-to-all", "collective-permute"):
        assert operation not in text


def test_slots_and_fillers():
    assert slots_of([3, 5, 9], 2) == [3, 5, 9, 9]
    assert slots_of([3, 5], 1) == [3, 5]


def test_plans_of_unequal_width():
    def plan(width) -> dict[str, Plan]:
        row = np.tile(np.arange(width, dtype=np.int32), (2, 1))
        return {"en": {"all": {"index": row + 5, "mask": np.ones((2, width)), "row": row}}}

    stacked = stack_plans([plan(2), plan(3)])["en"]["all"]
    assert stacked["index"].tolist() == [[[5, 6, 0]] * 2, [[5, 6, 7]] * 2]
    assert stacked["mask"].tolist() == [[[1, 1, 0]] * 2, [[1, 1, 1]] * 2]
    assert stacked["row"].tolist() == [[[0, 1, 2]] * 2] * 2


def test_metrics_of_every_trial_are_its_own(tmp_path):
    task = toy_task()
    run_all(by_name(tmp_path, toys()), task)
    losses = []
    for rate in RATES:
        lines = (tmp_path / str(rate) / "metrics.jsonl").read_text().splitlines()
        losses.append(json.loads(lines[-1])["train/loss"])
    assert len(set(losses)) == len(RATES)
