"""What benchmarks of a model beside torch's share: flags, turns, ratios, the table."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import steps
from benchmarks.processes import by_turns
from jaxsdgm.experiments.setup import DTYPES

Measure = Callable[[argparse.Namespace, str], dict[str, Any]]
#: what a script adds to the rows of the table, and prints, after the systems were measured
More = Callable[[argparse.Namespace, list[dict[str, Any]]], None]
#: of losses, relative
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}


def autocast(args: argparse.Namespace) -> Any:
    """The context in which torch's products have the precision of `--dtype`."""
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bfloat16")


def agree(args: argparse.Namespace, system: str, *, ours: float, theirs: float) -> dict[str, float]:
    """Two losses, or SystemExit where they are not the same."""
    if abs(theirs / ours - 1) > TOLERANCE[args.dtype]:
        raise SystemExit(f"{system}: the peer's loss is {theirs}, ours {ours}")
    return {"ours": ours, "theirs": theirs}


def per_token(found: dict[str, Any], tokens: float) -> dict[str, Any]:
    return {**found, "tokens_per_second": tokens / found["seconds"]}


def main(
    script: str,
    description: str,
    systems: str,
    sizes: Mapping[str, int],
    *,
    ours: Measure,
    theirs: Measure,
    check: Measure,
    more: More = lambda args, rows: None,
) -> None:
    """Checks that both find the same, times them by turns in processes of their own, and prints."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--systems", default=systems)
    for name, value in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--batches", type=int, default=8, help="different ones, timed together")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of products, both's")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--out")
    parser.add_argument("--system", help="measure one alone, print JSON")
    args = parser.parse_args()
    if args.system:
        kind, system = args.system.split()
        print(json.dumps({"check": check, "torch": theirs, "ours": ours}[kind](args, system)))
        return
    names, kinds = args.systems.split(","), ("ours",) if args.no_peer else ("ours", "torch")
    if not args.no_peer:
        by_turns(script, sys.argv[1:], [f"check {name}" for name in names], rounds=1)
    wanted = [f"{kind} {name}" for name in names for kind in kinds]
    found, rows = by_turns(script, sys.argv[1:], wanted, rounds=args.rounds), []
    print(f"\n{args.dtype}\nsystem         seconds   tokens/s   torch's  ratio  by CPU time")
    for name in names:
        mine, other = found[f"ours {name}"], found.get(f"torch {name}")
        row = {"system": name, **mine}
        line = f"{name:12s} {mine['seconds']:9.3f} {mine['tokens_per_second']:10.0f}"
        if other:
            row |= {f"torch_{k}": x for k, x in other.items()}
            row["ratio"] = other["seconds"] / mine["seconds"]
            row["cpu_ratio"] = other["cpu_seconds"] / mine["cpu_seconds"]
            line += f" {other['tokens_per_second']:9.0f} {row['ratio']:6.2f}"
            line += f" {row['cpu_ratio']:12.2f}"
        print(line)
        rows.append(row)
    more(args, rows)
    steps.write(args.out, rows)
