"""`kill -9` at any moment, then the same command: the numbers of an undisturbed run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("metrics", "elbo", "latents", "subset", "parameters", "tables", "warnings")


def start(workdir):
    command = [sys.executable, "-m", "jaxsdgm.main", f"--workdir={workdir}"]
    command += ["--config=tests/experiments/tiny_quickstart.py"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **quiet)


def numbers(workdir):
    found = {}
    for stage in ("pretrain", "m1m2", "supervised"):
        results = json.loads((workdir / stage / "results.json").read_text())
        found[stage] = {key: results.get(key) for key in KEPT}
    return found


@pytest.mark.slow
def test_killed_again_and_again(tmp_path):
    before = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    whole = time.monotonic() - before
    moments = random.Random(0)
    for _ in range(5):
        run = start(tmp_path / "killed")
        time.sleep(moments.uniform(0.1, 0.7) * whole)
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert start(tmp_path / "killed").wait() == 0
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")
