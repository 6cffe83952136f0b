"""M1+M2+BOW against its supervised twin on the Debian corpus: the table of the README.

    python benchmarks/debian_table.py --data=DIR --pretrained=RUN_OF_debian_nxvae --out=runs/table \
        [--languages=en,de] [--labels=32,64,128] [--systems=bow,nxvae_z1,rest] [--seeds=5]

Every run has a workdir of its own below --out, so that the command resumes and can be split over
processes by its arguments. The table, of all runs found there, goes to OUT/table.md.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs import debian_classify
from jaxsdgm.main import run

#: naive Bayes with EM at fixed settings (weight 0.3) on the same subsets: the number to beat
NAIVE_BAYES_EM = {
    ("en", "bow"): (68.2, 75.6, 80.4),
    ("de", "bow"): (69.4, 78.9, 82.7),
    ("en", "rest"): (71.5, 77.2, 82.7),
    ("de", "rest"): (69.9, 79.1, 83.3),
}
LABELS = (32, 64, 128)
NAMES = {"bow": "M1+M2+BOW", "nxvae_z1": "NXVAE-z1", "rest": "M1+M2+BOW with `rest`"}


def run_one(args: argparse.Namespace, language: str, n: int, system: str, seed: int) -> None:
    """One labelled subset, one initialisation."""
    decoder = "bow" if system == "rest" else system
    config = debian_classify.get_config(f"{language},{n},{decoder}")
    config.data.dir, config.pretrained = args.data, args.pretrained
    config.seed = config.data.subset_seed = seed
    if system == "rest":
        config.data.unlabelled, config.model.label_prior = "rest", "estimated"
    run(config, Path(args.out) / f"{language}-{n}-{system}-{seed}")


def accuracies(out: Path, language: str, n: int, system: str) -> list[float]:
    """Test accuracies in per cent of the runs that have ended."""
    paths = sorted(out.glob(f"{language}-{n}-{system}-*/results.json"))
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return [100 * result["metrics"]["test"]["accuracy"] for result in results]


def table(out: Path) -> str:
    """Mean and standard deviation over seeds, beside naive Bayes with EM."""
    lines = ["| language | system | " + " | ".join(f"{n} labels" for n in LABELS) + " |"]
    lines.append("| --- | --- |" + " ---: |" * len(LABELS))
    for language in ("en", "de"):
        for system, name in NAMES.items():
            cells = []
            for n in LABELS:
                x = accuracies(out, language, n, system)
                cells.append(f"{np.mean(x):.1f} ({np.std(x):.1f}, {len(x)} runs)" if x else "–")
            lines.append(f"| {language} | {name} | " + " | ".join(cells) + " |")
        for system in ("bow", "rest"):
            cells = [f"{x:.1f}" for x in NAIVE_BAYES_EM[language, system]]
            name = "naive Bayes + EM" + (" with `rest`" if system == "rest" else "")
            lines.append(f"| {language} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--pretrained", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--languages", default="en,de")
    parser.add_argument("--labels", default="32,64,128")
    parser.add_argument("--systems", default="bow,nxvae_z1,rest")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    for seed in range(args.seeds):
        for system in args.systems.split(","):
            for n in map(int, args.labels.split(",")):
                for language in args.languages.split(","):
                    run_one(args, language, n, system, seed)
    text = table(Path(args.out))
    (Path(args.out) / "table.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
