"""python -m jaxsdgm.report as a command."""

import subprocess
import sys

from tests.evaluation.fake_run import fake_run, write_run


def report(*arguments):
    command = [sys.executable, "-m", "jaxsdgm.report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_comparison_of_a_folder(tmp_path):
    for seed in range(2):
        write_run(tmp_path / "runs" / f"trial-{seed}", fake_run(seed=seed))
    write_run(tmp_path / "runs" / "pre", {"kind": "pretrain"})
    done = report(tmp_path / "runs", f"--out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"2 runs: {tmp_path}/out/summary.html\n"
    assert done.stderr == f"passed over: {tmp_path}/runs/pre (pretrain)\n"
    assert (tmp_path / "out" / "summary.csv").exists()


def test_nothing_there(tmp_path):
    done = report(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}: no finished classification run")
    assert done.stderr.count("\n") == 1
