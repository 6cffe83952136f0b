"""Every semi-supervised system learns, from the labels and from the documents without one.

On generated text and frozen features of it, with one compiled program a system: shuffled labels
must not do better than chance, and without the unlabelled documents the accuracy must fall.
"""

from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest

from configs import debian_e5
from jaxsdgm.experiments import classify
from jaxsdgm.experiments.inputs import Inputs, load_inputs, redraw
from jaxsdgm.experiments.outputs import make_predict, rows_of
from jaxsdgm.experiments.systems import build, make_initialise
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.trials import stack, stack_plans

LABELS, STEPS, SEEDS = 4, 1500, (0,)
NOISE = 1.2  # a document is about as far from its cluster's centre as from another's
SYSTEMS = ("m1m2", "aux")


def make_config(system):
    config = debian_e5.get_config(f"en,{LABELS},bow")
    config.model.system = system
    config.model.auxiliary_hidden = 64
    config.data.source = "generated"
    config.encoder.checkpoint = ""
    config.training.max_steps = STEPS
    return config


@cache
def inputs() -> Inputs:
    """The generated corpus, and vectors of its documents in noisy clusters, one for each topic."""
    config = make_config("m1m2")
    config.encoder.trainable = True
    given, rng = load_inputs(config), np.random.default_rng(0)
    centres = rng.normal(size=(len(given.corpus.label_names), 16))
    splits = {}
    for split, arrays in given.splits.items():
        noise = rng.normal(size=(len(arrays["labels"]), 16))
        features = centres[arrays["labels"]] + NOISE * noise
        splits[split] = {**arrays, "features": features.astype(np.float32)}
    return replace(given, splits=splits)


@cache
def accuracy(system, labels="true", unlabelled=True):
    """Mean test accuracy over the seeds; without unlabelled documents their masks are 0."""
    given, scores = inputs(), []
    if labels == "shuffled":
        train = dict(given.splits["train"])
        train["labels"] = np.random.default_rng(0).permutation(train["labels"])
        given = replace(given, splits={**given.splits, "train": train})
    for seed in SEEDS:
        config = make_config(system)
        config.seed = seed
        config.data.subset_seed = seed
        run, predict, trial, data = program(system, config, redraw(given, config))
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
    task = classify.make_task(config, model, [given], parallel)
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


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_labels_and_unlabelled_documents_are_used(system):
    learned = accuracy(system)
    assert learned > 0.6
    assert accuracy(system, labels="shuffled") < 0.4
    assert accuracy(system, unlabelled=False) < learned - 0.05
