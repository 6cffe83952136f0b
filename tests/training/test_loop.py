"""The loop: one compilation, early stopping, values that are not finite, resuming."""

import dataclasses
import json
import math
import threading
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify
from jaxsdgm.models.terms import masked_mean
from jaxsdgm.training.loop import Schedule, fit
from jaxsdgm.training.parallel import AXIS, Parallel
from jaxsdgm.training.state import adam, compare, create_state, nothing_yet
from jaxsdgm.training.step import make_run, make_step
from jaxsdgm.training.trials import Program, Task, Trial, shapes_of, stack
from tests.training import tiny

ROWS = 4  # of a step of the toy task


class OneCompilation(Parallel):
    """One device, and programs that are kept from one fit to the next."""

    def __init__(self):
        super().__init__(devices=jax.local_devices()[:1])
        self.programs = {}

    def compile(self, run, *arguments):
        if run not in self.programs:
            self.programs[run] = super().compile(run, *arguments)
        return self.programs[run]


def toy_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3)).astype(np.float32)
    return {"x": x, "y": x.sum(1), "scale": np.ones(100, np.float32)}


def toy_objective(params, batch_stats, batch, *, phase, hyper, key):
    """Least squares with noise, and a term whose gradient is nan (0 / 0) where "scale" is 0."""
    rows = batch["all"]
    error = (rows["x"] @ params["w"] - rows["y"] + 0.1 * jax.random.normal(key)) ** 2
    size = jnp.sqrt(rows["scale"] * (params["w"] ** 2).sum())
    terms = {"error": error, "size": size, "loss": error + 0.01 * size}
    return {"all": {k: masked_mean(v, rows["mask"], AXIS) for k, v in terms.items()}}, batch_stats


def toy_plan(start, count):
    """Step s reads the documents 4 s to 4 s + 3."""
    index = np.arange(start * ROWS, (start + count) * ROWS, dtype=np.int32).reshape(count, ROWS)
    row = np.broadcast_to(np.arange(ROWS, dtype=np.int32), index.shape)
    return {"en": {"all": {"index": index, "row": row, "mask": np.ones(index.shape, np.float32)}}}


def toy(**fields):
    """A task that compiles in no time, and its first state; `fields` replace parts of the task."""
    optimizer = adam()
    task = Task(
        "toy",
        make_run(make_step(toy_objective, optimizer, axis_name=AXIS)),
        toy_objective,
        shapes=shapes_of({"en": {"all": toy_data()}}),
        read=lambda: {"en": {"all": toy_data()}},
        evaluate=lambda params, stats, _: [{"accuracy": -float((w**2).sum())} for w in params["w"]],
        compile_evaluation=lambda *_: None,
        score="accuracy",
        maximise=True,
    )
    return dataclasses.replace(task, **fields), toy_trial()


def toy_trial(seed=0, rate=0.1, start=1.0):
    def make():
        params = {"params": {"w": np.full(3, start, np.float32)}}
        return create_state(params, adam(), seed=seed, hyper={"learning_rate": rate})

    return Trial(make, toy_plan, None, {})


def run(workdir, task_and_trial, parallel=None, **schedule):
    task, trial = task_and_trial
    (result,) = run_all({workdir: trial}, task, parallel, **schedule)
    return result


def run_all(trials, task, parallel=None, **schedule):
    for workdir in trials:
        workdir.mkdir(exist_ok=True, parents=True)
    trials = [dataclasses.replace(trial, workdir=workdir) for workdir, trial in trials.items()]
    plan = {"max_steps": 8, "eval_every": 2, "checkpoint_seconds": 0.0, **schedule}
    parallel = parallel or Parallel(devices=jax.local_devices()[:1])
    return fit(task, trials, schedule=Schedule(**plan), parallel=parallel)


