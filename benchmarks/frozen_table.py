"""M1+M2+BOW on frozen features against logistic regression on the same: the table of the README.

    python benchmarks/frozen_table.py --corpus=debian --data=DIR --checkpoint=FOLDER --out=FILE
        [--languages=en,de,fr,ru,zh] [--labels=8,16,32,64,128] [--unlabelled=rest] [--twin=True]
        [field=value ...]

The five seeds of a cell (labelled draw and initialisation) train one after the other with one
compiled program: on a CPU core that takes half the time of training them side by side. Every cell
is a line of OUT.jsonl, and cells that are there already are not run again. `last` is the test
accuracy at the last step and needs no development set; `by dev` is that of the evaluation with the
best dev accuracy. Fields (model.beta=300) change the config for an ablation.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs import debian_e5, sib200_e5
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify, inputs, systems
from jaxsdgm.training.parallel import Parallel

CONFIGS = {"debian": debian_e5, "sib200": sib200_e5}
SEEDS = range(5)


def make_config(args: argparse.Namespace, language: str, n: int, seed: int) -> Any:
    system = "nxvae_z1" if args.twin else "bow"
    config = CONFIGS[args.corpus].get_config(f"{language},{n},{system}")
    config.data.dir, config.encoder.checkpoint = args.data, args.checkpoint
    config.seed = config.data.subset_seed = seed
    config.data.unlabelled = args.unlabelled
    if args.unlabelled:
        config.model.label_prior = "estimated"
    with config.unlocked():
        for name, value in (field.split("=") for field in args.fields):
            section, leaf = name.split(".")
            config[section][leaf] = type(config[section][leaf])(value)
    return config


def train(args: argparse.Namespace, base: inputs.Inputs, n: int) -> dict[str, np.ndarray]:
    """{split: accuracy [evaluations, seeds]} of one cell."""
    parallel = Parallel(devices=jax.local_devices()[:1])
    scores: dict[str, list[list[float]]] = {"dev": [], "test": []}
    run = predict = None
    for seed in SEEDS:
        config = make_config(args, base.language, n, seed)
        subset = inputs.draw_subset(config, base.corpus)
        unlabelled = np.setdiff1d(np.arange(len(base.splits["train"]["ids"])), subset.indices)
        one = dataclasses.replace(base, subset=subset, unlabelled=unlabelled)
        model = systems.build(config, one, axis_name=None)
        task, state = classify.make_task(config, model, one, parallel)
        # compiled for the first seed: the others differ in values only
        run = run or jax.jit(task.run, donate_argnums=0)
        predict = predict or classify.make_predict(model, base.language, parallel)
        for values in scores.values():
            values.append([])
        every, data = config.training.eval_every, jax.device_put(task.data)
        for start in range(0, config.training.max_steps, every):
            state, _ = run(state, data, task.plan(start, every))
            for split, values in scores.items():
                arrays = base.splits[split]
                rows = {"features": arrays["features"]}
                log_q = predict(state.params, state.batch_stats, rows)["log_q"]
                values[-1].append(100 * float(np.mean(log_q.argmax(-1) == arrays["labels"])))
    return {split: np.array(values).T for split, values in scores.items()}


def features_lr(args: argparse.Namespace, base: inputs.Inputs, n: int) -> list[float]:
    """Test accuracies of logistic regression on the same features and subsets."""
    # features of length 1, less their mean, without the scale that the network wants
    x = {split: arrays["features"] * base.scaling.scale for split, arrays in base.splits.items()}
    found = []
    for seed in SEEDS:
        subset = inputs.draw_subset(make_config(args, base.language, n, seed), base.corpus)
        rows = list(subset.indices)
        lr = LogisticRegression(C=10, class_weight="balanced", max_iter=1000)
        lr.fit(x["train"][rows], base.splits["train"]["labels"][rows])
        found.append(100 * lr.score(x["test"], base.splits["test"]["labels"]))
    return found


def cell(args: argparse.Namespace, base: inputs.Inputs, n: int) -> dict[str, Any]:
    started = time.monotonic()
    scores = train(args, base, n)
    best = scores["dev"].argmax(0)
    chosen = scores["test"][best, np.arange(len(SEEDS))]
    summary = lambda x: [round(float(np.mean(x)), 1), round(float(np.std(x)), 1)]
    return {
        "corpus": args.corpus,
        "language": base.language,
        "n": n,
        "system": "twin" if args.twin else "bow",
        "unlabelled": args.unlabelled,
        "fields": args.fields,
        "last": summary(scores["test"][-1]),
        "by dev": summary(chosen),
        "features_lr": summary(features_lr(args, base, n)),
        "seconds": round(time.monotonic() - started),
    }


KEY = ("corpus", "language", "n", "system", "unlabelled", "fields")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    for name in ("corpus", "data", "checkpoint", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--languages", default="en,de,fr,ru,zh")
    parser.add_argument("--labels", default="8,16,32,64,128")
    parser.add_argument("--unlabelled", default="")
    parser.add_argument("--twin", type=bool, default=False)
    parser.add_argument("fields", nargs="*")
    args = parser.parse_args()
    out = Path(args.out)
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    done = {json.dumps([json.loads(line)[key] for key in KEY]) for line in lines}
    for language in args.languages.split(","):
        base = inputs.load_inputs(make_config(args, language, 32, 0))
        for n in map(int, args.labels.split(",")):
            system = "twin" if args.twin else "bow"
            key = [args.corpus, language, n, system, args.unlabelled, args.fields]
            if json.dumps(key) in done:
                continue
            try:
                line = json.dumps(cell(args, base, n))
            except UserError as error:  # a language without so many labelled documents
                print(f"{language} {n}: {error}", file=sys.stderr)
                continue
            print(line, flush=True)
            with out.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")


if __name__ == "__main__":
    main()
