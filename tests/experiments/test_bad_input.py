"""Bad input ends with one line that names the file, the place and the remedy, before compiling."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import debian_classify, debian_nxvae
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify, inputs, pretrain, setup
from jaxsdgm.experiments.systems import build_model, transfer

ROOT = Path(__file__).resolve().parents[2]
GOOD = "".join(f"{c}\tsome words of class {c} number {i}\n" for i in range(8) for c in "CEGM")


def mldoc(folder, **files):
    """An MLDoc directory with a good file for every split that is not given."""
    for split in ("train.1000", "dev", "test"):
        text = files.get(split.split(".")[0], GOOD)
        data = text if isinstance(text, bytes) else text.encode()
        (folder / f"english.{split}").write_bytes(data)
    config = debian_classify.get_config("en,8,bow")
    config.data.source, config.data.dir, config.data.normaliser = "mldoc", str(folder), "words"
    return config


def fails(config, match):
    with pytest.raises(UserError, match=match) as caught:
        inputs.load_inputs(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("train", "match"),
    [
        (GOOD + "C no tab here\n", r"english\.train\.1000:33"),
        (GOOD + "XCAT\tunknown label\n", r"english\.train\.1000:33.*XCAT"),
        (GOOD.encode() + b"C\tnot \xff utf-8\n", r"english\.train\.1000:33"),
        (GOOD + "C\t \n", r"english\.train\.1000:33.*empty document"),
        ("", r"english\.train\.1000.*empty"),
        (GOOD.replace("M\t", "C\t"), "class"),
    ],
    ids=["no tab", "unknown label", "not utf-8", "empty document", "empty split", "no example"],
)
def test_broken_training_file(tmp_path, train, match):
    fails(mldoc(tmp_path, train=train), match)


def test_missing_file_and_directory(tmp_path):
    config = mldoc(tmp_path)
    (tmp_path / "english.dev").unlink()
    fails(config, r"english\.dev")
    config.data.dir = str(tmp_path / "nowhere")
    fails(config, "nowhere: no such directory.*MLDoc")
    config.data.dir = ""
    fails(config, "config.data.dir is empty")


def test_more_labels_than_documents(tmp_path):
    config = mldoc(tmp_path)
    config.data.n_labels = 64
    fails(config, "64")


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("data.source", "reuters", "unknown source 'reuters'"),
        ("data.normaliser", "stem", "unknown normaliser 'stem'"),
        ("data.subset", "random", "config.data.subset is 'random'"),
        ("data.language", "xx", "xx"),
        ("pretrained", "/nowhere/at/all", "/nowhere/at/all does not exist"),
    ],
)
def test_values_that_data_do_not_have(tmp_path, field, value, match):
    config = mldoc(tmp_path)
    config.update_from_flattened_dict({field: value})
    fails(config, match)


@pytest.mark.parametrize(("field", "value"), [("system", "svm"), ("label_prior", "guessed")])
def test_values_that_models_do_not_have(field, value):
    config = debian_classify.get_config("en,8,bow")
    config.model[field] = value
    with pytest.raises(UserError, match=f"config.model.{field} is '{value}'"):
        build_model(config, {"en": 9}, np.ones(4))


def test_weight_rules_that_do_not_exist():
    with pytest.raises(UserError, match=r"config\.model\.alpha_rule is 'sqrt'"):
        classify.label_weight("sqrt", 1.0, 8, 24)


def test_precision_and_kl_that_do_not_exist():
    config = debian_nxvae.get_config()
    config.dtype = "float8"
    with pytest.raises(UserError, match="config.dtype is 'float8'"):
        setup.compute_dtype(config)
    config.model.kl.kind = "magic"
    with pytest.raises(UserError, match="config.model.kl.kind is 'magic'"):
        pretrain.make_task(config, None, {}, dict, {}, None)


def test_checkpoint_of_other_sizes():
    ours = {"params": {"encoder": {"table": np.zeros((4, 3))}, "posterior": {}}}
    theirs = {"params": {"encoder": {"table": np.zeros((4, 2))}, "posterior": {}}}
    with pytest.raises(UserError, match=r"encoder/table is \(4, 2\) there and \(4, 3\) here"):
        transfer(ours, theirs, {})


def test_another_vocabulary(tmp_path):
    tokenizer = inputs.WordTokenizer.train([["a", "b"]], language="en", normaliser="words", size=2)
    tokenizer.save(tmp_path / "tokenizer")
    inputs.checked_tokenizers(tmp_path, {"en": tokenizer.digest})
    with pytest.raises(UserError, match="'en' vocabulary is not the one"):
        inputs.checked_tokenizers(tmp_path, {"en": "0" * 64})


def test_workdir_of_another_config(tmp_path):
    config = debian_classify.get_config("en,8,bow")
    setup.start_workdir(config, tmp_path)
    setup.start_workdir(config, tmp_path)
    config.model.beta = 7.0
    with pytest.raises(UserError, match=r"config\.model\.beta was 3\.0, is 7\.0"):
        setup.start_workdir(config, tmp_path)


def test_a_step_beyond_the_memory():
    config = debian_classify.get_config("en,8,bow")

    def step():
        with setup.memory_errors(config):
            jnp.zeros(2**47).block_until_ready()

    with pytest.raises(UserError, match=r"memory.*batch_size \(32\), config.data.unlabelled_size"):
        step()
    config.data.unlabelled_size = 0
    with pytest.raises(UserError, match=r"unlabelled_size \(no limit\)"):
        step()
    with pytest.raises(jax.errors.JaxRuntimeError, match="else"), setup.memory_errors(config):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (["--config.data.dir="], "config.data.dir is empty"),
        (["--config.model.nosuch=1"], "nosuch"),
    ],
)
def test_command_line(tmp_path, flags, match):
    command = [sys.executable, "-m", "jaxsdgm.main", "--config=configs/debian_classify.py"]
    command += [f"--workdir={tmp_path / 'run'}", *flags]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert match in done.stderr
    assert "Traceback" not in done.stderr