def rows(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    times = ("seconds", "examples_per_second")
    return [{k: v for k, v in row.items() if k not in times} for row in lines]


def scores(*values):
    """An evaluation that gives these accuracies, one after the other."""
    remaining = iter(values)
    return lambda *_: [{"accuracy": next(remaining)}]


def interrupted(evaluate, after):
    """`evaluate`, but the process is stopped at its call number `after`."""
    calls = []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == after:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    return stops


def assert_same_bits(tree, other):
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def check_resuming(tmp_path, make, parallel, **schedule):
    """Whole, or stopped in the third evaluation and started again: the same bits."""
    whole = run(tmp_path / "whole", make(), parallel, **schedule)
    task, trial = make()
    cut = dataclasses.replace(task, evaluate=interrupted(task.evaluate, 3))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", (cut, trial), parallel, **schedule)
    resumed = run(tmp_path / "cut", make(), parallel, **schedule)
    assert_same_bits((whole.state, whole.best), (resumed.state, resumed.best))
    assert whole.examples == resumed.examples
    assert rows(tmp_path / "whole") == rows(tmp_path / "cut")


def test_m1m2_ends_in_the_same_bits_after_an_interruption_and_is_traced_once(tmp_path):
    parallel, traces = OneCompilation(), []
    task, trial = tiny.task(parallel, tiny.config())

    def counted(state, data, plan):
        traces.append(1)
        return task.run(state, data, plan)

    counting = dataclasses.replace(task, run=counted)
    check_resuming(tmp_path, lambda: (counting, trial), parallel)
    assert len(traces) == 1


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9])
def test_resuming_with_and_without_a_checkpoint(tmp_path, checkpoint_seconds):
    parallel = Parallel(devices=jax.local_devices()[:1])
    check_resuming(tmp_path, toy, parallel, checkpoint_seconds=checkpoint_seconds)


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_one_trace_a_fit(tmp_path, mode):
    parallel = Parallel(mode, jax.local_devices()[:1])
    task, trial = toy()
    traces = []

    def counted(*arguments):
        traces.append(1)
        return task.run(*arguments)

    result = run(tmp_path, (dataclasses.replace(task, run=counted), trial), parallel, max_steps=12)
    assert len(traces) == 1
    assert result.compile_seconds > 0.01  # not a part of the first steps' time


def test_patience_and_the_best_parameters(tmp_path):
    evaluate = scores(0.5, 0.7, 0.7, 0.6)
    result = run(tmp_path / "a", toy(evaluate=evaluate), patience=2)
    assert (result.stopped, result.step, int(result.best.step)) == ("end", 8, 4)
    evaluate = scores(0.5, 0.7, 0.7, 0.6)
    result = run(tmp_path / "b", toy(evaluate=evaluate), patience=2, max_steps=20)
    assert (result.stopped, result.step, int(result.best.step)) == ("patience", 8, 4)
    short = run(tmp_path / "c", toy(evaluate=scores(0.5, 0.7)), max_steps=4)
    assert_same_bits(result.best.params, short.state.params)  # those of step 4
    again = run(tmp_path / "b", toy(evaluate=scores()), patience=2, max_steps=20)
    assert (again.stopped, again.step) == ("patience", 8)


def test_the_last_parameters_need_no_score(tmp_path):
    result = run(tmp_path, toy(evaluate=scores(0.5, 0.7, 0.7, 0.6)), select="last")
    assert (int(result.best.step), float(result.best.score)) == (8, pytest.approx(0.6))
    assert_same_bits(result.best.params, result.state.params)
    with pytest.raises(UserError, match="config.training.select"):
        run(tmp_path / "b", toy(), select="first")


def test_training_ends_with_a_whole_window(tmp_path):
    result = run(tmp_path, toy(), max_steps=7, eval_every=3)
    assert (result.step, result.stopped) == (9, "end")


def test_an_improvement_is_more_than_min_delta(tmp_path):
    evaluate = scores(0.1, 0.3, 0.4, 0.5)
    result = run(tmp_path / "a", toy(evaluate=evaluate), min_delta=0.25)
    assert int(result.best.step) == 6
    down = {"evaluate": scores(0.5, 0.3, 0.2, 0.1), "maximise": False}
    result = run(tmp_path / "b", toy(**down), min_delta=0.25)
    assert (int(result.best.step), float(result.best.score)) == (6, pytest.approx(0.2))


@pytest.mark.parametrize(
    ("name", "value", "term"),
    [("y", math.nan, "all/error"), ("y", math.inf, "all/error"), ("scale", 0.0, "gradient_norm")],
)
def test_a_term_that_is_not_finite_stops_the_run_and_the_checkpoint_is_good(
    tmp_path, name, value, term
):
    task, trial = toy()
    broken = {"en": {"all": toy_data()}}
    broken["en"]["all"][name][5 * ROWS : 6 * ROWS] = value  # the documents of step 5
    message = rf"stopped at step 5: {term} is (nan|inf); the checkpoint of step 4 is kept"
    with pytest.raises(UserError, match=message):
        run(tmp_path, (dataclasses.replace(task, read=lambda: broken), trial))
    folders = (tmp_path / "checkpoints").iterdir()
    assert sorted(path.name for path in folders) == ["2", "4"]  # written to the end
    mended = run(tmp_path, toy())
    assert (mended.step, mended.stopped) == (8, "end")


