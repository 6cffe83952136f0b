"""Raw text, pretraining, M1+M2 and its twin, report, prediction: the whole way, small."""

import json
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import debian_classify
from jaxsdgm import export, predict
from jaxsdgm.data import debian
from jaxsdgm.data.tokenizers import WordTokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify, stages, sweep
from jaxsdgm.experiments.inputs import load_inputs
from jaxsdgm.experiments.trained import load_trained
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.weights.word_vectors import read_vectors
from tests.experiments import tiny_quickstart

TIMES = ("seconds", "examples_per_second", "compile_seconds")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    with pytest.MonkeyPatch.context() as patch:

        def no_network(*args, **kwargs):
            raise UserError("apt-get reached no archive")

        patch.setattr(debian, "build_corpus", no_network)
        stages.run(tiny_quickstart.get_config("debian"), folder)
    return folder


def results(workdir, stage):
    return json.loads((workdir / stage / "results.json").read_text())


def test_classification_results(workdir):
    found = results(workdir, "m1m2")
    for split in ("train", "dev", "test"):
        metrics = found["metrics"][split]
        assert 0 <= metrics["accuracy"] <= 1
        assert {"macro_f1", "per_class", "confusion", "ece", "nll"} <= metrics.keys()
    assert {"reconstruction", "kl_z1", "kl_z2", "kl_y"} <= found["elbo"]["test"].keys()
    assert set(found["latents"]["active_units"]) == {"z1", "z2"}
    assert len(found["subset"]["indices"]) == found["subset"]["n"] == 16
    assert {"steps", *TIMES} <= found["training"].keys()
    for field in ("config", "versions", "device", "seed", "parameters", "warnings"):
        assert field in found
    assert found["trained_parameters"] == found["parameters"]
    titles = [table["title"] for table in found["tables"]["generated"]]
    assert titles[0].startswith("z2 drawn")
    assert titles[-1].startswith("z2 of the document")
    assert found["tables"]["neighbours"][0]["neighbours"].keys() == {"en", "de"}


def test_pretraining_results(workdir):
    found = results(workdir, "pretrain")
    assert found["metrics"]["dev"]["reconstruction"] > 0
    assert found["data"]["counts"]["train en"] > 0


def test_files(workdir):
    for stage in ("pretrain", "m1m2", "supervised"):
        assert "</html>" in (workdir / stage / "report.html").read_text()
        rows = (workdir / stage / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(row)["step"] for row in rows] == [2, 4, 6]
        assert (workdir / stage / "log.txt").exists() is False  # main writes the log, once
    page = (workdir / "comparison.html").read_text()
    assert "M1+M2+BOW" in page
    assert "NXVAE-z1" in page
    assert "INVENTED" in page
    assert "apt-get reached no archive" in page


def test_running_again_returns_the_same(workdir):
    before = (workdir / "results.json").read_text()
    stages.run(tiny_quickstart.get_config("debian"), workdir)
    assert (workdir / "results.json").read_text() == before


@pytest.mark.parametrize("suffix", [".txt", ".tsv", ".jsonl"])
def test_prediction(workdir, tmp_path, suffix):
    texts = ["ba ko mi", "lu ta"]
    path = tmp_path / f"new{suffix}"
    lines = {".txt": texts, ".tsv": ["text", *texts]}
    lines[".jsonl"] = [json.dumps({"text": text}) for text in texts]
    path.write_text("".join(line + "\n" for line in lines[suffix]))
    function, names = load_trained(workdir / "m1m2")
    found = list(predict.predictions(predict.read(str(path), "text"), function, names))
    assert len(found) == 2
    for one in found:
        assert one.label in names
        assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-4)


def test_prediction_names_what_it_cannot_read(workdir, tmp_path):
    path = tmp_path / "new.txt"
    path.write_text("one\n\nthree\n")
    with pytest.raises(UserError, match=r"new\.txt:2: empty document"):
        list(predict.read(str(path), "text"))
    with pytest.raises(UserError, match="not a classification run but 'pretrain'"):
        load_trained(workdir / "pretrain")


