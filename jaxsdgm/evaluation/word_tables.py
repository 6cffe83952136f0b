"""Tables 3, 14 and 15 of the paper from a run's results: nearest words, and words by class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.formats import Entry, Grid, write_grids
from jaxsdgm.evaluation.generation import PRIOR
from jaxsdgm.evaluation.report import NOTHING

GENERATED = {
    "table_14": "the label y varies, z2 is drawn from its prior",
    "table_15": "the label y varies, z2 is that of a document",
}


def word_grids(results: Mapping[str, Any]) -> list[Grid]:
    """The tables that a run's results have words for.

    Raises:
      UserError: there are none.
    """
    tables = results.get("tables", {})
    grids = [neighbours(tables["neighbours"])] if tables.get("neighbours") else []
    drawn: dict[str, list[Any]] = {name: [] for name in GENERATED}
    for table in tables.get("generated", []):
        prior = table["title"].startswith(PRIOR)
        drawn["table_14" if prior else "table_15"].append(table)
    gru = results.get("config", {}).get("model", {}).get("decoder") == "gru"
    grids += [generated(name, found, gru=gru) for name, found in drawn.items() if found]
    if not grids:
        raise UserError("its results.json has no word tables; name the workdir of one trained run")
    return grids


def neighbours(rows: Sequence[Mapping[str, Any]]) -> Grid:
    """Table 3: the nearest words of each query, a column a language."""
    languages = [*dict.fromkeys(language for row in rows for language in row["neighbours"])]
    lines = []
    for row in rows:
        words = [[word for word, _ in row["neighbours"].get(c, [])] for c in languages]
        texts = [row["query"], row["language"], *(", ".join(found) or NOTHING for found in words)]
        lines.append([Entry(text) for text in texts])
    head = ["word", "language", *(f"nearest in {language}" for language in languages)]
    note = "By the cosine of the embeddings, nearest first, the word itself left out."
    return Grid("table_3", "Table 3: nearest words", head, lines, len(head), note)


def generated(name: str, tables: Sequence[Mapping[str, Any]], *, gru: bool) -> Grid:
    """Table 14 or 15: what the decoder says of each class under one z2.

    A bag of words is a list, the most probable first; a GRU's words are a text.
    """
    head = ["z2", "class", "text" if gru else "words"]
    lines = [
        [Entry(t["title"]), Entry(row["label"]), Entry((" " if gru else ", ").join(row["words"]))]
        for t in tables
        for row in t["rows"]
    ]
    title = f"Table {name.removeprefix('table_')}: {GENERATED[name]}"
    return Grid(name, title, head, lines, len(head))


def write_word_tables(out: str | Path, results: Mapping[str, Any]) -> Path:
    """Writes word_tables.html and .md and tables/*.tex and *.csv; returns word_tables.html.

    Raises:
      UserError: the results have no words.
    """
    about = f"Run {results.get('name', NOTHING)}."
    return write_grids(Path(out), "word_tables", word_grids(results), title="Words", about=about)
