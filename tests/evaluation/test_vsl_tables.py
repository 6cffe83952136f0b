"""The VSL paper's tables: its figures, the commands of empty cells, what fills them."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from jaxsdgm.evaluation.vsl_tables import TABLES, vsl_table, write_vsl_tables

SPEC = Path(__file__).resolve().parents[2].parent / "shared" / "spec" / "paper_results.json"


def run_from(command, accuracy=0.9, unlabelled=0):
    """What a run of a command would have in its results, as far as tables read it."""
    path, argument = re.search(r"--config=configs/(\w+)\.py:(\S+)", command).groups()
    argument = argument.replace("LANGUAGE", "german")
    config = import_module(f"configs.{path}").get_config(argument)
    if "classify=z" in command:
        config.model.classify = "z"
    metrics = {"accuracy": accuracy, "f1": accuracy - 0.1}
    return {
        "kind": "tag",
        "system": config.model.system,
        "language": config.data.language,
        "config": json.loads(config.to_json_best_effort()),
        "subset": {"n": 100, "rule": "share", "unlabelled": unlabelled},
        "metrics": {"dev": metrics, "test": metrics},
    }


@pytest.mark.parametrize("number", TABLES)
def test_the_command_of_a_cell_fills_it(number):
    """Every figure of the paper has a command, and no other cell."""
    commands = 0
    for y, line in enumerate(vsl_table(number, []).rows):
        for x, entry in enumerate(line):
            if entry.command:
                text = vsl_table(number, [run_from(entry.command)]).rows[y][x].text
                assert text in ("90.0", "80.0"), entry.command
                commands += 1
    figures = [entry.text for line in vsl_table(number, []).rows[::2] for entry in line[2:]]
    assert commands == len([text for text in figures if text[0].isdigit()])


def test_what_unlabelled_sentences_change():
    command = "--config=configs/vsl_ud.py:german,hier"
    alone = [run_from(command, x) for x in (0.90, 0.92)]
    more = [run_from(command, x, unlabelled=50) for x in (0.92, 0.93)]
    grid = vsl_table("2", alone + more)
    lines = {(line[0].text, line[1].text): line for line in grid.rows}
    column = [*grid.head].index("de")
    assert lines["VSL-GG-Hier", "here"][column].text == "91.0 (1.0) +1.5"
    assert lines["VSL-GG-Hier", "the paper"][column].text == "93.3 +0.1"


def test_files(tmp_path):
    assert write_vsl_tables(tmp_path, []) is None
    page = write_vsl_tables(tmp_path, [run_from("--config=configs/vsl_twitter.py:hier-sup")])
    assert page == tmp_path / "vsl_tables.html"
    assert (tmp_path / "tables" / "vsl_table_4.tex").exists()


@pytest.mark.skipif(not SPEC.exists(), reason="../shared is not here")
def test_the_papers_figures_are_those_on_record():
    records = [r for r in json.loads(SPEC.read_text())["records"] if r["paper"] == "003"]
    texts = [e.text for number in TABLES for line in vsl_table(number, []).rows for e in line[2:]]
    printed = [float(x) for text in texts for x in text.split() if x[0] in "0123456789+-"]
    ours = [r for r in records if not r["system"].startswith("NCRF")]
    # Table 4 has BiGRU and the variational figures of Table 1 once more
    assert sorted(printed) == sorted(r["mean"] for r in ours)
