"""Two real processes on loopback, two simulated devices each: the run of one process."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify
from jaxsdgm.training import processes
from tests.training import distributed_config

ROOT = Path(__file__).parents[2]


def launch(workdir, monkeypatch, *arguments):
    monkeypatch.setenv("PROCESSES", "2")
    monkeypatch.setenv("DEVICES", "2")
    monkeypatch.setenv("PYTHON", sys.executable)
    config = f"--config={Path(distributed_config.__file__).relative_to(ROOT)}"
    command = ["bash", "launch/ssh.sh", config, f"--workdir={workdir}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    return done.returncode, done.stdout + done.stderr


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [[row["train/loss"], row["dev/nll"]] for row in map(json.loads, lines)]


@pytest.mark.slow
def test_two_processes_are_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    status, output = launch(tmp_path / "two", monkeypatch)
    assert status == 0, output
    classify.run(distributed_config.get_config(), tmp_path / "one")
    found = losses(tmp_path / "two")
    assert len(found) == 2
    np.testing.assert_allclose(found, losses(tmp_path / "one"), rtol=1e-4)
    assert losses(tmp_path / "two" / "process-1") == found


def test_a_bad_config_ends_all(tmp_path, monkeypatch):
    status, output = launch(tmp_path, monkeypatch, "--config.model.system=tower")
    assert status == 2
    assert "config.model.system is 'tower'" in output


def test_half_given_addresses():
    with pytest.raises(UserError, match="go together"):
        processes.start("localhost:1", None, 0)


def test_alone_nothing_is_shared():
    assert processes.share(lambda: (1, "a")) == (1, "a")
