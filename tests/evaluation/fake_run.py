"""The parts of a classification run's results.json that a comparison reads."""

import json
from importlib import import_module

from jaxsdgm.experiments import masked_lm
from jaxsdgm.experiments.baselines import BASELINES
from jaxsdgm.weights.word_vectors import name_of


def fake_run(accuracy=0.7, *, system="m1m2", language="en", n=32, seed=0, encoder=None, **data):
    run = {
        "kind": "classify",
        "name": "any",
        "system": system,
        "seed": seed,
        "language": language,
        "languages": [language],
        "config": {
            "seed": seed,
            "pretrained": "",
            "data": {"source": "debian", "dir": "x", "subset_seed": seed, **data},
            "model": {"decoder": "bow", "beta": 3.0},
        },
        "subset": {"n": n or 1000, "rule": "stratified" if n else "all", "seed": seed},
        "metrics": {"test": {"accuracy": accuracy}},
    }
    return run if encoder is None else {**run, "encoder": encoder}


def write_run(folder, run):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "results.json").write_text(json.dumps(run))


def run_from(config, *, languages=None):
    """What a finished run of a config would have in its results, as far as tables read it."""
    values = json.loads(config.to_json_best_effort())
    pretrained = config.experiment in ("pretrain", "masked_lm")
    run = {
        "kind": "pretrain" if pretrained else "classify",
        "name": config.name,
        "seed": config.seed,
        "config": values,
    }
    run |= {"training": {"seconds": 5400.0}, "device": "some device", "parameters": 1_234_567}
    run["languages"] = list(languages or config.data.languages)
    if config.experiment == "masked_lm":
        run["system"] = masked_lm.system(config)
    if pretrained:
        return run
    n = config.data.n_labels
    vectors = {"name": name_of(config.vectors)} if config.get("vectors") else None
    nxvae = config.pretrained and ("SNXVAE" if "snxvae" in config.pretrained else "NXVAE")
    name = config.encoder.checkpoint or nxvae or "BiLSTM"
    counts = {split: [10, 20, 30, 40] for split in ("train", "dev", "test")}
    run |= {
        "system": config.model.system,
        "language": config.data.language,
        "subset": {"n": n or 1000, "rule": "stratified" if n else "all", "seed": 0},
        "metrics": {"test": {"accuracy": 0.7}},
        "label_names": ["C", "E", "G", "M"],
        "data": {"source": config.data.source, "counts": counts},
    }
    if config.model.system in BASELINES:  # which train no encoder
        return run
    encoder = {"name": name, "trainable": config.encoder.trainable}
    return {**run, "encoder": encoder, "vectors": vectors}


def config_from(command):
    """The config that a command line of python -m jaxsdgm.main gives, folders by their names."""
    program, *flags = command.replace("FOLDER_OF_", "").split(" --")
    assert program == "python -m jaxsdgm.main"
    fields = dict(flag.split("=", 1) for flag in flags)
    path, argument = fields.pop("config").split(":")
    module = import_module(path.removesuffix(".py").replace("/", "."))
    config = module.get_config(argument)
    known = config.to_dict()
    for name, text in fields.items():
        parts = name.split(".")
        assert parts.pop(0) == "config"
        here = known
        for part in parts:
            assert part in here, f"{path} has no field {name}"
            here = here[part]
        value = type(here)(text) if not isinstance(here, tuple) else (float(text),)
        config.update_from_flattened_dict({".".join(parts): value})
    return config
