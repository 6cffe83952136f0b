"""How memory and time of a training step grow with vocabulary, length, documents and trials.

    python benchmarks/memory.py [--task=bow|gru|nxvae|mbert|features] [--run]
        [--vocabularies=10000,50000,250000] [--lengths=50,200,400]
        [--documents=64,256,512] [--trials=1,8] [--out=FILE.json]
        [sizes, see benchmarks/steps.py]

Each sweep changes one size, and has the others from the flags; an empty list leaves a sweep out.
Every point is compiled in a process of its own. What XLA plans for is the sum of arguments, results
that take no argument's place, and temporaries; nothing is allocated. With --run two plans of
--steps steps are trained as well: the peak is then measured too (of the process; on a GPU of its
device), and the time, which says whether a step's cost is linear in documents, tokens and words.

Sizes are smaller than the paper's, for the time of it; the paper's step, alone:

    python benchmarks/memory.py --vocabularies= --lengths= --documents=500 --trials= \
        --length=200 --vocabulary=40002 --hidden=600 [--run]
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import steps
from benchmarks.processes import by_turns
from jaxsdgm.training.parallel import Parallel

SWEEPS = {
    "vocabularies": ("vocabulary", "10000,50000,250000"),
    "lengths": ("length", "50,200,400"),
    "documents": ("documents", "64,256,512"),
    "trials": ("trials", "1,8"),
}
#: of the tasks on a BiLSTM, where no flag says otherwise
SMALLER = {"labelled": 16, "unlabelled": 112, "length": 100, "vocabulary": 10_000, "hidden": 300}


def fill(args: argparse.Namespace) -> None:
    """The sizes of `steps.fill`, but smaller ones; in place."""
    small = SMALLER if args.task in ("bow", "gru") else {}
    for name, value in small.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    steps.fill(args)


def point(args: argparse.Namespace) -> int:
    """Sets the size that `args.system`, "vocabulary=10000" or the like, names; the trials."""
    name, value = args.system.split("=")
    if name == "documents":
        args.labelled = min(args.labelled, int(value) // 2)
        args.unlabelled = int(value) - args.labelled
    elif name != "trials":
        setattr(args, name, int(value))
    return int(value) if name == "trials" else 1


def compiled(args: argparse.Namespace, trials: int) -> Any:
    """The program of so many trials, without their states."""
    parallel = Parallel()
    run, data, plan = steps.program(args, trials, parallel)
    state = jax.eval_shape(partial(steps.states, args, trials))
    return parallel.compile(run, state, data, plan)


def planned(program: Any) -> dict[str, float]:
    """GiB that XLA plans for, by kind and in all."""
    found = program.memory_analysis()
    gib = {
        "arguments_gib": found.argument_size_in_bytes / 2**30,
        "results_gib": (found.output_size_in_bytes - found.alias_size_in_bytes) / 2**30,
        "temporaries_gib": found.temp_size_in_bytes / 2**30,
    }
    return {**gib, "planned_gib": sum(gib.values())}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One point in this process."""
    steps.configure(args)
    trials = point(args)
    about = {**steps.sizes(args), "trials": trials, "device": steps.device_kind()}
    if not args.run:
        return {**about, **planned(compiled(args, trials))}
    training = steps.Training(args, trials=trials)
    found = planned(training.compiled) | steps.timed(training.run, args.steps)
    return {**about, **found, "peak_gib": steps.peak_gib()}


def grown(results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for every point, with what has grown since the first one of its sweep."""
    firsts: dict[str, tuple[int, dict[str, Any]]] = {}
    rows = []
    for system, result in results.items():
        name, value = system.split("=")
        first_value, first = firsts.setdefault(name, (int(value), result))
        row = {"sweep": name, "value": int(value), "times_value": int(value) / first_value}
        for kind in ("planned_gib", "peak_gib", "seconds"):
            if kind in result:
                row[f"times_{kind}"] = result[kind] / first[kind]
        rows.append({**row, **result})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0], allow_abbrev=False)
    steps.add_flags(parser, tuple(steps.TASKS))
    for flag, (_, values) in SWEEPS.items():
        parser.add_argument(f"--{flag}", default=values)
    parser.add_argument("--run", action="store_true", help="train too")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out")
    parser.add_argument("--system", help="measure one point alone, print JSON")
    args = parser.parse_args()
    fill(args)
    if args.system:
        print(json.dumps(measure(args)))
        return
    systems = [
        f"{name}={value}"
        for flag, (name, _) in SWEEPS.items()
        for value in getattr(args, flag).split(",")
        if value
    ]
    rows = grown(by_turns(__file__, sys.argv[1:], systems, rounds=args.rounds))
    print(
        f"\n{args.task}, {args.dtype}, where not swept: {args.labelled} + {args.unlabelled} "
        f"documents of at most {args.length} tokens, {args.vocabulary} words, 1 trial"
    )
    print("                                 planned              peak            a step")
    print("sweep          value    times        GiB    times      GiB    times  seconds    times")
    for row in rows:
        text = f"{row['sweep']:10s} {row['value']:9d} {row['times_value']:8.2f}"
        for kind, width in (("planned_gib", 10), ("peak_gib", 8), ("seconds", 8)):
            if kind in row:
                text += f" {row[kind]:{width}.3f} {row[f'times_{kind}']:8.2f}"
        print(text)
    steps.write(args.out, rows)


if __name__ == "__main__":
    main()
