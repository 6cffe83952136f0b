"""A small M1+M2 run on the generated corpus, for tests of the engine."""

import functools

from configs import debian_classify
from jaxsdgm.experiments import classify
from jaxsdgm.experiments.inputs import Inputs, load_inputs, redraw
from jaxsdgm.experiments.systems import build, make_initialise


def config(system="bow"):
    config = debian_classify.get_config(f"en,32,{system}")
    config.data.source = "generated"
    config.data.max_length = 12
    config.data.batch_size, config.data.unlabelled_size = 7, 10
    config.model.embedding = config.model.latent = 8
    config.model.hidden, config.model.classifier_hidden = 6, 8
    config.model.recurrence = "scan"  # compiles in a third of the time
    config.model.label_prior = "estimated"
    config.training.checkpoint_seconds = 0.0
    config.training.max_steps, config.training.eval_every = 8, 2
    return config


@functools.cache
def inputs() -> Inputs:
    return load_inputs(config())


def task(parallel, config, workdir=None):
    """The task and a trial of it."""
    model = build(config, inputs(), parallel)
    initialise = make_initialise(model, inputs())
    own = redraw(inputs(), config)
    trial = classify.make_trial(config, model, own, parallel, workdir, initialise)
    return classify.make_task(config, model, [inputs()], parallel), trial
