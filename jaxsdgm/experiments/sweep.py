"""One config as many: seeds, the values of a sweep, and which of these is best."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from jaxsdgm.errors import UserError
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.setup import Config

#: where the fields of config.sweep are in a config
SWEPT = {
    "beta": "model.beta",
    "kl_weight": "model.kl_weight",
    "free_bits": "model.free_bits",
    "reconstruction_weight": "model.reconstruction_weight",
    "feature_weight": "model.feature_weight",
    "labelled_weight": "model.labelled_weight",
    "generation_weight": "model.generation_weight",
    "unlabelled_weight": "model.unlabelled_weight",
    "unlabelled_share": "data.unlabelled_share",
    "learning_rate": "learning_rate",
}


def tuned(config: Config) -> Config:
    """The config with the values that the sweep `config.tuned` chose."""
    if not config.tuned:
        return config
    path = Path(config.tuned) / "results.json"
    try:
        chosen = json.loads(path.read_text(encoding="utf-8"))["chosen"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"config.tuned: {path} is not the result of a sweep; give the workdir of a finished one"
        ) from None
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict({SWEPT[name]: value for name, value in chosen.items()})
    return config


def trials_of(config: Config) -> dict[str, Config]:
    """A config for every trial and every combination of the sweep's values, by sub-folder.

    Trials are seeds, of labelled draw and initialisation alike. A single run has the name "".
    """
    swept = {name: values for name, values in config.sweep.items() if values}
    found = {}
    for point in product(*swept.values()):
        values = dict(zip(swept, point, strict=True))
        for trial in range(config.trials):
            one = config.copy_and_resolve_references()
            with one.unlocked():
                one.trials, one.seed = 1, config.seed + trial
                if "subset_seed" in config.data:
                    one.data.subset_seed = config.data.subset_seed + trial
                one.sweep.update({name: (float(value),) for name, value in values.items()})
                one.update_from_flattened_dict({SWEPT[k]: float(x) for k, x in values.items()})
            parts = [f"{k}={x:g}" for k, x in values.items() if len(swept[k]) > 1]
            parts += [f"trial-{trial}"] if config.trials > 1 else []
            found[",".join(parts)] = one
    return found


def compare_points(
    configs: Mapping[str, Config],
    found: Sequence[dict[str, Any]],
    *,
    score: str = "accuracy",
    maximise: bool = True,
) -> dict[str, Any]:
    """Scores of the trials of every point of a sweep; the best mean on dev is chosen.

    A point with a trial that could not go on is not.
    """
    points: dict[str, dict[str, Any]] = {}
    for (name, one), result in zip(configs.items(), found, strict=True):
        values = {k: x[0] for k, x in one.sweep.items() if x}
        point = points.setdefault(str(values), {"values": values, "runs": [], "failed": []})
        point["runs" if result else "failed"].append(result or name)
    for point in points.values():
        runs = point.pop("runs")
        for split in ("dev", "test") if runs else ():
            point[split] = setup.spread([result["metrics"][split][score] for result in runs])
    whole = [point for point in points.values() if not point["failed"]]
    if not whole:
        raise UserError("every point of the sweep has a trial that could not go on (see above)")
    best = (max if maximise else min)(whole, key=lambda point: point["dev"]["mean"])
    scores = {split: best[split] for split in ("dev", "test")}
    return {"points": list(points.values()), "chosen": best["values"], score: scores}
