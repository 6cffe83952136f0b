"""What a run's report says that the decoder generates for each class."""

import pytest

from configs import debian_classify
from jaxsdgm.experiments import classify


@pytest.mark.parametrize("decoder", ["gru", "aux-gru"])
def test_a_gru_that_reads_a_bilstm(tmp_path, decoder):
    """A run of real words to its end: a row of them for every class."""
    config = debian_classify.get_config(f"en,8,{decoder}")
    config.data.source, config.data.n_labels = "generated", 16
    config.data.batch_size = config.data.unlabelled_size = 8
    config.data.max_length = 12
    config.model.embedding = config.model.latent = 6
    config.model.hidden, config.model.classifier_hidden = 4, 5
    config.model.auxiliary_hidden, config.model.recurrence = 6, "scan"
    config.training.max_steps = config.training.eval_every = 2
    found = classify.run(config, tmp_path)
    tables = found["tables"]["generated"]
    assert tables
    for table in tables:
        assert [row["label"] for row in table["rows"]] == found["label_names"]
