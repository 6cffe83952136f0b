"""A table as data, written in HTML, Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxsdgm.data.documents import write_text
from jaxsdgm.evaluation.report import render

LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    # in text fonts < and > are other signs; a [ after \\ would be read as its argument
    **{"<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "]": "{]}"},
}


@dataclass(frozen=True)
class Entry:
    """What stands in a table, or the command that fills it."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class Grid:
    """A table as it is printed.

    name is that of its files; the first `headings` columns are words, the others figures.
    """

    name: str
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    headings: int
    note: str = ""

    @property
    def commands(self) -> list[str]:
        """Each once; [1] in the table is the first."""
        found = (entry.command for row in self.rows for entry in row)
        return [*dict.fromkeys(command for command in found if command)]

    @property
    def texts(self) -> list[list[str]]:
        """The rows, with [1] where the first command fills an entry."""
        numbers = {command: f"[{i}]" for i, command in enumerate(self.commands, 1)}
        return [[numbers.get(entry.command, entry.text) for entry in row] for row in self.rows]


def as_csv(grid: Grid) -> str:
    """With the commands themselves in the table."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(grid.head)
    writer.writerows([entry.command or entry.text for entry in row] for row in grid.rows)
    return stream.getvalue()


def as_markdown(grid: Grid) -> str:
    """With a heading, and the numbered commands below."""
    parts = [f"## {escape_markdown(grid.title)}"]
    parts += [escape_markdown(grid.note)] if grid.note else []
    numbers = len(grid.head) - grid.headings
    parts.append("\n".join([*head(grid.head, numbers=numbers), *map(bars, grid.texts)]))
    parts += ["\n".join(f"{i}. `{x}`" for i, x in enumerate(grid.commands, 1))]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_latex(grid: Grid) -> str:
    """A table that `\\input` takes, without packages; the numbered commands are a list below."""
    columns = "l" * grid.headings + "r" * (len(grid.head) - grid.headings)
    if grid.headings == len(grid.head):  # words are wrapped, figures never are
        columns = rf"p{{0.2\textwidth}}{columns[2:]}p{{0.55\textwidth}}"
    lines = [r"\begin{table}", rf"\caption{{{escape_latex(grid.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\hline", _latex_row(grid.head), r"\hline"]
    lines += [_latex_row(row) for row in grid.texts]
    lines += [r"\hline", r"\end{tabular}", r"\end{table}"]
    lines += ["", escape_latex(grid.note)] if grid.note else []
    if grid.commands:
        items = [rf"\item \texttt{{{escape_latex(command)}}}" for command in grid.commands]
        lines += ["", r"\begin{enumerate}", *items, r"\end{enumerate}"]
    return "\n".join(lines) + "\n"


def write_grids(
    out: Path, name: str, grids: Sequence[Grid], *, title: str, about: str = ""
) -> Path:
    """Writes out/NAME.html and .md with all tables, and of each out/tables/*.tex and *.csv.

    Returns:
      The path of NAME.html.
    """
    (out / "tables").mkdir(parents=True, exist_ok=True)
    for grid in grids:
        write_text(out / "tables" / f"{grid.name}.tex", as_latex(grid))
        write_text(out / "tables" / f"{grid.name}.csv", as_csv(grid))
    parts = [f"# {escape_markdown(title)}\n", *([f"{escape_markdown(about)}\n"] if about else [])]
    write_text(out / f"{name}.md", "\n".join([*parts, *map(as_markdown, grids)]))
    page = render("tables.html.j2", title=title, about=about, grids=grids)
    write_text(out / f"{name}.html", page)
    return out / f"{name}.html"


def head(names: Sequence[str], *, numbers: int) -> list[str]:
    """The first two lines of a Markdown table; the last `numbers` columns are figures."""
    rule = ["---"] * (len(names) - numbers) + ["---:"] * numbers
    return [bars(names), bars(rule)]


def bars(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(map(escape_markdown, cells)) + " |"


def escape_markdown(text: str) -> str:
    """Signs that mean something to Markdown, as text."""
    return re.sub(r"([\\`*_|<])", r"\\\1", text)


def escape_latex(text: str) -> str:
    """Signs that mean something to LaTeX, as text."""
    return "".join(LATEX.get(sign, sign) for sign in text)


def _latex_row(texts: Sequence[str]) -> str:
    return " & ".join(map(escape_latex, texts)) + r" \\"
