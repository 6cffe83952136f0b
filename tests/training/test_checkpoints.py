"""Checkpoints: what goes in comes out, and what does not fit is said in one line."""

import gc
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm import __version__
from jaxsdgm.errors import UserError
from jaxsdgm.training.checkpoints import Checkpoints, load_pretrained


def tree(value, size=3):
    best = {"params": {"w": jnp.full(size, value)}, "batch_stats": {}, "step": jnp.int32(1)}
    return {
        "state": {"key": jax.random.key_data(jax.random.key(7)), "w": jnp.full(size, value)},
        "best": best,
    }


def save(workdir, *steps):
    checkpoints = Checkpoints(workdir, {"kind": "test"})
    for step in steps:
        checkpoints.save(step, tree(float(step)), {"step": step})
    checkpoints.close()


def restore(workdir, like):
    checkpoints = Checkpoints(workdir, {})
    try:
        return checkpoints.restore(like)
    finally:
        checkpoints.close()


def damage(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


def test_newest_comes_back_and_two_are_kept(tmp_path):
    assert restore(tmp_path, tree(0.0)) is None
    save(tmp_path, 2, 4, 6)
    found, about = restore(tmp_path, tree(0.0))
    np.testing.assert_array_equal(found["state"]["w"], 6.0)
    np.testing.assert_array_equal(found["state"]["key"], jax.random.key_data(jax.random.key(7)))
    assert about == {"kind": "test", "jaxsdgm": __version__, "step": 6}
    steps = sorted(path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir())
    assert steps == ["4", "6"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_another_size_does_not_fit(tmp_path):
    save(tmp_path, 2)
    with pytest.raises(UserError, match=r"checkpoints/2: the checkpoint does not fit this run"):
        restore(tmp_path, tree(0.0, size=5))
    gc.collect()  # orbax never awaited its reads: be warned of them here, not in a later test


# reads that orbax leaves running when a restore fails find their event loop closed
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_good(tmp_path):
    save(tmp_path, 2, 4)
    damage(tmp_path / "checkpoints" / "4")
    with pytest.raises(UserError, match=r"checkpoints/4: .* is damaged .* delete this folder"):
        restore(tmp_path, tree(0.0))
    with pytest.raises(UserError, match=r"checkpoints/4: cannot be read .* delete it"):
        load_pretrained(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "4")
    np.testing.assert_array_equal(restore(tmp_path, tree(0.0))[0]["state"]["w"], 2.0)


@pytest.mark.parametrize(
    ("place", "expected"), [(".", 4.0), ("checkpoints", 4.0), ("checkpoints/2", 2.0)]
)
def test_load_pretrained(tmp_path, place, expected):
    save(tmp_path, 2, 4)
    variables, about, workdir = load_pretrained(tmp_path / place)
    np.testing.assert_array_equal(variables["params"]["w"], expected)
    assert about["kind"] == "test"
    assert workdir == tmp_path


def test_nothing_to_load(tmp_path):
    with pytest.raises(UserError, match=r"absent does not exist; give the workdir"):
        load_pretrained(tmp_path / "absent")
    with pytest.raises(UserError, match="holds no checkpoints folder"):
        load_pretrained(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="holds no finished checkpoint yet"):
        load_pretrained(tmp_path)
