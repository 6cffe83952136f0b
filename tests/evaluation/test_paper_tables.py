"""The paper's tables: its figures in place, and every command makes the run of its cell."""

import csv
import json
from pathlib import Path

import pytest

from configs import (
    debian_classify,
    debian_e5,
    debian_nxvae,
    europarl_nxvae,
    europarl_snxvae,
    mldoc_mbert,
    mldoc_nxvae,
    own_files,
    own_files_e5,
    sib200_e5,
)
from jaxsdgm.evaluation.paper_tables import other_tables, paper_figures, paper_tables, write_tables
from jaxsdgm.evaluation.tables import MISSING, grid_of, run_of
from tests.evaluation.fake_run import config_from, run_from

SPEC = Path(__file__).resolve().parents[2].parent / "shared" / "spec" / "paper_results.json"
TABLES = {table.name: table for table in paper_tables()}
PIECES = ("words", "subwords")
NUMBERS = ["2", *(str(n) for n in range(4, 14))]


def finished(command):
    config = config_from(command)
    pair = config.pretrained.rpartition("_")[2].split("-") if config.pretrained else None
    return run_of(run_from(config, languages=pair))


def read(folder, name):
    with (folder / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return [*csv.reader(stream)]


def test_every_table_is_there_and_has_the_shape_of_its_figures():
    assert [*dict.fromkeys(name.split("_")[1] for name in TABLES)] == NUMBERS
    for name, table in TABLES.items():
        assert [", ".join(row.label) for row in table.rows] == [*paper_figures(name)], name
        assert {len(values) for values in table.paper.values()} == {len(table.columns)}, name


@pytest.mark.parametrize("name", TABLES)
def test_the_command_of_a_cell_fills_it(name):
    table = TABLES[name]
    for y, row in enumerate(grid_of(table, []).rows):
        for x, entry in enumerate(row):
            if entry.command:
                found = grid_of(table, [finished(entry.command)]).rows[y][x]
                assert not found.command, entry.command
                assert found.text not in ("–", MISSING), entry.command


@pytest.mark.parametrize(
    ("name", "row", "missing"),
    [
        ("table_4_en-de", "RAND", False),
        ("table_4_en-de", "FT", False),
        ("table_4_en-de", "MUSE", False),
        ("table_4_en-de", "BERTW+ST", False),
        ("table_4_de-fr", "M1+M2+GRU", False),
        ("table_8", "SNXVAE-z1", False),
        ("table_8", "BERTSW", False),
        ("table_10_en-fr", "AUX+GRU", False),
        ("table_11", "BERTSW", False),
    ],
)
def test_what_this_version_does_not_have(name, row, missing):
    rows = [r for r in grid_of(TABLES[name], []).rows if r[0].text == row and r[1].text == "here"]
    assert [entry.text == MISSING for entry in rows[0][2:]].count(missing) > 0
    assert any(entry.command for entry in rows[0]) is not missing


def test_commands_as_they_are_printed():
    cells = {name: grid_of(table, []).commands for name, table in TABLES.items()}
    main = "python -m jaxsdgm.main --config=configs/"
    assert cells["table_10_de-fr"][-1] == (
        f"{main}mldoc_nxvae.py:de-fr,fr,128,aux-gru --config.data.dir=DIR_OF_MLDOC "
        "--config.pretrained=RUN_OF_europarl_nxvae_de-fr"
    )
    assert cells["table_13"][0] == f"{main}mldoc_mbert.py:en,8,sup --config.data.dir=DIR_OF_MLDOC"
    assert cells["table_5"][0] == (
        f"{main}europarl_nxvae.py:en-de --config.data.dir=DIR_OF_EUROPARL"
    )
    assert cells["table_5"][-1] == (
        f"{main}europarl_snxvae.py:en-de --config.data.dir=DIR_OF_EUROPARL"
    )
    assert (
        f"{main}mldoc_nxvae.py:en-de,de,0,nxvae_z1 --config.data.dir=DIR_OF_MLDOC "
        "--config.pretrained=RUN_OF_europarl_snxvae_en-de"
    ) in cells["table_8"]
    bert = [f"{main}europarl_bert.py:en-de,{x} --config.data.dir=DIR_OF_EUROPARL" for x in PIECES]
    assert [*dict.fromkeys(cells["table_6"])] == bert
    assert (
        f"{main}mldoc_bert.py:en-de,de,32,st --config.data.dir=DIR_OF_MLDOC "
        "--config.encoder.checkpoint=RUN_OF_europarl_bert/bertw-en-de"
    ) in cells["table_4_en-de"]


def test_the_papers_figures_are_those_of_the_record():
    if not SPEC.is_file():
        pytest.skip("../shared is absent")
    compared = 0
    for r in json.loads(SPEC.read_text())["records"]:
        if r["paper"] != "000" or r["table"] not in ("2", "4", "8", "10", "11", "13"):
            continue  # tables of settings are below
        name = f"table_{r['table']}"
        row = r["system"].replace(" (mBERT)", "")
        column = {"language": r["language"]}
        if r["n_labels"]:
            column["n"] = "all" if r["n_labels"] == 1000 else r["n_labels"]
        if r["table"] in ("4", "10"):
            name += f"_{r['language_pair']}"
        if r["table"] == "13":
            row = f"{column.pop('language')}, {row}"
        keys = [{k: c.where[k] for k in column} for c in TABLES[name].columns if c.where]
        if r["table"] == "2":
            _, split, label = r["metric"].split("/")
            row, column = f"{r['language']}, {split.removesuffix('.1000')}", label
            keys = [c.label[0] for c in TABLES[name].columns]
        value = r["mean"] if r["std"] is None else [r["mean"], r["std"]]
        assert TABLES[name].paper[row][keys.index(column)] == value, r
        compared += 1
    tables = (
        "2",
        "4_en-de",
        "4_en-fr",
        "4_de-fr",
        "8",
        "10_en-de",
        "10_en-fr",
        "10_de-fr",
        "11",
        "13",
    )
    ours = [x for t in tables for row in paper_figures(f"table_{t}").values() for x in row]
    assert compared == sum(x is not None for x in ours)


def test_sizes_and_times_are_those_of_the_record():
    if not SPEC.is_file():
        pytest.skip("../shared is absent")
    records = [r for r in json.loads(SPEC.read_text())["records"] if r["paper"] == "000"]
    rows = {
        "params_millions": ("parameters", "{:g} M"),
        "running_time_hours": ("running time", "about {:g} h"),
        "running_time_days": ("running time", "{:g} day"),
        "best_beta": ("beta", "{:g}"),
    }
    for r in records:
        if r["table"] in ("5", "6", "7", "9", "12"):
            row, form = rows[r["metric"]]
            printed = " ".join(x or "" for x in paper_figures(f"table_{r['table']}")[row])
            assert form.format(r["mean"]) in printed.replace("45.0", "45"), r


def test_runs_of_mldoc_fill_the_papers_tables(tmp_path):
    runs = []
    for seed, right in enumerate((0.6, 0.7)):
        config = mldoc_nxvae.get_config("en-de,en,32,bow")
        config.pretrained, config.seed = "runs/nxvae", seed
        run = run_from(config)
        run["metrics"]["test"]["accuracy"] = right
        runs.append({**run, "parameters": 38_471_428})
    runs += [run_from(file.get_config("en-de")) for file in (europarl_nxvae, europarl_snxvae)]
    write_tables(tmp_path, runs)
    assert ["M1+M2+BOW", "NXVAE en-de", "65.0 (5.0)"] in [
        row[:3] for row in read(tmp_path, "table_4_en-de")
    ]
    assert ["M1+M2+BOW", "NXVAE en-de", "65.0 (5.0)"] in [
        row[:3] for row in read(tmp_path, "table_10_en-de")
    ]
    assert ["M1+M2+BOW", "NXVAE en-de", "38,471,428"] in [
        row[:3] for row in read(tmp_path, "table_11")
    ]
    assert ["beta", "NXVAE en-de", "0.2"] in [
        [*row[:2], row[3]] for row in read(tmp_path, "table_9")
    ]
    settings = {row[0]: row[1:3] for row in read(tmp_path, "table_5") if row[1] == "here"}
    assert settings["words kept"] == ["here", "en 40,000; de 50,000"]
    line = next(row for row in read(tmp_path, "table_5") if row[:2] == ["words kept", "here"])
    assert line[-1] == "10,000 pieces"
    assert settings["tokens of a sentence"] == ["here", "median"]
    assert settings["running time"] == ["here", "1 h 30 min, some device"]
    assert read(tmp_path, "table_2")[2] == ["en", "train", "here", "10", "20", "30", "40"]
    assert not [*tmp_path.glob("tables/mldoc*")]


def other_runs():
    for system, pretrained in (
        *(("bow", "nxvae"), ("bow", "snxvae"), ("nxvae_z1", "nxvae")),
        *(("aux-bow", "nxvae"), ("nb_em", "")),
    ):
        config = debian_classify.get_config(f"en,32,{system}")
        config.pretrained = pretrained
        yield run_from(config, languages=("de", "en"))
    yield run_from(debian_classify.get_config("de,64,bow"), languages=("de",))
    for system in ("bow", "features_lr"):
        yield run_from(debian_e5.get_config(f"fr,8,{system}"), languages=("fr",))
    yield run_from(debian_nxvae.get_config("de-en"))
    yield run_from(sib200_e5.get_config("yo,32,bow"), languages=("yo",))


def test_other_corpora_have_the_same_layouts(tmp_path):
    write_tables(tmp_path, [*other_runs()])
    names = sorted(path.stem for path in tmp_path.glob("tables/*.csv") if "_table" in path.stem)
    assert names == [
        *(
            f"debian_table_{x}"
            for x in ("10_en-de", "11", "12", "13", "2", "4_en-de", "5", "7", "9")
        ),
        *(f"sib200_table_{x}" for x in ("11", "12", "13", "2")),
    ]
    four = read(tmp_path, "debian_table_4_en-de")
    assert four[0] == [
        "system",
        "figures of",
        *(f"{c} {n}" for c in ("en", "de") for n in (8, 32, 64)),
    ]
    assert [row[:2] for row in four[1:]] == [
        ["NXVAE-z1", "NXVAE en-de"],
        ["M1+M2+BOW", "NXVAE en-de"],
        ["M1+M2+BOW", "SNXVAE en-de"],
        ["M1+M2+BOW", "BiLSTM"],
        ["AUX+BOW", "NXVAE en-de"],
        ["naive Bayes + EM", "–"],
    ]
    assert four[1][3] == "70.0"
    settings = {row[0]: row[2] for row in read(tmp_path, "debian_table_5")}
    assert settings["discriminator's hidden layer"] == "none"
    assert read(tmp_path, "debian_table_12")[0] == ["setting", "figures of", "M1+M2+BOW"]
    assert "the paper" not in (tmp_path / "tables" / "debian_table_9.csv").read_text("utf-8")


def more_runs():
    config = mldoc_mbert.get_config("en,8,m1m2,bow")
    config.data.source = "debian"
    yield run_from(config, languages=("en",))
    config = debian_e5.get_config("de,32,bow")
    config.data.unlabelled, config.sweep.beta = "rest", (30.0,)
    yield run_from(config, languages=("de",))
    for language, n in (("en", 32), ("de", 0)):
        for config in (own_files.get_config("gru"), own_files_e5.get_config(f"{language},bow")):
            config.data.train, config.data.language, config.data.n_labels = "FILE", language, n
            yield run_from(config, languages=(language,))


def test_the_commands_of_other_corpora_fill_their_cells():
    runs = [run_of(run) for run in (*other_runs(), *more_runs())]
    for corpus in ("debian", "sib200", "files FILE"):
        for table in other_tables(corpus, runs):
            grid = grid_of(table, runs)
            for command in grid.commands:
                config = config_from(command)
                known = ("de", "en") if config.pretrained else None
                more = run_of(run_from(config, languages=known))
                after = grid_of(table, [*runs, more])
                assert command not in after.commands, (table.name, command)
