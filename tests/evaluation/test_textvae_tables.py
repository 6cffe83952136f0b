"""The text VAE paper's tables: its figures, the commands of empty cells, what fills them."""

import json
from pathlib import Path

import pytest

from jaxsdgm.evaluation.report import NOTHING
from jaxsdgm.evaluation.textvae_tables import (
    METRICS,
    QUOTED,
    TABLES,
    other_tables,
    rate_distortion,
    textvae_table,
    write_textvae_tables,
)

SPEC = Path(__file__).resolve().parents[2].parent / "shared" / "spec" / "paper_results.json"
ELBO = {"reconstruction": 96.0, "kl": 5.0, "negative_elbo": 101.0}
PROBES = {
    "bleu": 8.5,
    "smoothness": 0.6834,
    "noisy_reconstruction": {"1": 27.9, "2": 29.1, "3": 30.0, "4": 30.9},
    "clustering": {"2": 0.672, "10": 0.7},
    "linear_probe": {"100": 0.838, "500": 0.8, "1000": 0.8, "2000": 0.8, "10000": 0.895},
}


def fake_run(system, corpus="ptb", probes=None, **metrics):
    return {
        "kind": "language_model",
        "name": f"{corpus} {system}",
        "system": system,
        "corpus": corpus,
        "metrics": {"test": metrics},
        "probes": probes or {},
    }


def line(name, system, runs, *, of="here"):
    """A row of a table by its columns."""
    grid = textvae_table(name, runs)
    found = [r for r in grid.rows if (r[0].text, r[1].text) == (system, of)]
    assert len(found) == 1
    return dict(zip(grid.head, found[0], strict=True))


def test_a_cell_is_a_mean_over_seeds():
    metrics = {**ELBO, "ppl": 97.0, "active_units": 31}
    runs = [fake_run("Ours(4)", **metrics), fake_run("Ours(4)", **{**metrics, "ppl": 96.0})]
    runs += [fake_run("Ours(6)", ppl=1.0), fake_run("Ours(4)", corpus="yahoo", ppl=1.0)]
    ours = line("3_ptb", "Ours(4)", runs)
    assert ours["PPL"].text == "96.50 (0.50)"
    assert ours["AU"].text == "31.0 (0.0)"
    assert line("3_ptb", "Ours(4)", runs[:1])["AU"].text == "31"
    assert line("3_ptb", "Ours(4)", runs, of="the paper")["PPL"].text == "96.17"


def test_what_the_paper_leaves_out_needs_no_run():
    ours = line("10_ptb", "AE", [fake_run("AE", reconstruction=70.0, kl=90.0)])
    assert ours["Recon"].text == "70.00"
    assert ours["KL"].text == "90.00"
    assert (ours["NLL"].text, ours["NLL"].command) == (NOTHING, "")
    assert ours["MI"].command
    rows = textvae_table("3_ptb", []).rows
    assert [row[1].text for row in rows if row[0].text == QUOTED] == ["the paper"]


def test_probes():
    runs = [fake_run("Ours(4)", "snli", PROBES), fake_run("Ours(6)", "yelp", PROBES)]
    assert line("4", "Ours(4)", runs)["BLEU"].text == "8.50"
    assert line("5", "Ours(4)", runs)["smoothness (r)"].text == "0.683"
    assert line("6", "Ours(4)", runs)["4-swap Recon"].text == "30.90"
    yelp = line("8", "Ours(6)", runs)
    assert (yelp["2 clusters (%)"].text, yelp["10000 labels (%)"].text) == ("67.2", "89.5")


@pytest.mark.parametrize(
    ("name", "system", "config"),
    [
        ("10_ptb", "LSTM-LM", "textvae_ptb.py:lm"),
        ("1", "AE", "textvae_ptb.py:ae"),
        ("11", "VAE", "textvae_yahoo.py:vae"),
        ("3_yahoo", "VAE+anneal", "textvae_yahoo.py:anneal"),
        ("1", "VAE+cyclic", "textvae_ptb.py:cyclic"),
        ("11", "VAE+cyclic(SGD)", "textvae_yahoo.py:cyclic-sgd"),
        ("10_snli", "VAE+aggressive", "textvae_snli.py:aggressive"),
        ("1", "VAE+FB(3)", "textvae_ptb.py:fb,3"),
        ("1", "VAE+FBP(7)", "textvae_ptb.py:fbp,7"),
        ("2", "VAE+pretrain", "textvae_ptb.py:pretrain"),
        ("2", "VAE+pretrain+anneal", "textvae_ptb.py:pretrain-anneal"),
        ("10_ptb", "IWAE(k=10)", "textvae_ptb.py:iwae"),
        ("10_ptb", "IWAE(k=10)+pretrain", "textvae_ptb.py:iwae-pretrain"),
        ("10_snli", "Ours(4)", "textvae_snli.py:ours,4"),
        ("4", "Ours(4)", "textvae_snli.py:ours,4 probes"),
        ("5", "AE", "textvae_snli.py:ae probes"),
        ("6", "VAE", "textvae_snli.py:vae probes"),
        ("8", "VAE+FBP(9)", "textvae_yelp.py:fbp,9 probes"),
    ],
)
def test_the_command_of_an_empty_cell(name, system, config):
    config, _, probes = config.partition(" ")
    command = f"python -m jaxsdgm.main --config=configs/{config} --config.data.dir=DIR"
    command += " --config.probes=True" if probes else ""
    assert {e.command for e in line(name, system, []).values() if e.command} == {command}


