"""python -m jaxsdgm.report WORKDIR... [--out=DIR]

Compares all finished classification runs at or below the workdirs: DIR/summary.html (.md, .csv,
.json). DIR is the first workdir unless given. Exit status: 0 done, 2 bad input, such as no run.
"""

import sys
from pathlib import Path

from absl import app, flags

from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.cells import read_runs
from jaxsdgm.evaluation.summary import write_summary

_OUT = flags.DEFINE_string("out", None, "Where the comparison goes; the first workdir by default.")


def main(arguments: list[str]) -> None:
    folders = arguments[1:]
    if not folders:
        raise app.UsageError("name one or more workdirs, for instance runs/")
    try:
        runs, passed = read_runs(folders)
        page = write_summary(Path(_OUT.value or folders[0]), runs, passed=passed)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if passed:
        print(f"passed over: {'; '.join(passed)}", file=sys.stderr)
    print(f"{len(runs)} runs: {page}")


if __name__ == "__main__":
    app.run(main)
