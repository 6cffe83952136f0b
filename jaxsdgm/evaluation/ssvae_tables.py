"""Tables 2 to 5 of the SSVAE paper from finished runs, with its significance test (spec §8 to §10).

A cell has the runs of one system, set and number of labels; of the values of a sweep those whose
mean accuracy on dev is best, as the paper chose its weight.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_ind

from jaxsdgm.evaluation.cells import SSVAES, language_order, spread
from jaxsdgm.evaluation.formats import Grid, write_grids
from jaxsdgm.evaluation.tables import Key, Measure, Run, Table, Where, fits, grid_of

SETS = ("agnews", "dbpedia", "imdb", "yelp")
SIZES = (40, 120, 400, 1200, 4000)
SUPERVISED, SSVAE = SSVAES[:2]
LEVEL = 0.05
ABOUT = (
    "Figures of the paper, and below them of the runs that were read: means, with the standard "
    "deviation in brackets. A star says that a two-sided t-test (Welch's) over the runs tells a "
    "mean from that of the row named below the table with p < 0.05; of so many comparisons one in "
    "twenty does by chance. [1] is a cell without a run; the command with that number makes it."
)
_AGAINST = "A star is against {}."


def write_ssvae_tables(out: str | Path, results: Sequence[Run]) -> Path | None:
    """Writes ssvae_tables.html and .md and tables/*; None where no run is of an SSVAE."""
    runs = [run for run in results if run.facts["system"] in SSVAES]
    if not runs:
        return None
    grids: list[Grid] = [grid_of(table, runs) for table in ssvae_tables(runs)]
    return write_grids(Path(out), "ssvae_tables", grids, title="The SSVAE paper", about=ABOUT)


def ssvae_tables(runs: Sequence[Run]) -> list[Table]:
    """The paper's, and Table 5's layout for every other corpus of the runs."""
    whole: Where = {"kind": "classify", "n": 4000}
    sets = [Key((name,), {"corpus": name}) for name in SETS]
    crossed = [
        Key((f"{a} to {b}",), {"corpus": a, "other": b})
        for a, b in (("imdb", "yelp"), ("yelp", "imdb"))
    ]
    compared = compared_accuracy(runs, SSVAE)
    far = compared_accuracy(runs, SUPERVISED, split="out_of_domain")
    tables = [
        _table("2", "all 4000 labels, test accuracy (%)", whole, sets, compared, SSVAE),
        _table("3", "time of a step relative to SSVAE's", whole, sets, relative_time(runs), ""),
        _table("4", "tested on another set (%)", whole, crossed, far, SUPERVISED),
    ]
    title = "shares of the labels, test accuracy (%)"
    for name in SETS:
        where = {"kind": "classify", "corpus": name}
        tables.append(_table("5", title, where, _by_size(SIZES), compared, SSVAE, part=name))
    others = dict.fromkeys((r.facts["corpus"], r.facts["language"]) for r in runs)
    for corpus, language in sorted(others, key=lambda x: (x[0], *language_order(x[1]))):
        if corpus not in SETS:
            where = {"kind": "classify", "corpus": corpus, "language": language}
            sizes = sorted({r.facts["n"] for r in runs if fits(r.facts, where)}, key=_number)
            tables.append(_other(f"{corpus}, {language}", where, _by_size(sizes), compared))
    return tables


def _number(n: Any) -> float:
    return float("inf") if n == "all" else n


def _by_size(sizes: Sequence[Any]) -> list[Key]:
    return [Key((str(n),), {"n": n}) for n in sizes]


def _rows() -> list[Key]:
    return [Key((name,), {"system": name}) for name in SSVAES]


def _table(
    number: str,
    title: str,
    where: Where,
    columns: Sequence[Key],
    measure: Measure,
    against: str,
    *,
    part: str = "",
) -> Table:
    name = f"table_{number}_{part}" if part else f"table_{number}"
    figures = json.loads((Path(__file__).parent / "paper_ssvae.json").read_text("utf-8"))
    return Table(
        f"ssvae_{name}",
        f"Table {number}{part and ', ' + part}: {title}",
        ("system",),
        _rows(),
        columns,
        where={**where, "start": "BiLSTM"} if number == "3" else where,
        example={"start": "BiLSTM"},
        measure=measure,
        paper=figures[name],
        apart=False,
        note=_AGAINST.format(against) if against else "Of whole runs, evaluations included.",
    )


def _other(corpus: str, where: Where, columns: Sequence[Key], measure: Measure) -> Table:
    return Table(
        "ssvae_" + "".join(c if c.isalnum() else "_" for c in corpus.lower()),
        f"{corpus}, as in Table 5: labels, test accuracy (%)",
        ("system",),
        _rows(),
        columns,
        where=where,
        measure=measure,
        apart=False,
        note=_AGAINST.format(SSVAE),
    )


# -- measures ----------------------------------------------------------------------------------


def compared_accuracy(runs: Sequence[Run], against: str, *, split: str = "test") -> Measure:
    """Accuracy in per cent, with a star where the t-test tells it from that of a system."""

    def measure(results: Sequence[Mapping[str, Any]], where: Where) -> str:
        found = _accuracies(chosen(results), split)
        if not found:
            return ""
        std = float(np.std(found, ddof=1)) if len(found) > 1 else None
        text = spread({"mean": float(np.mean(found)), "std": std})
        others = [r.results for r in runs if fits(r.facts, {**where, "system": against})]
        other = _accuracies(chosen(others), split) if others else []
        return text + ("*" if differ(found, other) and where["system"] != against else "")

    return measure


def chosen(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The runs of the point of a sweep with the best mean accuracy on dev; all, without a sweep."""
    points: dict[str, list[Mapping[str, Any]]] = {}
    for run in results:
        points.setdefault(json.dumps(run["config"].get("sweep", {})), []).append(run)
    return max(points.values(), key=lambda group: np.mean(_accuracies(group, "dev")))


def _accuracies(results: Sequence[Mapping[str, Any]], split: str) -> list[float]:
    return [run["metrics"][split]["accuracy"] for run in results if split in run["metrics"]]


def differ(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether Welch's two-sided t-test tells the means apart at LEVEL; not with a single run."""
    if min(len(first), len(second)) < 2 or np.ptp(first) + np.ptp(second) == 0:
        return False
    found: Any = ttest_ind(first, second, equal_var=False)
    return bool(found.pvalue < LEVEL)


def relative_time(runs: Sequence[Run]) -> Measure:
    """Seconds of a step over SSVAE's on the same set, of runs that trained side by side alike."""

    def seconds(results: Sequence[Mapping[str, Any]]) -> float:
        training = [run["training"] for run in results]
        return float(
            np.mean([(t["seconds"] - t["compile_seconds"]) / t["steps"] for t in training])
        )

    def measure(results: Sequence[Mapping[str, Any]], where: Where) -> str:
        others = [r.results for r in runs if fits(r.facts, {**where, "system": SSVAE})]
        return f"{seconds(results) / seconds(others):.2f}" if others else ""

    return measure
