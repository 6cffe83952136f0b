"""The parts of a classification run's results.json that a comparison reads."""

import json


def fake_run(accuracy=0.7, *, system="m1m2", language="en", n=32, seed=0, encoder=None, **data):
    run = {
        "kind": "classify",
        "name": "any",
        "system": system,
        "seed": seed,
        "language": language,
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
