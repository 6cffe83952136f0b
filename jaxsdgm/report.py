"""python -m jaxsdgm.report WORKDIR... [--out=DIR]
python -m jaxsdgm.report --tables WORKDIR [--out=DIR]

Compares all finished classification runs at or below the workdirs: DIR/summary.html (.md, .csv,
.json), and with the pretraining runs there fills the paper's tables: DIR/paper_tables.html (.md),
DIR/tables/*.csv and *.tex; runs of SSVAEs, VSLs and text VAEs fill those of their papers,
DIR/ssvae_tables.html, DIR/vsl_tables.html and DIR/textvae_tables.html (.md).
With --tables, the words of one finished run as the paper's Tables 3, 14 and 15:
DIR/word_tables.html (.md) and DIR/tables/. DIR is the first workdir unless given. Exit status: 0
done, 2 bad input, such as no run.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.cells import CLASSIFIED, read_runs
from jaxsdgm.evaluation.paper_tables import write_tables
from jaxsdgm.evaluation.report import write_report
from jaxsdgm.evaluation.ssvae_tables import write_ssvae_tables
from jaxsdgm.evaluation.summary import write_summary
from jaxsdgm.evaluation.tables import run_of
from jaxsdgm.evaluation.textvae_tables import write_textvae_tables
from jaxsdgm.evaluation.vsl_tables import write_vsl_tables
from jaxsdgm.evaluation.word_tables import write_word_tables

_OUT = flags.DEFINE_string("out", None, "Where the files go; the first workdir by default.")
_TABLES = flags.DEFINE_bool("tables", False, "The words of one run as tables.")


def compare(folders: Sequence[str], out: Path) -> str:
    """Writes the comparison and the paper's tables; returns what to say."""
    found, passed = read_runs(folders, others=True)
    runs = [run for run in found if run["kind"] in CLASSIFIED]
    # the paper has no table of zero-shot runs, and those of VSL and of text VAEs are others
    tabled = [run for run in found if run["kind"] not in ("zero_shot", "tag", "language_model")]
    tables = write_tables(out, tabled) if tabled else None
    linked = tables.name if tables else ""
    pages = {
        "": write_summary(out, runs, passed=passed, tables=linked) if runs else None,
        "the paper's tables: ": tables,
        "of the SSVAE paper: ": write_ssvae_tables(out, [*map(run_of, tabled)]),
        "of the VSL paper: ": write_vsl_tables(out, runs),
        "of the text VAE paper: ": write_textvae_tables(out, found),
    }
    if passed:
        print(f"passed over: {'; '.join(passed)}", file=sys.stderr)
    return f"{len(found)} runs: " + "; ".join(
        f"{name}{path}" for name, path in pages.items() if path
    )


def word_tables(folders: Sequence[str], out: Path) -> str:
    """Writes the words of a run as tables; its own report.html gets a link to them."""
    if len(folders) > 1:
        raise UserError("--tables takes the workdir of one run")
    workdir = Path(folders[0])
    try:
        results = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
        page = write_word_tables(out, results)
        if out == workdir:
            images = (workdir / "figures").glob("*.[ps][nv]g")
            figures = {path.stem: path.read_bytes() for path in sorted(images)}
            write_report(workdir, results, figures=figures, tables=page.name)
    except UserError as error:
        raise UserError(f"{workdir}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        raise UserError(f"{workdir}: no results.json of a finished run there") from None
    return str(page)


def main(arguments: list[str]) -> None:
    folders = arguments[1:]
    if not folders:
        raise app.UsageError("name one or more workdirs, for instance runs/")
    out = Path(_OUT.value or folders[0])
    try:
        print((word_tables if _TABLES.value else compare)(folders, out))
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main)
