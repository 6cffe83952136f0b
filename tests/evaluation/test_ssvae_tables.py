"""The SSVAE paper's tables: its figures, the commands of empty cells, the test of significance."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxsdgm.evaluation.cells import SSVAES
from jaxsdgm.evaluation.ssvae_tables import (
    SIZES,
    chosen,
    differ,
    ssvae_tables,
    write_ssvae_tables,
)
from jaxsdgm.evaluation.tables import grid_of, run_of
from tests.evaluation.fake_run import config_from, run_from

SPEC = Path(__file__).resolve().parents[2].parent / "shared" / "spec" / "paper_results.json"


def finished(command, accuracies=(0.7,), dev=0.6, **more):
    """The runs that a command makes, one for each accuracy."""
    runs = []
    for seed, accuracy in enumerate(accuracies):
        run = run_from(config_from(command), languages=["en"])
        run["seed"] = run["subset"]["seed"] = seed
        run["subset"]["rule"] = "rotation"
        run["metrics"] = {split: {"accuracy": accuracy} for split in ("test", "out_of_domain")}
        run["metrics"]["dev"] = {"accuracy": dev}
        run["training"] = {"seconds": 110.0, "compile_seconds": 10.0, "steps": 100}
        runs.append({**run, **more})
    return [run_of(run) for run in runs]


def command(system, share=1, name="agnews", *more):
    start = f"python -m jaxsdgm.main --config=configs/ssvae_{name}.py:{system},{share}"
    return " ".join([start, "--config.trials=5", *more])


def row_of(runs, name, system):
    """The line of a system in a table, as texts, below the paper's if there is one."""
    table = next(table for table in ssvae_tables(runs) if table.name == name)
    lines = [[entry.text for entry in line] for line in grid_of(table, runs).rows]
    return [line for line in lines if line[0] == system and line[1] == "here"][0][2:]


@pytest.mark.parametrize("name", [table.name for table in ssvae_tables([])])
def test_the_command_of_a_cell_fills_it(name):
    table = next(table for table in ssvae_tables([]) if table.name == name)
    commands = 0
    for y, line in enumerate(grid_of(table, []).rows):
        for x, entry in enumerate(line):
            if entry.command:
                runs = finished(entry.command)
                if name == "ssvae_table_3":  # a time is relative to that of SSVAE
                    source = config_from(entry.command).data.source
                    runs += finished(command("ssvae", name=source))
                table = next(table for table in ssvae_tables(runs) if table.name == name)
                assert grid_of(table, runs).rows[y][x].text, entry.command
                commands += 1
    assert commands == sum(len(values) for values in table.paper.values())


@pytest.mark.skipif(not SPEC.exists(), reason="../shared is not here")
def test_the_papers_figures_are_those_on_record():
    records = json.loads(SPEC.read_text())["records"]
    names = {"AGNEWS": "agnews", "DBPedia": "dbpedia", "IMDB": "imdb", "Yelp": "yelp"}
    found = {table.name: table for table in ssvae_tables([])}
    seen = 0
    for record in records:
        if record["paper"] != "002" or record["table"] not in "245":
            continue
        number, data = record["table"], record["dataset"]
        if number == "5":
            figures = found[f"ssvae_table_5_{names[data]}"].paper[record["system"]]
            place = SIZES.index(record["n_labels"])
        else:
            figures = found[f"ssvae_table_{number}"].paper[record["system"]]
            order = [*names] if number == "2" else ["IMDB->Yelp", "Yelp->IMDB"]
            place = order.index(data)
        assert figures[place] == [record["mean"], record["std"]]
        seen += 1
    assert seen == 20 + 10 + 100


def test_a_star_where_the_test_tells_apart():
    ssvae = finished(command("ssvae"), (0.80, 0.81, 0.82))
    better = finished(command("ssvae-z"), (0.90, 0.91, 0.92))
    alike = finished(command("ssvae-kl"), (0.80, 0.82, 0.83))
    single = finished(command("ssvae-kl-z"), (0.95,))
    runs = ssvae + better + alike + single
    read = lambda system: row_of(runs, "ssvae_table_2", system)[0]
    assert read("SSVAE") == "81.0 (1.0)"
    assert read("SSVAE-{z}") == "91.0 (1.0)*"
    assert read("SSVAE-{KL}") == "81.7 (1.5)"
    assert read("SSVAE-{KL,z}") == "95.0"


def test_the_papers_marks():
    """From the means and deviations that it prints, n = 5: those of spec section 10."""
    rng = np.random.default_rng(0)

    def runs(mean, std):
        x = rng.normal(size=5)
        return mean + std * (x - x.mean()) / x.std(ddof=1)

    assert differ(runs(59.07, 1.19), runs(68.67, 4.85))  # IMDB to Yelp, SSVAE-{KL}
    assert not differ(runs(59.07, 1.19), runs(61.78, 6.03))  # SSVAE
    assert not differ(runs(97.75, 0.11), runs(97.58, 0.13))  # DBPedia, p = 0.056
    assert not differ([0.5, 0.5], [0.5, 0.5])


def test_the_best_point_of_a_sweep_on_dev_counts():
    sweep = "--config.sweep.generation_weight="
    low = finished(command("ssvae", 1, "agnews", sweep + "0.1"), (0.9, 0.92), dev=0.5)
    high = finished(command("ssvae", 1, "agnews", sweep + "1"), (0.7, 0.72), dev=0.6)
    assert row_of(low + high, "ssvae_table_2", "SSVAE")[0].startswith("71.0")
    assert len(chosen([run.results for run in low + high])) == 2


def test_time_relative_to_ssvae():
    slow, fast = finished(command("ssvae")), finished(command("ssvae-z"))
    fast[0].results["training"]["seconds"] = 90.0
    assert row_of(slow + fast, "ssvae_table_3", "SSVAE-{z}")[0] == "0.80"


def test_files(tmp_path):
    assert write_ssvae_tables(tmp_path, []) is None
    runs = finished(
        "python -m jaxsdgm.main --config=configs/ssvae_files.py:ssvae,0.1 --config.data.train=x.tsv"
    )
    page = write_ssvae_tables(tmp_path, runs)
    assert page == tmp_path / "ssvae_tables.html"
    text = (tmp_path / "ssvae_tables.md").read_text()
    assert "files x.tsv, en, as in Table 5" in text
    assert all(name in text for name in SSVAES)
