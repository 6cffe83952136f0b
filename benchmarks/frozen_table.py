"""M1+M2+BOW on frozen features against the classical classifiers: the tables of the README.

    python benchmarks/frozen_table.py --corpus=debian --data=DIR --checkpoint=FOLDER
        [--system=bow] [--languages=en,de,fr,ru,zh] [--labels=8,16,32,64,128] [--unlabelled=rest]
        [--out=benchmarks/frozen_table.jsonl] [field=value ...]
    python benchmarks/frozen_table.py --show [--out=FILE]

A system is bow (M1+M2+BOW), nxvae_z1 (its supervised twin), features_lr, tfidf_lr or nb_em. Every
cell of five seeds (labelled draw and initialisation) is a line of OUT, and cells that are there
already are not run again. `last` is the test accuracy at the last step and needs no development
set; `by dev` is that of the evaluation with the best dev accuracy. Fields (model.beta=300) change
the config for an ablation. `--show` prints OUT as Markdown.

The five seeds of a network train one after the other with one compiled program: on a CPU core that
takes half the time of training them side by side.
"""

import argparse
import json
import sys
import time
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs import debian_e5, sib200_e5
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import baselines, classify, inputs, outputs, systems
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.trials import stack, stack_plans

CONFIGS = {"debian": debian_e5, "sib200": sib200_e5}
NETWORKS, CLASSICAL = ("bow", "nxvae_z1"), baselines.BASELINES
SEEDS = range(5)
KEY = ("corpus", "language", "n", "system", "unlabelled", "fields")
LANGUAGES = {"en": "English", "de": "German", "fr": "French", "ru": "Russian", "zh": "Chinese"}
LABELS = (8, 16, 32, 64, 128)
NAMES = {
    "bow": "**M1+M2+BOW**",
    "nxvae_z1": "its supervised twin",
    "features_lr": "features_lr",
    "nb_em": "nb_em",
    "tfidf_lr": "tfidf_lr",
}
#: measured elsewhere with the same encoder, for a short time, on two or three of the subsets
ELSEWHERE = {
    ("sib200", "en"): {
        "SetFit, short": {8: 44.9, 16: 51.6, 32: 70.9},
        "fine-tuning, short": {8: 42.9, 32: 68.8},
    },
    ("sib200", "de"): {"SetFit, short": {8: 44.6, 16: 51.3, 32: 69.6}},
}


def make_config(args: argparse.Namespace, language: str, n: int, seed: int) -> Any:
    system = args.system if args.system in NETWORKS else "bow"
    config = CONFIGS[args.corpus].get_config(f"{language},{n},{system}")
    if args.system in CLASSICAL:
        config.model.system = args.system
    config.data.dir, config.encoder.checkpoint = args.data, args.checkpoint
    config.seed = config.data.subset_seed = seed
    config.data.unlabelled = args.unlabelled
    if args.unlabelled:
        config.model.label_prior = "estimated"
    with config.unlocked():
        for name, value in (field.split("=") for field in args.fields):
            *path, leaf = name.split(".")
            section = reduce(getitem, path, config)
            section[leaf] = type(section[leaf])(value)
    return config


def run_config(args: argparse.Namespace, language: str, n: int, seed: int) -> Any:
    """A cell's config and corpus (None: the one of the config), as a run of the system has them."""
    config = make_config(args, language, n, seed)
    return (config, None) if args.system in CLASSICAL else inputs.leave_out_few(config, None)


def train(args: argparse.Namespace, base: inputs.Inputs, n: int) -> dict[str, np.ndarray]:
    """{split: accuracy [evaluations, seeds]} of one cell of a network."""
    parallel = Parallel(devices=jax.local_devices()[:1])
    scores: dict[str, list[list[float]]] = {"dev": [], "test": []}
    run = predict = initialise = None
    for seed in SEEDS:
        config, _ = run_config(args, base.language, n, seed)
        one = inputs.redraw(base, config)
        model = systems.build(config, one, parallel)
        initialise = initialise or systems.make_initialise(model, one)
        task = classify.make_task(config, model, [one], parallel)
        trial = classify.make_trial(config, model, one, parallel, Path(), initialise)
        predict = predict or outputs.make_predict(model, base.language, parallel, trials=True)
        for values in scores.values():
            values.append([])
        every, data = config.training.eval_every, parallel.replicate(task.read())
        state = stack([trial.make()])
        for start in range(0, config.training.max_steps, every):
            plan = parallel.lay_out(stack_plans([trial.plan(start, every)]))
            # compiled for the first seed: the others differ in values only
            run = run or parallel.compile(task.run, state, data, plan)
            state, _ = run(state, data, plan)
            for split, values in scores.items():
                arrays = base.splits[split]
                rows = {"features": arrays["features"]}
                log_q = predict(state.params, state.batch_stats, rows)["log_q"][0]
                values[-1].append(100 * float(np.mean(log_q.argmax(-1) == arrays["labels"])))
    return {split: np.array(values).T for split, values in scores.items()}