def test_embeddings_of_the_nxvae_become_a_baseline(workdir, tmp_path):
    """The paper's NXEMB."""
    variables, _, folder = load_pretrained(workdir / "pretrain")
    for language in ("en", "de"):
        export.export_embeddings(workdir / "pretrain", language, tmp_path / f"{language}.vec")
        table = variables["params"]["encoder"][f"embeddings_{language}"]["table"]
        found = read_vectors(tmp_path / f"{language}.vec")
        assert found.words == WordTokenizer.load(folder / "tokenizer", language).words[2:]
        np.testing.assert_array_equal(found.vectors, table[2:])
    config = debian_classify.get_config("en,16,vectors")
    config.data.source, config.vectors = "generated", str(tmp_path / "en.vec")
    config.model.embedding = 8
    assert load_inputs(config).vectors.coverage["token_share"] > 0.5


def test_trials(workdir, tmp_path):
    config = stages.prepare(
        tiny_quickstart.get_config().supervised,
        {"source": "generated", "dir": ""},
        workdir,
    )
    config.trials = 2
    found = classify.run(config, tmp_path)
    assert len(found["accuracy"]["test"]["runs"]) == 2
    seeds = [results(tmp_path, f"trial-{i}")["subset"]["seed"] for i in range(2)]
    assert seeds == [0, 1]
    (row,) = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert row["accuracies"] == found["accuracy"]["test"]["runs"]


def test_a_sweep_and_what_it_chose(workdir, tmp_path):
    stage = tiny_quickstart.get_config().m1m2
    stage = stages.prepare(stage, {"source": "generated", "dir": ""}, workdir)
    stage.trials, stage.sweep.beta = 2, (1.0, 30.0)
    found = classify.run(stage, tmp_path / "sweep")
    assert [point["values"] for point in found["points"]] == [{"beta": 1.0}, {"beta": 30.0}]
    means = [point["dev"]["mean"] for point in found["points"]]
    assert found["chosen"] == found["points"][int(np.argmax(means))]["values"]
    runs = {path.parent.name for path in (tmp_path / "sweep").glob("*/results.json")}
    assert runs == {f"beta={beta},trial-{i}" for beta in (1, 30) for i in (0, 1)}
    summary = json.loads((tmp_path / "sweep" / "summary.json").read_text())
    assert [row["swept"] for row in summary["rows"]] == ["beta 1", "beta 30"]
    assert summary["warnings"] == [w for w in summary["warnings"] if "differ" not in w]
    one = json.loads((tmp_path / "sweep" / "beta=30,trial-1" / "results.json").read_text())
    assert (one["seed"], one["config"]["model"]["beta"]) == (1, 30.0)
    assert one["training"]["side_by_side"] == 4
    later = stages.prepare(
        tiny_quickstart.get_config().m1m2, {"source": "generated", "dir": ""}, workdir
    )
    later.tuned = str(tmp_path / "sweep")
    assert sweep.tuned(later).model.beta == found["chosen"]["beta"]
    later.tuned = str(tmp_path)
    with pytest.raises(UserError, match="is not the result of a sweep"):
        classify.run(later, tmp_path / "later")


@pytest.mark.slow
def test_tuning_is_one_command(workdir, tmp_path):
    """The sweep's stage, and a stage that takes what it chose."""
    config = ConfigDict({"name": "tuning", "experiment": "stages", "order": ("tuning", "en_32")})
    config.corpus = ConfigDict({"source": "generated", "dir": ""})
    config.pretrained = str(workdir / "pretrain")
    for name in config.order:
        config[name] = tiny_quickstart.get_config().m1m2
        config[name].pretrained = config.get_ref("pretrained")
    config.tuning.sweep.beta = (1.0, 30.0)
    config.en_32.tuned = "stage:tuning"
    found = stages.run(config, tmp_path)["stages"]
    used = json.loads((tmp_path / "en_32" / "results.json").read_text())["config"]["model"]["beta"]
    assert used == found["tuning"]["chosen"]["beta"]


def test_damaged_checkpoint(workdir, tmp_path):
    copy = tmp_path / "pretrain"
    shutil.copytree(workdir / "pretrain", copy)
    for path in (copy / "checkpoints" / "6").rglob("*"):
        if path.is_file() and path.name != "_CHECKPOINT_METADATA":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="checkpoints/6: cannot be read") as caught:
        load_inputs(
            stages.prepare(
                tiny_quickstart.get_config().m1m2.copy_and_resolve_references(),
                {"source": "generated", "dir": ""},
                tmp_path,
            )
        )
    assert "\n" not in str(caught.value)
