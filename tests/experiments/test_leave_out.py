"""Further documents of other proportions are left out where they are few."""

from dataclasses import replace

from jaxsdgm.data.documents import Documents
from jaxsdgm.experiments.inputs import leave_out_few
from tests.training import tiny


def a_run(n_further, **fields):
    config = tiny.config()
    config.data.unlabelled = "more.txt"
    config.data.update(fields)
    corpus = tiny.inputs().corpus
    further = Documents(("a text",) * n_further)
    return config, replace(corpus, splits={**corpus.splits, "unlabelled": further})


def test_few_are_left_out_with_a_word_of_it(caplog):
    config, corpus = a_run(20)
    assert config.data.unlabelled
    near = len(corpus.splits["train"]) - 32
    without, left = leave_out_few(config, corpus)
    assert (without.data.unlabelled, without.model.label_prior) == ("", "uniform")
    assert set(left.splits) == {"train", "dev", "test"}
    assert f"20 further documents beside {near} of the training file" in caplog.text
    assert "config.data.further_least=0 keeps them" in caplog.text
    assert config.data.unlabelled == "more.txt"  # the caller's is as it was


def test_many_are_kept_and_few_where_told_so():
    for config, corpus in (a_run(400), a_run(20, further_least=0.0)):
        assert leave_out_few(config, corpus) == (config, corpus)


def test_only_where_their_proportions_are_estimated():
    config, corpus = a_run(20)
    config.model.label_prior = "uniform"
    assert leave_out_few(config, corpus) == (config, corpus)