def test_an_evaluation_that_is_not_finite_stops_too(tmp_path):
    with pytest.raises(UserError, match="after step 2: dev accuracy is nan; no checkpoint was due"):
        run(tmp_path, toy(evaluate=scores(math.nan)))


def test_the_data_are_read_while_scan_and_evaluation_are_compiled(tmp_path):
    together = threading.Barrier(2, timeout=60)

    def read():
        together.wait()
        return toy_task.read()

    toy_task, trial = toy()
    compile_evaluation = lambda *_: together.wait()
    task = dataclasses.replace(toy_task, read=read, compile_evaluation=compile_evaluation)
    assert run(tmp_path, (task, trial)).stopped == "end"


def test_data_that_cannot_be_read_stop_the_run(tmp_path):
    def read():
        raise UserError("text.txt:3: broken")

    with pytest.raises(UserError, match=r"text\.txt:3: broken"):
        run(tmp_path, toy(read=read))


def test_the_evaluation_is_compiled_once():
    parallel = Parallel(devices=jax.local_devices()[:1])
    task, trial = tiny.task(parallel, tiny.config())
    state = parallel.place(stack([trial.make()]), 1)
    compiled = []
    listener = lambda event, seconds, **_: compiled.append("backend_compile" in event)
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        task.compile_evaluation(state.params, state.batch_stats, [0])
        heard = sum(compiled)
        task.evaluate(state.params, state.batch_stats, [0])
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert sum(compiled) == heard > 0


def test_no_host_work_in_the_inner_loop(tmp_path):
    """An epoch, its evaluation and its bookkeeping move nothing but what they say they move."""
    parallel = Parallel(devices=jax.local_devices()[:1])
    task, trial = tiny.task(parallel, tiny.config(), tmp_path)
    epoch = classify.make_plan(tiny.config(), tiny.inputs(), 1).steps_per_epoch
    tree = {"state": (state := trial.make()), "best": nothing_yet(state, maximise=True)}
    better = jax.jit(jax.vmap(partial(compare, maximise=True, min_delta=0.0)))
    program = Program(task, {0: trial.plan}, {0: tree}, parallel, better)
    first = program.advance(0, epoch)[0]
    with jax.transfer_guard("disallow"):
        second = program.advance(epoch, epoch)[0]
    assert second.history["en"]["loss"].shape == (epoch,)
    assert second.examples == first.examples


@pytest.mark.parametrize("n_devices", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_streamed_documents_train_the_same_run(tmp_path, monkeypatch, n_devices):
    """Kept on the host and moved a step or two at a time: the same run but for rounding.

    The compiler fuses another program where documents are not gathered. Adam makes a small move of
    a gradient that is nothing but rounding: hence almost all parameters, not all.
    """
    parallel = Parallel(devices=jax.local_devices()[:n_devices])
    config = tiny.config()
    config.training.eval_every = 4
    resident = run(tmp_path / "a", tiny.task(parallel, config), parallel, eval_every=4)
    config.data.resident_gib = 0.0
    monkeypatch.setattr(classify, "SEGMENT", 18_000)
    task, trial = tiny.task(parallel, config)
    assert 1 <= task.segment < 4
    assert not jax.tree.leaves(task.shapes)
    streamed = run(tmp_path / "b", (task, trial), parallel, eval_every=4)
    for expected, found in zip(rows(tmp_path / "a"), rows(tmp_path / "b"), strict=True):
        for measure in ("dev/accuracy", "dev/macro_f1"):  # a document that is nearly a tie may turn
            assert found.pop(measure) == pytest.approx(expected.pop(measure), abs=0.05)
        assert found == pytest.approx(expected, rel=1e-5)
    flat = lambda fitted: np.concatenate([*map(np.ravel, jax.tree.leaves(fitted.state.params))])
    assert np.mean(np.abs(flat(streamed) - flat(resident)) < 1e-6) > 0.99


def test_a_profile_is_written_and_changes_nothing(tmp_path):
    task, trial = toy()
    expected = run(tmp_path / "plain", (task, trial))
    traced = dataclasses.replace(trial, workdir=tmp_path / "traced")
    traced.workdir.mkdir()
    schedule = Schedule(max_steps=8, eval_every=2)
    parallel = Parallel(devices=jax.local_devices()[:1])
    (result,) = fit(task, [traced], schedule=schedule, parallel=parallel, profile=True)
    assert_same_bits(result.best, expected.best)
    assert list((tmp_path / "traced" / "profile").rglob("*.xplane.pb"))