@pytest.mark.parametrize("name", TABLES)
def test_every_figure_of_the_paper_is_ours_to_make(name):
    rows = textvae_table(name, []).rows
    theirs = [r for r in rows if r[1].text == "the paper" and r[0].text != QUOTED]
    ours = [r for r in rows if r[1].text == "here"]
    for their, our in zip(theirs, ours, strict=True):
        assert [e.text != NOTHING for e in their[2:]] == [bool(e.command) for e in our[2:]]


def test_another_corpus():
    runs = [
        fake_run("Ours(8)", "snli_dev", PROBES, **ELBO),
        fake_run("Ours(4)", "snli_dev", **ELBO),
        fake_run("LSTM-LM", "snli_dev", nll=33.0, ppl=21.0),
        fake_run("VAE", "snli_dev", **ELBO),
        fake_run("VAE", "snli_dev", **{**ELBO, "kl": 6.0}),
        fake_run("of our own", "snli_dev", **ELBO),
        fake_run("VAE", "ptb", **ELBO),
        fake_run("Ours(2.5)", "ptb", **ELBO),
    ]
    ptb, dev = other_tables(runs)
    assert [row[0].text for row in ptb.rows] == ["Ours(2.5)"]  # VAE is in the paper's tables
    systems = ["LSTM-LM", "VAE", "Ours(4)", "Ours(8)", "of our own"]
    assert [row[0].text for row in dev.rows] == systems
    assert dev.head[1:9] == [*METRICS.values()]
    assert dev.head[9:13] == ["BLEU", "2 clusters (%)", "10 clusters (%)", "100 labels (%)"]
    vae = dict(zip(dev.head, dev.rows[1], strict=True))
    assert (vae["KL"].text, vae["NLL"].text, vae["BLEU"].text) == ("5.50 (0.50)", NOTHING, NOTHING)
    assert not dev.commands


def test_rate_against_distortion():
    vae = fake_run("VAE", **{**ELBO, "kl": 0.5, "reconstruction": 101.0})
    runs = [vae, fake_run("Ours(4)", **ELBO), fake_run("AE", reconstruction=70.0, kl=200.0)]
    drawn = rate_distortion(runs)
    assert drawn == rate_distortion(runs)
    assert b"<!-- VAE -->" in drawn
    assert b"<!-- Ours(4) -->" in drawn
    assert b"<!-- -ELBO = 101.50 -->" in drawn.replace(b"&#45;", b"-")
    assert b"<!-- AE -->" not in drawn
    assert b"ELBO" not in rate_distortion(runs[1:])
    assert rate_distortion([fake_run("LSTM-LM", nll=33.0), runs[-1]]) is None


def test_files(tmp_path):
    assert write_textvae_tables(tmp_path, [{"kind": "tag"}]) is None
    runs = [fake_run("VAE", "snli_dev", **ELBO), fake_run("LSTM-LM", nll=101.0, ppl=100.0)]
    page = write_textvae_tables(tmp_path, runs)
    assert page == tmp_path / "textvae_tables.html"
    assert "figures/rate_distortion_snli_dev.svg" in page.read_text("utf-8")
    assert [path.name for path in (tmp_path / "figures").iterdir()] == [
        "rate_distortion_snli_dev.svg"
    ]
    tables = {path.stem for path in (tmp_path / "tables").glob("*.tex")}
    assert tables == {"textvae_snli_dev", *(f"textvae_table_{name}" for name in TABLES)}


def column_of(record):
    """Where a figure on record stands."""
    if record["metric"] == "accuracy":
        n = record["n_labels"]
        return f"{n} labels (%)" if n else "2 clusters (%)"
    named = {"recon": "Recon", "neg_elbo": "-ELBO", "reconstruction_bleu": "BLEU"}
    named |= {"smoothness_pearson": "smoothness (r)"}
    named |= {"noisy_reconstruction_loss": f"{record.get('n_swaps')}-swap Recon"}
    return (METRICS | named)[record["metric"]]


@pytest.mark.skipif(not SPEC.exists(), reason="../shared is not here")
@pytest.mark.parametrize("name", TABLES)
def test_the_papers_figures_are_those_on_record(name):
    number, _, corpus = name.partition("_")
    grid = textvae_table(name, [])
    printed = {
        (row[0].text, column): float(entry.text)
        for row in grid.rows
        for column, entry in zip(grid.head[2:], row[2:], strict=True)
        if row[1].text == "the paper" and entry.text != NOTHING
    }
    records = {
        (record["system"].replace(" = ", "="), column_of(record)): record["mean"]
        for record in json.loads(SPEC.read_text())["records"]
        if (record["paper"], record["table"]) == ("004", number)
        and corpus in record["dataset"].lower()
    }
    assert printed == records
