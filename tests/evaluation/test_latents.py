"""Active units against the papers' own code, and the warnings."""

import os
from pathlib import Path

import numpy as np
import pytest

from jaxsdgm.evaluation.latents import (
    active_units,
    collapse_warnings,
    gaussian_kl,
    mutual_information,
)

GOLDEN = Path(os.environ.get("JAXSDGM_GOLDEN", Path(__file__).parents[1] / "golden"))


def test_active_units_of_the_reference():
    path = GOLDEN / "sdgm" / "active_units.npz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    with np.load(path, allow_pickle=False) as golden:
        batches = [golden[name] for name in sorted(golden) if name.startswith("in/mu_batch")]
        expected, delta = golden["out/n_active"], float(golden["out/delta"])
    assert active_units(np.concatenate(batches), threshold=delta) == expected


def test_active_units_by_hand():
    # Unbiased variances of two rows at distance 2a: 2a². The threshold itself is active.
    means = np.array([[0.5, 0.05, 0.0], [-0.5, -0.05, 0.0]])
    assert active_units(means) == 1
    assert active_units(means, threshold=0.5) == 1
    assert active_units(means, threshold=0.004) == 2


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_to_vary(rows):
    assert active_units(np.ones((rows, 3))) == 0


def test_healthy_latents_have_no_warnings():
    warnings = collapse_warnings(
        {"z1": 0.1, "z2": 3.0},
        {"z1": 1, "z2": 5},
        sizes={"z1": 8, "z2": 8},
        dev_accuracy=0.46,
        majority_share=0.43,
    )
    assert warnings == []


def test_collapse_names_the_latent_and_every_reason():
    sizes = {"z1": 64, "z2": 32}
    warnings = collapse_warnings({"z1": 12.0, "z2": 0.0123}, {"z1": 0, "z2": 0}, sizes=sizes)
    assert len(warnings) == 2
    assert "z1 has collapsed: none of its 64 units is active." in warnings[0]
    assert "KL is 0.012 nats a document (below 0.1) and none of its 32" in warnings[1]


def test_a_kl_that_is_not_a_number_is_a_collapse():
    assert collapse_warnings({"z1": float("nan")}, {}, sizes={"z1": 4})


@pytest.mark.parametrize(("accuracy", "warned"), [(0.2, True), (0.27, True), (0.28, False)])
def test_chance(accuracy, warned):
    warnings = collapse_warnings({}, {}, sizes={}, dev_accuracy=accuracy, majority_share=0.25)
    assert bool(warnings) == warned
    assert all("25.0%" in warning for warning in warnings)


def test_gaussian_kl():
    kl = gaussian_kl([[1.0, 0.0]], [[np.log(4.0), 0.0]])
    assert kl[0] == pytest.approx(0.5 * (1 + 4 - 1 - np.log(4)))


def test_mutual_information_of_a_linear_gaussian():
    """x ~ N(0, 1), z | x ~ N(x, s^2): I(x; z) = log(1 + 1 / s^2) / 2."""
    x = np.random.default_rng(1).normal(size=(2000, 1))
    for s in (0.5, 2.0):
        found = mutual_information(x, np.full_like(x, 2 * np.log(s)))
        assert found == pytest.approx(0.5 * np.log(1 + 1 / s**2), abs=0.03)


def test_mutual_information_has_bounds():
    """Nothing where all posteriors are one; log n where none touches another."""
    same = np.zeros((50, 3))
    assert mutual_information(same, same) == pytest.approx(
        0, abs=0.3
    )  # the entropy is exact, the rest drawn
    apart = np.arange(50)[:, None] * 100.0
    assert mutual_information(apart, np.zeros((50, 1))) == pytest.approx(np.log(50), abs=0.3)