def fit(args: argparse.Namespace, base: inputs.Inputs, n: int) -> dict[str, np.ndarray]:
    """As `train` for a classical classifier, which has one evaluation."""
    corpus, scores = base.corpus, {"dev": [], "test": []}
    rows: dict[str, Any] = {split: corpus.splits[split].texts for split in baselines.SPLITS}
    if args.system == baselines.FEATURES_LR:
        encode = baselines.frozen_encoder(make_config(args, base.language, n, 0))
        rows = {split: encode(texts) for split, texts in rows.items()}
    for seed in SEEDS:
        subset = inputs.draw_subset(make_config(args, base.language, n, seed), corpus)
        if args.system == baselines.FEATURES_LR:
            labels = base.splits["train"]["labels"][list(subset.indices)]
            classifier: Any = baselines.features_lr(rows["train"], subset.indices, labels)
        else:
            classifier = baselines.ON_TEXTS[args.system](corpus, subset)
        for split, values in scores.items():
            found = classifier.probabilities(rows[split]).argmax(-1)
            values.append(100 * float(np.mean(found == base.splits[split]["labels"])))
    return {split: np.array([values]) for split, values in scores.items()}


def cell(args: argparse.Namespace, base: inputs.Inputs, n: int) -> dict[str, Any]:
    started = time.monotonic()
    scores = (fit if args.system in CLASSICAL else train)(args, base, n)
    best = scores["dev"].argmax(0)
    chosen = scores["test"][best, np.arange(len(SEEDS))]
    summary = lambda x: [round(float(np.mean(x)), 1), round(float(np.std(x)), 1)]
    key = (args.corpus, base.language, n, args.system, args.unlabelled, args.fields)
    return {
        **dict(zip(KEY, key, strict=True)),
        "last": summary(scores["test"][-1]),
        "by dev": summary(chosen),
        "runs": scores["test"][-1].round(1).tolist(),
        "seconds": round(time.monotonic() - started),
    }


def fill(args: argparse.Namespace) -> None:
    """Runs what is missing in OUT."""
    done = {json.dumps([line[key] for key in KEY]) for line in read(args.out)}
    for language in args.languages.split(","):
        base = inputs.load_inputs(*run_config(args, language, 32, 0))
        for n in map(int, args.labels.split(",")):
            key = [args.corpus, language, n, args.system, args.unlabelled, args.fields]
            if json.dumps(key) in done:
                continue
            try:
                line = json.dumps(cell(args, base, n))
            except UserError as error:  # a language without so many labelled documents
                print(f"{language} {n}: {error}", file=sys.stderr)
                continue
            print(line, flush=True)
            with args.out.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")


def read(out: Path) -> list[dict[str, Any]]:
    """The cells of OUT; none where there is no such file."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    return [json.loads(line) for line in lines]


def show(out: Path) -> str:
    """One Markdown table a corpus and kind of unlabelled text, ablations left out."""
    cells = {tuple(c[key] for key in KEY[:-1]): c["last"] for c in read(out) if not c["fields"]}
    tables = []
    for corpus, unlabelled in sorted({(key[0], key[4]) for key in cells}):
        lines = [f"{corpus}{' with ' + unlabelled if unlabelled else ''}:\n"]
        lines.append("| language | system | " + " | ".join(map(str, LABELS)) + " labels |")
        lines.append("| --- | --- |" + " ---: |" * len(LABELS))
        for language, title in LANGUAGES.items():
            for system, name in NAMES.items():
                found = [cells.get((corpus, language, n, system, unlabelled)) for n in LABELS]
                if any(found):
                    texts = [f"{x[0]:.1f} ({x[1]:.1f})" if x else "–" for x in found]
                    lines.append(f"| {title} | {name} | " + " | ".join(texts) + " |")
                    title = ""
            elsewhere = {} if unlabelled else ELSEWHERE.get((corpus, language), {})
            for name, known in elsewhere.items():
                texts = [f"{known[n]:.1f}" if n in known else "–" for n in LABELS]
                lines.append(f"| | {name} | " + " | ".join(texts) + " |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--corpus", choices=CONFIGS)
    parser.add_argument("--data")
    parser.add_argument("--checkpoint")
    parser.add_argument("--system", default="bow", choices=(*NETWORKS, *CLASSICAL))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument("--languages", default="en,de,fr,ru,zh")
    parser.add_argument("--labels", default="8,16,32,64,128")
    parser.add_argument("--unlabelled", default="")
    parser.add_argument("fields", nargs="*")
    args = parser.parse_args()
    if args.show:
        print(show(args.out))
    elif args.corpus and args.data and args.checkpoint:
        fill(args)
    else:
        parser.error("--corpus, --data and --checkpoint are needed")


if __name__ == "__main__":
    main()
