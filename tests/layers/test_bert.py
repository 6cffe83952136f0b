"""The BERT encoder: what must not change its result, and its dropout."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.errors import UserError
from jaxsdgm.layers import bert
from jaxsdgm.layers.bert import BertEncoder, BertSize, pool
from jaxsdgm.weights.huggingface import load_weights, read_size
from tests.weights.oracle import GOLDEN, LENGTHS, documents

TINY = Path(__file__).resolve().parents[2].parent / "shared" / "models" / "e5-tiny"
IDS, ROW = documents(0), np.arange(3)
MASK = np.arange(12) < LENGTHS[:, None]
SIZE = read_size(GOLDEN / "bert")
PARAMS = load_weights(GOLDEN / "bert", SIZE)


def run(encoder, ids=IDS, lengths=LENGTHS, row=ROW, params=PARAMS, *, train=False, **options):
    call = lambda params, key: encoder.apply(
        {"params": params}, ids, lengths, row, train=train, rngs={"dropout": key}, **options
    )
    return jax.jit(call)(params, jax.random.key(3))


def test_padding_does_not_change_a_document():
    wide = np.pad(IDS, ((0, 0), (0, 4)), constant_values=7)
    np.testing.assert_allclose(
        run(BertEncoder(SIZE), wide)[:, :12][MASK], run(BertEncoder(SIZE))[MASK], atol=1e-5
    )
    alone = run(BertEncoder(SIZE), IDS[1:2, :5], LENGTHS[1:2], ROW[1:2])
    np.testing.assert_allclose(alone[0], run(BertEncoder(SIZE))[1, :5], atol=1e-5)


def test_dropout_belongs_to_the_rows():
    encoder, order = BertEncoder(SIZE), np.array([2, 0, 1])
    one = run(encoder, train=True)
    assert np.abs(one - run(encoder))[MASK].max() > 0.1
    permuted = run(encoder, IDS[order], LENGTHS[order], ROW[order], train=True)
    np.testing.assert_allclose(permuted[MASK[order]], one[order][MASK[order]], atol=1e-5)
    part = run(encoder, IDS[1:], LENGTHS[1:], ROW[1:], train=True)  # as a second device has it
    np.testing.assert_allclose(part[MASK[1:]], one[1:][MASK[1:]], atol=1e-5)


def test_each_rate_acts_by_itself():
    none = replace(SIZE, dropout=0.0, attention_dropout=0.0)
    still = run(BertEncoder(none))
    np.testing.assert_array_equal(run(BertEncoder(none), train=True), still)
    for field in ("dropout", "attention_dropout"):
        some = run(BertEncoder(replace(none, **{field: 0.5})), train=True)
        assert np.abs(some - still)[MASK].max() > 0.1, field


def test_the_path_with_attention_dropout_agrees_with_the_other():
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 3, 12, 2, 8)).astype(np.float32)
    explicit = bert.attend_with_dropout(q, k, v, LENGTHS, lambda probabilities: probabilities)
    np.testing.assert_allclose(explicit[MASK], bert.attend(q, k, v, LENGTHS)[MASK], atol=1e-6)
    none = bert.attend_with_dropout(q, k, v, LENGTHS, lambda probabilities: 0 * probabilities)
    np.testing.assert_array_equal(none, 0)


def test_remat_keeps_less_and_gives_the_same_gradient():
    def gradient_and_kept(remat):
        encoder, key = BertEncoder(SIZE, remat=remat), jax.random.key(3)
        call = lambda params: encoder.apply(
            {"params": params}, IDS, LENGTHS, ROW, train=True, rngs={"dropout": key}
        )
        total = lambda params: (call(params) * MASK[..., None] * np.arange(16)).sum()
        kept = jax.eval_shape(lambda params: jax.vjp(total, params)[1], PARAMS)
        return jax.jit(jax.grad(total))(PARAMS), sum(x.size for x in jax.tree.leaves(kept))

    (plain, all_kept), (again, kept) = gradient_and_kept(False), gradient_and_kept(True)
    assert kept < all_kept / 2
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), plain, again)


@pytest.mark.parametrize("train", [False, True])
def test_half_precision(train):
    hidden = run(BertEncoder(SIZE, dtype=jnp.bfloat16), train=train)
    assert hidden.dtype == jnp.bfloat16
    exact = run(BertEncoder(SIZE), train=train)
    error = np.abs(hidden.astype(jnp.float32) - exact)[MASK]
    assert error.max() < 0.25  # norms stay float32, or it would drift
    assert error.mean() < 0.03


def test_types_and_pooled_states_of_e5():
    if not TINY.is_dir():
        pytest.skip("../shared is absent")
    golden, size = np.load(TINY / "golden.npz"), read_size(TINY)
    params, encoder = load_weights(TINY, size), BertEncoder(size)
    ids, types = golden["b_input_ids"], golden["b_token_type_ids"]
    lengths = golden["b_attention_mask"].sum(1)
    hidden = run(encoder, ids, lengths, ROW[:1], params, types=types)
    n = lengths[0]
    np.testing.assert_allclose(hidden[0, :n], golden["b_last_hidden_state"][0, :n], atol=2e-5)
    pooled = encoder.apply({"params": params}, hidden, lengths, "cls", method="pool")
    np.testing.assert_allclose(pooled, golden["b_pooled_output"], atol=2e-5)
    mask = golden["attention_mask"]
    hidden = run(encoder, golden["input_ids"], mask.sum(1), np.arange(8), params)
    mean = pool(hidden, mask.sum(1), "mean")
    mean = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(mean, golden["mean_pooled_l2"], atol=2e-5)


def test_pooling_by_hand():
    hidden = np.random.default_rng(0).normal(size=(3, 12, 16)).astype(np.float32)
    hidden[~MASK] = np.nan
    mean = pool(hidden, LENGTHS, "mean")
    for row, n in enumerate(LENGTHS):
        np.testing.assert_allclose(mean[row], hidden[row, :n].mean(0), atol=1e-6)
    np.testing.assert_array_equal(pool(hidden, LENGTHS, "first"), hidden[:, 0])
    encoder = BertEncoder(SIZE)
    pooled = encoder.apply({"params": PARAMS}, hidden, LENGTHS, "cls", method="pool")
    kernel, bias = PARAMS["pooler"]["kernel"], PARAMS["pooler"]["bias"]
    np.testing.assert_allclose(pooled, np.tanh(hidden[:, 0] @ kernel + bias), atol=1e-5)
    bare = BertEncoder(replace(SIZE, pooler=None))
    np.testing.assert_array_equal(
        bare.apply({"params": PARAMS}, hidden, method="pooled"), hidden[:, 0]
    )
    with pytest.raises(UserError, match="unknown pooling 'max'; choose one of cls, first, mean"):
        pool(hidden, LENGTHS, "max")


def test_the_table_is_that_of_the_words():
    table = BertEncoder(SIZE).apply({"params": PARAMS}, method="table")
    np.testing.assert_array_equal(table, PARAMS["words"])


def test_more_tokens_than_positions():
    long = np.zeros((3, 17), np.int32)
    with pytest.raises(UserError, match="documents of 17 tokens, .* positions for 16; lower"):
        run(BertEncoder(SIZE), long)
    roberta = read_size(GOLDEN / "roberta")
    assert (roberta.position_offset, roberta.max_length) == (2, 14)
    params = load_weights(GOLDEN / "roberta", roberta)
    with pytest.raises(UserError, match="documents of 15 tokens, .* positions for 14"):
        run(BertEncoder(roberta), long[:, :15], params=params)


def test_gelu_is_the_exact_one():
    x = np.linspace(-12, 12, 4001, dtype=np.float32)
    np.testing.assert_allclose(bert.gelu(x), jax.nn.gelu(x, approximate=False), atol=2e-6)


def test_attention_falls_back_where_cudnn_is_not():
    assert bert.implementation(jnp.bfloat16, 64) == "xla"  # the tests run on the CPU


def test_size_of_the_base_model():
    size = BertSize(30522, 768, 12, 12, 3072, 512)
    one = np.ones(1, np.int32)
    init = lambda: BertEncoder(size).init(jax.random.key(0), one[None], one, one, train=False)
    count = sum(x.size for x in jax.tree.leaves(jax.eval_shape(init)))
    assert count == 109_482_240  # bert-base-uncased
