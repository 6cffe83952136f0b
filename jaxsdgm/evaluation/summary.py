"""Any set of finished runs: means over seeds, and the paper's Figure 1."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from jaxsdgm.data.documents import write_text
from jaxsdgm.evaluation.cells import (
    SUPERVISED,
    Cell,
    Row,
    rows_of,
    spread,
    warnings_of,
)
from jaxsdgm.evaluation.figures import accuracy_boxes
from jaxsdgm.evaluation.formats import bars, head
from jaxsdgm.evaluation.report import NOTHING, render, save_figures


def write_summary(
    out: str | Path,
    runs: Sequence[Mapping[str, Any]],
    *,
    passed: Sequence[str] = (),
    tables: str = "",
) -> Path:
    """Writes summary.html, .md, .csv and .json and figures/figure_1.svg; returns summary.html.

    Args:
      out: where they go.
      runs: results of finished classification runs.
      passed: what was found beside them, told at the end.
      tables: the page of the paper's tables, relative to out; "": there is none.
    """
    out, rows = Path(out), rows_of(runs)
    out.mkdir(parents=True, exist_ok=True)
    images = save_figures(out, {"figure_1": figure_1(rows)})
    records = [_record(row) for row in rows]
    about = {"runs": len(runs), "warnings": warnings_of(runs), "passed_over": list(passed)}
    document = {**about, "rows": records}
    write_text(out / "summary.json", json.dumps(document, indent=1) + "\n")
    write_text(out / "summary.csv", as_csv(records))
    write_text(out / "summary.md", as_markdown(rows))
    page = render("summary.html.j2", rows=rows, images=images, tables=tables, **about)
    write_text(out / "summary.html", page)
    return out / "summary.html"


def figure_1(rows: Sequence[Row]) -> bytes | None:
    """The paper's Figure 1, or None where every run has all labels."""
    panels: dict[str, dict[str, dict[int, Sequence[float]]]] = {}
    lines: dict[str, dict[str, float]] = {}
    for row in rows:
        cell = row.cell
        panel = f"{cell.corpus}, {cell.language}"
        parts = [cell.system, cell.encoder, cell.unlabelled, cell.swept]
        name = ", ".join(part for part in parts if part not in ("", NOTHING, "train"))
        if not cell.full:
            panels.setdefault(panel, {}).setdefault(name, {})[cell.n] = row.accuracies
        elif cell.system in SUPERVISED:
            lines.setdefault(panel, {})[name] = row.mean
    return accuracy_boxes(panels, lines) if panels else None


def _record(row: Row) -> dict[str, Any]:
    values = {"runs": len(row.accuracies), "mean": row.mean, "std": row.std}
    return {**asdict(row.cell), **values, "accuracies": list(row.accuracies)}


def as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """A line a cell; accuracies in 0..1, those of the single runs separated by spaces."""
    stream = io.StringIO()
    names = [*(field.name for field in fields(Cell)), "runs", "mean", "std", "accuracies"]
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({**record, "accuracies": " ".join(map(str, record["accuracies"]))})
    return stream.getvalue()


def as_markdown(rows: Sequence[Row]) -> str:
    """The table of all cells, in per cent."""
    names = ["corpus", "language", "labels", "system", "encoder", "unlabelled", "runs", "accuracy"]
    lines = ["Test accuracy (%), mean (standard deviation).", "", *head(names, numbers=2)]
    for row in rows:
        c = row.cell
        n = f"all {c.n}" if c.full else str(c.n)
        system = c.system + (f" ({c.swept})" if c.swept else "")
        parts = [c.corpus, c.language, n, system, c.encoder, c.unlabelled]
        value = spread({"mean": row.mean, "std": row.std})
        lines.append(bars([*parts, str(len(row.accuracies)), value]))
    return "\n".join(lines) + "\n"
