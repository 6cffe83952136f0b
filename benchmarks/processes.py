"""Systems of a benchmark in processes of their own, by turns: the best of each number counts."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

#: pages of 2 MiB for large arrays, which glibc asks for where it is told to; for every system
PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def by_turns(
    script: str, argv: Sequence[str], systems: Sequence[str], *, rounds: int
) -> dict[str, dict[str, float]]:
    """{system: best value of every number} that `script ARGV --system=NAME` prints as JSON.

    That is the smallest one, but of what is done in a second the largest.
    """
    results: dict[str, dict[str, float]] = {}
    environment = PAGES | os.environ
    for system in [*systems] * rounds:
        command = [sys.executable, script, *argv, f"--system={system}"]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env=environment
        )
        result = json.loads(done.stdout.splitlines()[-1])
        before = results.setdefault(system, result)
        best = lambda name: max if name.endswith("_per_second") else min
        results[system] = {name: best(name)(before[name], result[name]) for name in result}
        print(system, json.dumps(result), flush=True)
    return results
