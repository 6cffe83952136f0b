"""Every semi-supervised system learns, from the labels and from the documents without one.

On generated text, one compiled program a system: shuffled labels must give chance, and without the
unlabelled documents the accuracy must fall.
"""

from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest

from configs import debian_classify
from jaxsdgm.experiments import classify
from jaxsdgm.experiments.inputs import Inputs, load_inputs
from jaxsdgm.experiments.outputs import make_predict, rows_of
from jaxsdgm.experiments.systems import build, make_initialise
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.trials import stack, stack_plans

LABELS, STEPS, SEEDS = 8, 150, (0, 1)
SYSTEMS = ("bow", "aux-bow")


def make_config(system):
    config = debian_classify.get_config(f"en,{LABELS},{system}")
    config.data.source = "generated"
    config.data.max_length = 60
    config.data.batch_size, config.data.unlabelled_size = LABELS, 64
    config.model.embedding = config.model.latent = 32
    config.model.hidden, config.model.classifier_hidden = 16, 32
    config.model.auxiliary_hidden = 32
    config.model.recurrence = "scan"
    config.learning_rate = 3e-3
    config.training.max_steps = STEPS
    return config


@cache
def inputs(system) -> Inputs:
    return load_inputs(make_config(system))


@cache
def accuracy(system, labels="true", unlabelled=True):
    """Mean test accuracy over the seeds; without unlabelled documents their masks are 0."""
    given, scores = inputs(system), []
    if labels == "shuffled":
        train = dict(given.splits["train"])
        train["labels"] = np.random.default_rng(0).permutation(train["labels"])
        given = replace(given, splits={**given.splits, "train": train})
    for seed in SEEDS:
        config = make_config(system)
        config.seed = seed
        run, predict, trial, data = program(system, config, given)
        plan = trial.plan(0, STEPS)
        if not unlabelled:
            plan["en"]["unlabelled"]["mask"][:] = 0
        state = stack([trial.make()])
        state, _ = run(state, data, stack_plans([plan]))
        test = given.splits["test"]
        log_q = predict(state.params, state.batch_stats, test)["log_q"][0]
        scores.append(float(np.mean(log_q.argmax(-1) == test["labels"])))
    return float(np.mean(scores))


def program(system, config, given):
    """The compiled scan and prediction, and a trial of a config and its documents."""
    parallel = Parallel(devices=jax.local_devices()[:1])
    model = build(config, given, parallel)
    trial = classify.make_trial(config, model, given, parallel, None, make_initialise(model, given))
    task = classify.make_task(config, model, given, parallel)
    run, predict = compiled(system, task, trial, model, parallel)
    return run, lambda p, s, rows: predict(p, s, rows_of(rows, model)), trial, task.read()


PROGRAMS = {}


def compiled(system, task, trial, model, parallel):
    if system not in PROGRAMS:
        arguments = stack([trial.make()]), parallel.replicate(task.read())
        plan = parallel.lay_out(stack_plans([trial.plan(0, STEPS)]))
        run = parallel.compile(task.run, *arguments, plan)
        PROGRAMS[system] = run, make_predict(model, "en", parallel, trials=True)
    return PROGRAMS[system]


@pytest.mark.parametrize("system", SYSTEMS)
def test_labels_and_unlabelled_documents_are_used(system):
    learned = accuracy(system)
    assert learned > 0.6
    assert accuracy(system, labels="shuffled") < 0.4
    assert accuracy(system, unlabelled=False) < learned - 0.05
