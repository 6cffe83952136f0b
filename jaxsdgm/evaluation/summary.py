"""Any set of finished runs: means over seeds, the paper's Figure 1, and Table 13 beside ours."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from jaxsdgm.data.documents import write_text
from jaxsdgm.evaluation.cells import (
    OWN_ENCODERS,
    SUPERVISED,
    Cell,
    Row,
    rows_of,
    spread,
    warnings_of,
)
from jaxsdgm.evaluation.figures import accuracy_boxes
from jaxsdgm.evaluation.formats import bars, head
from jaxsdgm.evaluation.paper_tables import paper_figures
from jaxsdgm.evaluation.report import NOTHING, render, save_figures

TABLE_13 = (8, 16, 32, 1000)  # labels; 1000 are all of them


# -- Table 13 ----------------------------------------------------------------------------------


def table_13(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The paper's Table 13, each line followed by ours of the same language and system.

    Returns:
      language, system, source, and `cells`: for 8, 16, 32 and all labels {"mean", "std"} in 0..1,
      or None. Ours are those with a transformer's checkpoint.
    """
    table = []
    for name, printed in paper_figures("table_13").items():
        language, system = name.split(", ")
        theirs = {n: _parts(value) for n, value in zip(TABLE_13, printed, strict=True)}
        about = {"language": language, "system": system}
        table.append(_line(about, "the paper: mldoc, mBERT", theirs))
        for source, ours in _ours(rows, language, system).items():
            table.append(_line(about, source, ours))
    return table


def _parts(value: Sequence[float] | None) -> dict[str, float] | None:
    return {"mean": value[0] / 100, "std": value[1] / 100} if value else None


def _ours(rows: Sequence[Row], language: str, system: str) -> dict[str, dict[int, Any]]:
    found: dict[str, dict[int, Any]] = {}
    for row in rows:
        cell = row.cell
        transformer = cell.encoder.partition(", ")[0] not in OWN_ENCODERS
        if (cell.language, cell.system) == (language, system) and transformer:
            extra = "" if cell.unlabelled in (NOTHING, "train") else f", with {cell.unlabelled}"
            extra += f", {cell.swept}" if cell.swept else ""
            source = f"{cell.corpus}, {cell.encoder}{extra}"
            n = TABLE_13[-1] if cell.full else cell.n
            found.setdefault(source, {})[n] = {"mean": row.mean, "std": row.std}
    return {source: values for source, values in found.items() if values.keys() & set(TABLE_13)}


def _line(about: Mapping[str, str], source: str, values: Mapping[int, Any]) -> dict[str, Any]:
    return {**about, "source": source, "cells": [values.get(n) for n in TABLE_13]}


# -- writing -----------------------------------------------------------------------------------


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
    table, warnings = table_13(rows), warnings_of(runs)
    records = [_record(row) for row in rows]
    about = {"runs": len(runs), "warnings": warnings, "passed_over": list(passed)}
    document = {**about, "rows": records, "table_13": table}
    write_text(out / "summary.json", json.dumps(document, indent=1) + "\n")
    write_text(out / "summary.csv", as_csv(records))
    write_text(out / "summary.md", as_markdown(rows, table))
    shown = {"table": table, "images": images, "tables": tables}
    page = render("summary.html.j2", rows=rows, **shown, **about)
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


def as_markdown(rows: Sequence[Row], table: Sequence[Mapping[str, Any]]) -> str:
    """Both tables, in per cent."""
    names = ["corpus", "language", "labels", "system", "encoder", "unlabelled", "runs", "accuracy"]
    lines = ["Test accuracy (%), mean (standard deviation).", "", *head(names, numbers=2)]
    for row in rows:
        c = row.cell
        n = f"all {c.n}" if c.full else str(c.n)
        system = c.system + (f" ({c.swept})" if c.swept else "")
        parts = [c.corpus, c.language, n, system, c.encoder, c.unlabelled]
        value = spread({"mean": row.mean, "std": row.std})
        lines.append(bars([*parts, str(len(row.accuracies)), value]))
    names = ["language", "system", "source", *(str(n) for n in TABLE_13[:-1]), "all"]
    lines += ["", "Table 13 of the paper.", "", *head(names, numbers=4)]
    for line in table:
        cells = [spread(value) for value in line["cells"]]
        lines.append(bars([line["language"], line["system"], line["source"], *cells]))
    return "\n".join(lines) + "\n"
