"""The weight of the cross-entropy, by rule and number of labels."""

import pytest

from configs import debian_e5, own_files_e5
from jaxsdgm.experiments.classify import label_weight


@pytest.mark.parametrize(
    ("rule", "n", "weight"),
    [("scaled", 8, 40.0), ("plain", 64, 10.0), ("stepwise", 32, 10.0), ("stepwise", 64, 30.0)],
)
def test_rules(rule, n, weight):
    assert label_weight(rule, 10.0, n, 3 * n) == weight


def test_frozen_encoders_have_the_rule():
    """Own files say nothing of how many labels they will have."""
    for config in (debian_e5.get_config("en,32,bow"), own_files_e5.get_config("en,bow")):
        assert (config.model.alpha_rule, config.model.beta) == ("stepwise", 100.0)
