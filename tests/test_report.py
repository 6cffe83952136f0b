"""python -m jaxsdgm.report as a command."""

import subprocess
import sys

import pytest

from configs import europarl_nxvae
from tests.evaluation.fake_run import fake_run, run_from, write_run
from tests.evaluation.test_report import Page, fake_results


def report(*arguments):
    command = [sys.executable, "-m", "jaxsdgm.report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_comparison_of_a_folder(tmp_path):
    for seed in range(2):
        write_run(tmp_path / "runs" / f"trial-{seed}", fake_run(seed=seed))
    write_run(tmp_path / "runs" / "pre", run_from(europarl_nxvae.get_config("en-de")))
    write_run(tmp_path / "runs" / "odd", {"kind": "align"})
    out = tmp_path / "out"
    done = report(tmp_path / "runs", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"3 runs: {out}/summary.html; the paper's tables: {out}/paper_tables.html\n"
    )
    assert done.stderr == f"passed over: {tmp_path}/runs/odd (align)\n"
    assert (out / "summary.csv").exists()
    assert Page((out / "summary.html").read_text("utf-8")).addresses[0] == "paper_tables.html"
    assert "KL weight,here,0.1," in (out / "tables" / "table_5.csv").read_text("utf-8")


def test_words_of_a_run(tmp_path):
    write_run(tmp_path / "run", fake_results())
    done = report("--tables", tmp_path / "run")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/run/word_tables.html\n"), done.stderr
    page = Page((tmp_path / "run" / "report.html").read_text("utf-8"))
    assert "word_tables.html" in page.addresses
    assert (tmp_path / "run" / "tables" / "table_3.csv").exists()
    done = report("--tables", tmp_path / "run", f"--out={tmp_path / 'elsewhere'}")
    assert done.stdout == f"{tmp_path}/elsewhere/word_tables.html\n"


@pytest.mark.parametrize(
    ("results", "arguments", "says"),
    [
        ({"kind": "stages"}, (), "its results.json has no word tables"),
        (None, (), "no results.json of a finished run there"),
        (fake_results(), ("other",), "--tables takes the workdir of one run"),
    ],
)
def test_no_words(tmp_path, results, arguments, says):
    folder = tmp_path / "run"
    folder.mkdir() if results is None else write_run(folder, results)
    done = report("--tables", folder, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_nothing_there(tmp_path):
    done = report(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}: no finished classification run")
    assert done.stderr.count("\n") == 1
