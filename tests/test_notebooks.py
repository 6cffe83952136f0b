"""The notebooks, executed at tiny sizes in a kernel of their own."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.experiments import tiny_checkpoint

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))

SMALL = {
    "quickstart": """
SOURCE, DATA, LANGUAGE, CHECKPOINT, STEPS = "", "generated", "en", "tiny", 200
""",
    "mldoc_mbert": """
SOURCE = MLDOC = ""
CORPUS, CHECKPOINT, LANGUAGES, LABELS, SEEDS = "generated", "tiny", ["en"], [8], 1
UNLABELLED, MAX_STEPS = 4, 4
CHANGES = {"data.max_length": 12, "model.latent": 6}
""",
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    tiny_checkpoint.make(tmp_path / "tiny")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    cell.source = SMALL[path.stem]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [out for c in notebook.cells for out in c.get("outputs", ())]
    assert any({"image/png", "image/svg+xml"} & set(out.get("data", ())) for out in outputs)
    if path.stem == "quickstart":
        assert (tmp_path / "predictions.csv").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_figures_are_stored(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs") or "figure" in cell.metadata.get("tags", ()), cell.id
