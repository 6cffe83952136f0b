"""A training step on one device and on several: the same losses, and documents a second.

    python benchmarks/devices.py [--task=features|bow|gru|nxvae|mbert] [--devices=1,2,4]
        [--steps=4] [--simulate] [--out=FILE.json] [sizes, see benchmarks/steps.py]

Every number of devices has processes of its own. "strong" splits one batch over the devices;
"weak" gives each device a batch of that size. With several real devices the table says how
documents a second grow. Where there is one, or with --simulate, the host's cores pose as devices:
then only the losses mean anything, and "weak", whose batches differ, is left out.

Under "strong" the losses of all steps, with dropout and fresh noise, are those of one device to
rounding: the largest relative difference is printed. Mind that Adam enlarges it step by step.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import steps
from benchmarks.processes import by_turns
from jaxsdgm.training.parallel import Parallel


def real_devices(args: argparse.Namespace) -> int:
    """Devices that are no simulation, counted in another process, which lets go of them again."""
    if args.simulate or args.device == "cpu":
        return 1
    code = "import jax; print(jax.default_backend() != 'cpu' and jax.device_count())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer = done.stdout.split()[-1]
    return 1 if answer == "False" else int(answer)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One number of devices in this process, `args.system` is "strong 2" or the like."""
    kind, number = args.system.split()
    if args.simulate:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", int(number))
    steps.configure(args)
    if kind == "weak":
        args.labelled, args.unlabelled = (x * int(number) for x in (args.labelled, args.unlabelled))
    training = steps.Training(args, parallel=Parallel(devices=jax.devices()[: int(number)]))
    losses = {f"losses_{k}": x[0].tolist() for k, x in training.run().items()}
    found = steps.timed(training.run, args.steps)
    documents = len(steps.vocabularies(args)) * (args.labelled + args.unlabelled)
    about = {**steps.sizes(args), "documents": documents, "device": steps.device_kind()}
    return {**about, **found, **losses}


def compared(results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for every number of devices, against the first of its kind."""
    firsts: dict[str, dict[str, Any]] = {}
    rows = []
    for system, result in results.items():
        kind, number = system.split()
        row = {"scaling": kind, "devices": int(number), **result}
        row["documents_per_second"] = result["documents"] / result["seconds"]
        first = firsts.setdefault(kind, row)
        row["times_first"] = row["documents_per_second"] / first["documents_per_second"]
        if kind == "strong":
            row["losses_differ_by"] = difference(result, first)
        rows.append(row)
    return rows


def difference(result: dict[str, Any], first: dict[str, Any]) -> float:
    """The largest one of any step's loss, relative."""
    names = [name for name in result if name.startswith("losses_")]
    ratios = [np.divide(result[name], first[name]) for name in names]
    return float(np.abs(np.concatenate(ratios) - 1).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0], allow_abbrev=False)
    steps.add_flags(parser, tuple(sorted(steps.TASKS, key="features".__ne__)))
    parser.set_defaults(steps=4)
    parser.add_argument("--devices", help="default: 1, 2, 4, ... as many as there are")
    parser.add_argument("--simulate", action="store_true", help="on the host's cores")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out")
    parser.add_argument("--system", help="measure one alone, print JSON")
    args = parser.parse_args()
    steps.fill(args)
    if args.system:
        print(json.dumps(measure(args)))
        return
    real, argv = real_devices(args), sys.argv[1:]
    simulated = real < 2
    argv += ["--simulate"] * simulated
    numbers = [2**i for i in range(3 if simulated else real.bit_length())]
    numbers = args.devices.split(",") if args.devices else numbers
    kinds = ("strong",) if simulated else ("strong", "weak")
    systems = [f"{kind} {number}" for kind in kinds for number in numbers]
    rows = compared(by_turns(__file__, argv, systems, rounds=args.rounds))
    print(f"\n{args.task}, {args.dtype}, {'simulated' if simulated else 'real'} devices")
    print("scaling  devices  documents  documents/s   times   losses differ by")
    for row in rows:
        differ = f"{row['losses_differ_by']:.1e}" if "losses_differ_by" in row else "-"
        print(
            f"{row['scaling']:7s} {row['devices']:8d} {row['documents']:10d} "
            f"{row['documents_per_second']:12.1f} {row['times_first']:7.2f} {differ:>18s}"
        )
    steps.write(args.out, rows, simulated=simulated)


if __name__ == "__main__":
    main()
