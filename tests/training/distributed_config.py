"""A config file: the small M1+M2 run, as quick to compile as can be."""

from ml_collections import ConfigDict

from tests.training import tiny


def get_config() -> ConfigDict:
    config = tiny.config()
    config.model.layers, config.model.recurrence = 1, "scan"
    config.training.max_steps = 4
    return config
