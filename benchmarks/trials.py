"""Trials that train side by side in one program, beside as many runs one after the other.

    python benchmarks/trials.py [--task=features|bow|gru] [--trials=1,2,4,8,16,32] [--steps=20]
        [--peer=strong] [--rounds=1] [--out=FILE.json] [sizes, see benchmarks/steps.py]

Every number of trials trains in processes of its own, by turns; the best round counts. T runs one
after the other take T times what the program of one trial takes (of the fewest, divided by their
number, where 1 is not among them). With --peer, of the tasks on text, the peer of
benchmarks/train_step.py is timed too, after the check of its losses, and a trial's step of ours is
compared with one of its steps.

On a CPU the trials of a program run one after the other by design (see `Parallel.over_trials`): a
ratio near 1 is what to expect there.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import steps, train_step
from benchmarks.processes import by_turns


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The program of `args.system` trials in this process: seconds of a step of all of them."""
    steps.configure(args)
    training = steps.Training(args, trials=int(args.system))
    found = steps.timed(training.run, args.steps) | {"peak_gib": steps.peak_gib()}
    return {**found, "compile_seconds": training.compile_seconds, "device": steps.device_kind()}


def peer_seconds(args: argparse.Namespace) -> float:
    """Seconds of a step of the peer, if it computes the same as ours."""
    flags, tolerance = steps.as_flags(args), train_step.TOLERANCE[args.dtype]
    train_step.check([*flags, f"--systems=ours,{args.peer}"], ["ours", args.peer], tolerance)
    found = by_turns(train_step.__file__, flags, [args.peer], rounds=args.rounds)
    return found[args.peer]["seconds"]


def compared(results: dict[str, dict[str, Any]], peer: float) -> list[dict[str, Any]]:
    """A row for every number of trials: what a trial's step takes, and the ratios."""
    first, rows = min(results, key=int), []
    alone = results[first]["seconds"] / int(first)
    for trials, result in results.items():
        each = result["seconds"] / int(trials)
        row = {"trials": int(trials), **result, "seconds_per_trial": each}
        row["times_sequential"] = alone / each
        if peer:
            row["times_peer"] = peer / each
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0], allow_abbrev=False)
    steps.add_flags(parser, ("features", "bow", "gru"))
    parser.set_defaults(steps=20)
    parser.add_argument("--trials", default="1,2,4,8,16,32")
    parser.add_argument("--peer", choices=("strong", "published"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out")
    parser.add_argument("--system", help="measure so many trials alone, print JSON")
    args = parser.parse_args()
    steps.fill(args)
    if args.system:
        print(json.dumps(measure(args)))
        return
    if args.peer and args.task == "features":
        raise SystemExit("the peers read text: choose --task=bow or gru")
    peer = peer_seconds(args) if args.peer else 0.0
    results = by_turns(__file__, sys.argv[1:], args.trials.split(","), rounds=args.rounds)
    rows = compared(results, peer)
    print(
        f"\n{args.task}, {args.dtype}: {args.labelled} + {args.unlabelled} documents a trial, "
        f"{args.vocabulary} words"
    )
    print("trials   seconds a step   of a trial  times sequential  peak GiB")
    for row in rows:
        print(
            f"{row['trials']:6d} {row['seconds']:16.4f} {row['seconds_per_trial']:12.4f} "
            f"{row['times_sequential']:17.2f} {row['peak_gib']:9.2f}"
            + (f"  {row['times_peer']:.2f} times as fast as {args.peer}" if peer else "")
        )
    rows = [{**steps.sizes(args), **row} for row in rows]
    steps.write(args.out, rows, peer=args.peer, peer_seconds=peer)


if __name__ == "__main__":
    main()
