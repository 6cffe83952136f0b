"""Recorded arrays of the papers' own implementations, in the form of this library."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

ROOT = Path(os.environ.get("JAXSDGM_GOLDEN", Path(__file__).parents[1] / "golden"))
LANGUAGES = ("en", "de")

#: torch parameter -> path in our tree; {l} is the language, * the rest of the name
NAMES = [
    (r"embeddings\.embeddings\.(\d)\.embeddings\.weight", "encoder/embeddings_{l}/table"),
    (r"decoder\.embeddings\.embeddings\.(\d)\.embeddings\.weight", "decoder_tables_{l}/table"),
    (r"decoder\.biases\.(\d)", "decoders_{l}/bias"),
    (r"decoder\.z2hid\.(\d)\.(\w+)", "decoders_{l}/first_state/*"),
    (r"decoder\.zx2decin\.(\d)\.(\w+)", "decoders_{l}/step_input/*"),
    (r"decoder\.hid2vocab\.(\d)\.(\w+)", "decoders_{l}/*"),
    (r"decoder\.rnns\.(\d)\.weight_ih_l0", "decoders_{l}/gru/kernel_in"),
    (r"decoder\.rnns\.(\d)\.weight_hh_l0", "decoders_{l}/gru/kernel_hidden"),
    (r"decoder\.rnns\.(\d)\.bias_ih_l0", "decoders_{l}/gru/bias_in"),
    (r"decoder\.rnns\.(\d)\.bias_hh_l0", "decoders_{l}/gru/bias_hidden"),
    (r"yohtoy_toz2\.(\w+)", "z2_posterior/label_shift/*"),
    (r"yohtoy_toz1\.(\w+)", "z1_prior/label_shift/*"),
    (r"yohtoy\.(\w+)", "label_embedding/*"),
    (r"xtohid_y\.(\w+)", "classifier_input/from_h/*"),
    (r"z1tohid_y\.(\w+)", "classifier_input/from_z1/*"),
    (r"xtohid_z2\.(\w+)", "z2_posterior/joint/from_h/*"),
    (r"z1tohid_z2\.(\w+)", "z2_posterior/joint/from_z1/*"),
    (r"ytohid_z2\.(\w+)", "z2_posterior/joint/from_y/*"),
    (r"z2tohid_z1\.(\w+)", "z1_prior/joint/from_z2/*"),
    (r"ytohid_z1\.(\w+)", "z1_prior/joint/from_y/*"),
    (r"z2tohid_x\.(\w+)", "decoder_input/from_z2/*"),
    (r"z1tohid_x\.(\w+)", "decoder_input/from_z1/*"),
    (r"ytohid_x\.(\w+)", "decoder_input/from_y/*"),
    (r"z2z1y_x\.(\w+)", "to_decoder/*"),
]
HEADS = {
    "inferer.": "posterior/",
    "z1y_z2.": "z2_posterior/head/",
    "z1yx_z2.": "z2_posterior/head/",
    "z2y_z1.": "z1_prior/head/",
    "y_z2.": "z2_prior/",
    "": "",
}
LAYERS = {"i2h": "hidden", "mu": "mean", "logvar": "log_var", "hbn": "norm"}
NORMS = {
    "z1y": "z2_posterior/norm",
    "z2y": "z1_prior/norm",
    "z1x": "classifier_input/norm",
    "z1xy": "z2_posterior/joint/norm",
    "z2z1y": "decoder_input/norm",
}
MLPS = {"cldc_classifier": "classifier", "discriminator": "discriminator"}
LSTM = re.compile(r"(?:encoder\.)?rnn\.(weight|bias)_(ih|hh)_l(\d)(_reverse)?")
LEAVES = {"weight": "kernel", "bias": "bias"}
NORM_LEAVES = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}


DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def cases(paper: str, pattern: str) -> list[Path]:
    """The fixture files whose name matches; an empty list fails the test that asks for it."""
    folder = ROOT / paper
    found = sorted(path for path in folder.glob("*.npz") if re.fullmatch(pattern, path.stem))
    assert found, f"no fixture {pattern} in {folder}"
    return found


def files(paper: str, pattern: str) -> pytest.MarkDecorator:
    """A test for each of the fixture files whose name matches."""
    return pytest.mark.parametrize("path", cases(paper, pattern), ids=lambda path: path.stem)


def load(path: Path, dtype: type) -> dict[str, np.ndarray]:
    """Arrays of one file; the real ones in `dtype`."""
    with np.load(path, allow_pickle=False) as arrays:
        return {
            key: value.astype(dtype) if value.dtype.kind == "f" else value
            for key, value in arrays.items()
        }


def under(arrays: dict, prefix: str) -> dict:
    """The entries below a prefix, without it."""
    return {key[len(prefix) :]: value for key, value in arrays.items() if key.startswith(prefix)}


def to_flax(arrays: dict[str, np.ndarray], tied: bool = True) -> tuple[dict, dict]:
    """Torch state-dict entries as (params, batch_stats) of our modules, transposed."""
    params, stats, lstm = {}, {}, {}
    for name, value in arrays.items():
        name = name.removeprefix("xlingva.")
        own_table = name.startswith("decoder.embeddings")
        if name.endswith("num_batches_tracked") or (tied and own_table):
            continue
        if match := re.fullmatch(
            r"(?:encoder\.)?rnn\.(weight|bias)_(ih|hh)_l(\d)(_reverse)?", name
        ):
            lstm[match.groups()] = value
            continue
        path = _path(name)
        transposed = path.endswith(("/kernel", "/kernel_in", "/kernel_hidden"))
        (stats if ".running_" in name else params)[path] = value.T if transposed else value
    for (kind, part, layer, reverse), value in lstm.items():
        if not reverse:
            both = np.stack([value, lstm[kind, part, layer, "_reverse"]])
            end = {"ih": "in", "hh": "hidden"}[part]
            path = f"encoder/lstm/layer_{layer}/{LEAVES[kind]}_{end}"
            params[path] = both.swapaxes(1, 2) if kind == "weight" else both
    if any(path.startswith("decoder_input/") for path in params | stats):  # AUX
        params, stats = (
            {k.replace("z1_prior/norm/", "z1_prior/joint/norm/"): x for k, x in tree.items()}
            for tree in (params, stats)
        )
    return unflatten_dict(params, sep="/"), unflatten_dict(stats, sep="/")


def _path(name: str) -> str:
    for pattern, target in NAMES:
        if match := re.fullmatch(pattern, name):
            groups = list(match.groups())
            target = target.format(l=LANGUAGES[int(groups.pop(0))]) if "{l}" in target else target
            return target.replace("*", LEAVES[groups[0]]) if groups else target
    if match := re.fullmatch(r"(\w+)\.mlp\.mlp\.(\d)\.(\w+)", name):
        return f"{MLPS[match[1]]}/layer_{int(match[2]) // 2}/{LEAVES[match[3]]}"
    if match := re.fullmatch(r"hbn_(\w+)\.(\w+)", name):
        return f"{NORMS[match[1]]}/{NORM_LEAVES[match[2]]}"
    match = re.fullmatch(r"(\w+\.|)(i2h|mu|logvar|hbn)\.(\w+)", name)
    assert match, f"unknown parameter {name}"
    leaf = (NORM_LEAVES if match[2] == "hbn" else LEAVES)[match[3]]
    return f"{HEADS[match[1]]}{LAYERS[match[2]]}/{leaf}"


def tolerance(dtype: type, gradient: bool = False) -> float:
    """Values to 1e-5 and gradients to 1e-4 in float32, 1e-9 in float64."""
    return 1e-9 if dtype == np.float64 else 1e-4 if gradient else 1e-5


def assert_close(
    actual: np.ndarray,
    expected: np.ndarray,
    dtype: type,
    name: str,
    gradient: bool = False,
    scale: float = 0.1,
) -> None:
    """Equal within `tolerance`, relative to each entry and to the array's largest.

    `scale` is what a smaller array is measured by: for gradients the largest of the layer, since
    some vanish but for rounding (a bias before BatchNorm).
    """
    limit = tolerance(dtype, gradient)
    size = max(scale, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(actual, expected, rtol=limit, atol=limit * size, err_msg=name)


def assert_trees_close(actual: dict, expected: dict, dtype: type, name: str) -> None:
    """Every leaf of `expected` against the same path of `actual`."""
    actual, expected = flatten_dict(actual, sep="/"), flatten_dict(expected, sep="/")
    layer = lambda key: key.rpartition("/")[0]
    scales: dict[str, float] = {}
    for key, value in expected.items():
        scales[layer(key)] = max(scales.get(layer(key), 0.1), float(np.abs(value).max()))
    for key, value in expected.items():
        scale = scales[layer(key)]
        assert_close(actual[key], value, dtype, f"{name}/{key}", gradient=True, scale=scale)
